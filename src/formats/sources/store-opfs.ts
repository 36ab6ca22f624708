/**
 * Downloads in the origin's private file system. What is written to a file there exists only when the file is closed, and to
 * write on copies it: so a download is a folder of pieces, and only the latest is lost when the page goes away.
 */
import { blobSource } from "../source.ts";
import type { Store } from "./store.ts";

const pieceBytes = 32 << 20;
const folderName = "forwardpass";

export async function openOpfsStore(root: FileSystemDirectoryHandle, piece = pieceBytes): Promise<Store> {
  const all = await root.getDirectoryHandle(folderName, { create: true });
  const folderOf = (name: string, create = false): Promise<FileSystemDirectoryHandle | undefined> =>
    all.getDirectoryHandle(encodeURIComponent(name), { create }).catch((e: DOMException) => {
      if (e.name === "NotFoundError") return undefined;
      throw e;
    });
  const pieces = async (folder: FileSystemDirectoryHandle): Promise<File[]> => {
    const files: File[] = [];
    for (;;) {
      const handle = await folder.getFileHandle(`${files.length}`).catch(() => undefined);
      if (!handle) return files;
      files.push(await handle.getFile());
    }
  };
  const remove = async (name: string): Promise<void> => {
    if (await folderOf(name)) await all.removeEntry(encodeURIComponent(name), { recursive: true });
  };
  return {
    name: folderName,
    async open(name) {
      const folder = await folderOf(name);
      // A Blob of Files is as lazy as they are.
      return folder && blobSource(new Blob(await pieces(folder)), name);
    },
    async write(name, at) {
      if (at === 0) await remove(name);
      const folder = (await folderOf(name, true))!;
      let next = (await pieces(folder)).length;
      let writer: FileSystemWritableFileStream | undefined;
      let length = 0;
      const close = async (): Promise<void> => {
        await writer?.close();
        writer = undefined;
        length = 0;
      };
      return {
        async write(chunk) {
          writer ??= await (await folder.getFileHandle(`${next++}`, { create: true })).createWritable();
          await writer.write(chunk as Uint8Array<ArrayBuffer>);
          length += chunk.length;
          if (length >= piece) await close();
        },
        close,
      };
    },
    async endings(start) {
      const begins = encodeURIComponent(start);
      const found: string[] = [];
      // TypeScript's DOM has iterators in a library of its own.
      const listed = all as unknown as { keys(): AsyncIterable<string> };
      for await (const key of listed.keys()) if (key.startsWith(begins)) found.push(key.slice(begins.length));
      return found;
    },
    remove,
  };
}
