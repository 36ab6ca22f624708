/**
 * Downloads in the origin's private file system. What is written to a file there exists only when the file is closed, and to
 * write on copies it: so a download is a folder of pieces, and only the latest is lost when the page goes away.
 */
import { InputError } from "../../tensor/errors.ts";
import { blobSource } from "../source.ts";
import type { Store } from "./store.ts";

const pieceBytes = 32 << 20;
const folderName = "forwardpass";

/** Of a file in the store. */
const failure =
  (name: string) =>
  (cause: unknown): never => {
    const { name: kind, message } = cause as DOMException;
    const full = "the browser's storage for this site is full: free some of it, or keep nothing: cache: false";
    const what = kind === "QuotaExceededError" ? full : message;
    throw new InputError(`the cache, at "${name}": ${what}`, { cause });
  };

export async function openOpfsStore(root: FileSystemDirectoryHandle, piece = pieceBytes): Promise<Store> {
  const all = () => root.getDirectoryHandle(folderName, { create: true });
  const folderOf = (name: string, create = false): Promise<FileSystemDirectoryHandle | undefined> =>
    all()
      .then((folders) => folders.getDirectoryHandle(encodeURIComponent(name), { create }))
      .catch((e: DOMException) => (e.name === "NotFoundError" && !create ? undefined : failure(name)(e)));
  const pieces = async (folder: FileSystemDirectoryHandle): Promise<File[]> => {
    const files: File[] = [];
    for (;;) {
      const handle = await folder.getFileHandle(`${files.length}`).catch(() => undefined);
      if (!handle) return files;
      files.push(await handle.getFile());
    }
  };
  const remove = async (name: string): Promise<void> => {
    if (!(await folderOf(name))) return;
    const folders = await all();
    await folders.removeEntry(encodeURIComponent(name), { recursive: true }).catch(failure(name));
  };
  return {
    name: folderName,
    async open(name) {
      const folder = await folderOf(name);
      // A Blob of Files is as lazy as they are.
      return folder && blobSource(new Blob(await pieces(folder)), name);
    },
    async write(name, at) {
      const folder = (await folderOf(name, true))!;
      const before = (await pieces(folder)).length;
      let next = at === 0 ? 0 : before;
      let writer: FileSystemWritableFileStream | undefined;
      let length = 0;
      const endPiece = async (): Promise<void> => {
        const ended = writer;
        writer = undefined;
        length = 0;
        await ended?.close().catch(failure(name));
      };
      return {
        async write(chunk) {
          try {
            writer ??= await (await folder.getFileHandle(`${next++}`, { create: true })).createWritable();
            await writer.write(chunk as Uint8Array<ArrayBuffer>);
          } catch (e) {
            // Closing it would throw another error.
            writer = undefined;
            failure(name)(e);
          }
          length += chunk.length;
          if (length >= piece) await endPiece();
        },
        async close() {
          await endPiece();
          // Of a file that was begun anew: a piece is replaced when the new one is closed.
          for (let i = next; i < before; i++) await folder.removeEntry(`${i}`).catch(failure(name));
        },
      };
    },
    async endings(start) {
      const begins = encodeURIComponent(start);
      const found: string[] = [];
      // TypeScript's DOM has iterators in a library of its own.
      const listed = (await all()) as unknown as { keys(): AsyncIterable<string> };
      for await (const key of listed.keys()) if (key.startsWith(begins)) found.push(key.slice(begins.length));
      return found;
    },
    remove,
  };
}
