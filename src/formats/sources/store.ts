/** Where downloads are kept: files in Node, the origin's private file system (OPFS) in browsers. */
import { type ByteSource, hasFileSystem } from "../source.ts";

export interface Store {
  /** A file that was written, as far as it was; undefined for one that is not there. */
  open(name: string): Promise<ByteSource | undefined>;
  /** Writes on from byte `at`, where the file ends; 0 begins it anew. */
  write(name: string, at: number): Promise<StoreWriter>;
  /** Nothing happens where there is no such file. */
  remove(name: string): Promise<void>;
}

export interface StoreWriter {
  write(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * @param cache false: none. A path: that folder. Otherwise the usual place: the folder that the environment variable
 * FORWARDPASS_CACHE names, or `forwardpass` among the user's caches. In browsers: OPFS.
 * @returns undefined where nothing can be kept
 */
export async function openStore(cache: boolean | string | undefined): Promise<Store | undefined> {
  if (cache === false) return undefined;
  if (hasFileSystem()) return (await import("./store-files.ts")).openFileStore(cache === true ? undefined : cache);
  const storage = typeof navigator === "undefined" ? undefined : navigator.storage;
  if (!storage?.getDirectory) return undefined;
  return (await import("./store-opfs.ts")).openOpfsStore(await storage.getDirectory());
}

/** JSON that was stored, undefined for what is missing or was not written to its end. */
export async function readJson<T>(store: Store | undefined, name: string): Promise<T | undefined> {
  const source = await store?.open(name);
  if (!source) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as T;
  } catch {
    return undefined;
  }
}

export async function writeJson(store: Store | undefined, name: string, value: unknown): Promise<void> {
  if (!store) return;
  const writer = await store.write(name, 0);
  try {
    await writer.write(new TextEncoder().encode(JSON.stringify(value)));
  } finally {
    await writer.close();
  }
}
