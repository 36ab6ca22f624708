/** Where downloads are kept: files in Node, the origin's private file system (OPFS) in browsers. */
import { type ByteSource, hasFileSystem } from "../source.ts";

export interface Store {
  /** Tells stores apart. */
  readonly name: string;
  /** A file that was written, as far as it was; undefined for one that is not there. */
  open(name: string): Promise<ByteSource | undefined>;
  /**
   * Writes on from byte `at`, where the file ends; 0 begins it anew.
   * @throws InputError, as its writer does, where the store takes no more: no other attempt helps
   */
  write(name: string, at: number): Promise<StoreWriter>;
  /** How the names of files end that begin so. */
  endings(start: string): Promise<readonly string[]>;
  /** Nothing happens where there is no such file. */
  remove(name: string): Promise<void>;
  /**
   * Gives a file another name at once, in place of the file that had it; false where there is no such file. Missing where
   * that can't be done, as in browsers: there one page works on a file at a time (`inTurn`).
   */
  rename?(from: string, to: string): Promise<boolean>;
}

export interface StoreWriter {
  write(chunk: Uint8Array): Promise<void>;
  /** Also after `write` threw: nothing is told twice. */
  close(): Promise<void>;
}

/**
 * @param cache false: none. A path: that folder. Otherwise the usual place: the folder that the environment variable
 * FORWARDPASS_CACHE names, or `forwardpass` among the user's caches. In browsers: OPFS.
 * @param offline nothing will be fetched: the usual place need not be one to write to
 * @returns undefined where nothing can be kept
 */
export async function openStore(cache: boolean | string | undefined, offline?: boolean): Promise<Store | undefined> {
  if (cache === false) return undefined;
  if (hasFileSystem())
    return (await import("./store-files.ts")).openFileStore(cache === true ? undefined : cache, offline);
  const storage = typeof navigator === "undefined" ? undefined : navigator.storage;
  // Private windows have no storage, and some Safaris none that a page may write to.
  const writes = typeof FileSystemFileHandle !== "undefined" && "createWritable" in FileSystemFileHandle.prototype;
  const root = writes ? await storage?.getDirectory?.().catch(() => undefined) : undefined;
  return root && (await import("./store-opfs.ts")).openOpfsStore(root);
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

/** Nothing is written where that is there already: a store may be one that can only be read. */
export async function writeJson(store: Store | undefined, name: string, value: unknown): Promise<void> {
  if (!store) return;
  const text = JSON.stringify(value);
  if (JSON.stringify(await readJson(store, name)) === text) return;
  await replaceFile(store, name, async (writer) => writer.write(new TextEncoder().encode(text)));
}

/** Writes a file anew. Others see the old one until it is whole, where the store can rename, or it is small. */
export async function replaceFile(
  store: Store,
  name: string,
  fill: (writer: StoreWriter) => Promise<void>,
): Promise<void> {
  const own = store.rename ? `${name}.${unique()}` : name;
  try {
    const writer = await store.write(own, 0);
    try {
      await fill(writer);
    } finally {
      await writer.close();
    }
    await store.rename?.(own, name);
  } catch (e) {
    if (store.rename) await store.remove(own).catch(() => {});
    throw e;
  }
}

/** An end for the name of a file that nobody else writes to. */
export const unique = (): string => Math.random().toString(36).slice(2, 12).padEnd(10, "0");
export const isUnique = (end: string): boolean => /^[0-9a-z]{10}$/.test(end);
