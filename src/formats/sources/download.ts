/**
 * Downloads that are kept. What arrived before a connection broke, or the program ended, stays and is continued by a range
 * request, where the server says that the file is still the same one. Whoever downloads writes to a file of its own name,
 * and the entry names it when it is whole and checked: no other program, at the same time, changes what is read.
 */
import { FormatError, InputError } from "../../tensor/errors.ts";
import type { ByteSource, SourceOptions } from "../source.ts";
import { checkIntegrity, checkSha256, shortHash } from "./checksum.ts";
import { checkRequestOptions } from "./http.ts";
import { isUnique, openStore, readJson, type Store, unique, writeJson } from "./store.ts";
import { type Part, Transfer } from "./transfer.ts";
import { inTurn } from "./turns.ts";

export interface Download {
  /** What it is kept as, the same whatever address it comes from: a URL, `npm:NAME@VERSION`. */
  readonly key: string;
  readonly url: string;
  /** Which version it should be, where that is known: a kept copy of it costs no request. */
  readonly version?: string;
  /** What the server says that it is, in hexadecimal. */
  readonly sha256?: string;
  /** See `checkIntegrity`. */
  readonly integrity?: string;
}

/** What the store knows of a download. */
interface Entry {
  /** Name of the complete file in the store, if there is one. */
  readonly file?: string;
  /** What it had when it was complete: a file of another size was damaged since. */
  readonly size?: number;
  readonly version?: string;
  /** What the server said of it: see `validatorOf`. */
  readonly validator?: string;
  /** That it was checked against. */
  readonly sha256?: string;
  /** What is on its way, or was when the program ended. */
  readonly part?: Part;
}

/** How often one begins because what was written is gone: files in the cache may be deleted at any time. */
const mostBegins = 3;

/**
 * What a URL leads to, kept in the usual place. Undefined where there is none.
 * @throws InputError as `download`, and offline where there is no place
 */
export async function downloadUrl(url: string, options: SourceOptions): Promise<ByteSource | undefined> {
  const store = await openStore(options.cache, options.offline);
  if (store) return download({ key: url, url }, store, options);
  if (options.offline)
    throw new InputError(`${url}: there is no cache, and offline nothing is fetched`, { notFound: true });
  return undefined;
}

/**
 * The file, from the store where that has it. One at a time downloads it; others wait, and find it there.
 * @throws InputError when it can't be fetched or kept, or is not there offline; FormatError for a wrong checksum
 */
export async function download(what: Download, store: Store, options: SourceOptions): Promise<ByteSource> {
  checkRequestOptions(options);
  const { signal } = options;
  const name = await storeName(what.key);
  if (options.offline) {
    const kept = await keptCopy(await readJson<Entry>(store, `${name}.json`), what, store, options);
    if (kept) return named(kept, what.key, options);
    throw new InputError(`${what.key} is not in the cache, and offline nothing is fetched: load it once online`, {
      notFound: true,
    });
  }
  return inTurn(`${store.name}/${name}`, signal, async () => {
    for (let n = 0; n < mostBegins; n++) {
      const source = await fetchKept(what, name, store, options);
      if (source) return source;
    }
    throw new InputError(`${what.key}: it vanished from the cache while it was fetched`);
  });
}

/** Whether there is a copy to use offline. */
export async function isKept(key: string, store: Store): Promise<boolean> {
  const entry = await readJson<Entry>(store, `${await storeName(key)}.json`);
  return (entry?.file && (await store.open(entry.file))?.size === entry.size) || false;
}

/** Of a failure to fetch what there is a copy of. */
export const offlineHelps = (e: unknown): unknown =>
  e instanceof InputError
    ? new InputError(`${e.message}; a copy is in the cache: offline: true uses it`, { cause: e, notFound: e.notFound })
    : e;

/** Undefined when what was written is gone. */
async function fetchKept(
  what: Download,
  name: string,
  store: Store,
  options: SourceOptions,
): Promise<ByteSource | undefined> {
  const { key, version } = what;
  const entryName = `${name}.json`;
  const entry = await readJson<Entry>(store, entryName);
  if (!entry) await clear(name, store);
  // A copy with another checksum is as good as none: it may have been another version.
  const kept = await keptCopy(entry, what, store, options).catch((e) => {
    if (e instanceof FormatError) return undefined;
    throw e;
  });
  if (kept && version !== undefined && version === entry?.version) return named(kept, key, options);

  const transfer = new Transfer(what, store, options, {
    fresh: () => `${name}.${unique()}`,
    part: entry?.part,
    kept: kept ? entry?.validator : undefined,
    note: async (part) => writeJson(store, entryName, { ...(await readJson<Entry>(store, entryName)), part }),
  });
  try {
    const got = await transfer.run().catch(async (e) => {
      options.signal?.throwIfAborted();
      if (!(await transfer.isGone())) throw kept ? offlineHelps(e) : e;
      return "gone" as const;
    });
    if (got === "gone") return undefined;
    const source = got ? await keep(got, transfer.at, { what, name, store, options, before: entry }) : kept;
    return source && named(source, key, options);
  } finally {
    transfer.end();
  }
}

/**
 * Removes what an entry stood for that is damaged. Where files can't be renamed it may also be gone, when a page ended while it
 * wrote it; elsewhere one that is not there may be about to come, by another program.
 */
async function clear(name: string, store: Store): Promise<void> {
  if (store.rename && !(await store.open(`${name}.json`))) return;
  for (const end of await store.endings(`${name}.`)) if (isUnique(end)) await store.remove(`${name}.${end}`);
}

interface Place {
  readonly what: Download;
  readonly name: string;
  readonly store: Store;
  readonly options: SourceOptions;
  /** What was there when the transfer began. */
  readonly before: Entry | undefined;
}

/** Checks what came and makes it the kept copy. Undefined when it is gone. */
async function keep(
  got: Part,
  size: number,
  { what, name, store, options, before }: Place,
): Promise<ByteSource | undefined> {
  const entryName = `${name}.json`;
  const came = await store.open(got.file);
  if (came?.size !== size) return undefined;
  const latest = (): Promise<Entry | undefined> => readJson<Entry>(store, entryName);
  try {
    await check(came, what, options);
  } catch (e) {
    await store.remove(got.file);
    const last = await latest();
    if (last?.file) await writeJson(store, entryName, { ...last, part: undefined } satisfies Entry);
    else await store.remove(entryName);
    throw e;
  }
  const last = await latest();
  if (last?.file && last.file !== before?.file && last.validator === got.validator && last.version === got.version) {
    // Another program was first, at the same time: its file may be in use.
    const first = await keptCopy(last, what, store, options);
    if (first?.size === size) {
      await store.remove(got.file);
      return first;
    }
  }
  // Who knows it as a part finds it no more.
  const file = store.rename ? `${name}.${unique()}` : got.file;
  if (store.rename && !(await store.rename(got.file, file))) return undefined;
  const done = [got.file, before?.part?.file];
  const sha256 = (what.sha256 ?? options.sha256)?.toLowerCase();
  const part = done.includes(last?.part?.file) ? undefined : last?.part;
  await writeJson(store, entryName, { ...got, file, size, sha256, part } satisfies Entry);
  if (last?.file) await store.remove(last.file);
  return store.open(file);
}

/** The end of the key, for people, and a hash. */
const storeName = async (key: string): Promise<string> =>
  `${key
    .replace(/[?#].*$/, "")
    .replace(/^.*\/(?=.)/, "")
    .slice(-60)}-${await shortHash(key)}`;

function named(source: ByteSource, key: string, { name, onProgress }: SourceOptions): ByteSource {
  onProgress?.(source.size, source.size);
  return { ...source, name: name ?? key };
}

/**
 * The copy in the store, if it is whole.
 * @throws FormatError for one with another checksum
 */
async function keptCopy(
  entry: Entry | undefined,
  what: Download,
  store: Store,
  options: SourceOptions,
): Promise<ByteSource | undefined> {
  const source = entry?.file ? await store.open(entry.file) : undefined;
  if (!source || source.size !== entry?.size) return undefined;
  // What the caller asks to be checked is read again, what the server said is not.
  const sha256 = what.sha256?.toLowerCase() === entry.sha256 ? undefined : what.sha256;
  await check(source, { ...what, sha256 }, options);
  return source;
}

/** @throws FormatError for a wrong checksum */
async function check(source: ByteSource, { key, sha256, integrity }: Download, options: SourceOptions): Promise<void> {
  const { signal } = options;
  const checked = { ...source, name: key };
  for (const sum of new Set([sha256, options.sha256])) if (sum !== undefined) await checkSha256(checked, sum, signal);
  if (integrity) await checkIntegrity(checked, integrity, signal);
}
