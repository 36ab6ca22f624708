/**
 * Downloads that are kept. What arrived before a connection broke, or the program ended, stays and is continued by a range
 * request, where the server says that the file is still the same one.
 */
import { FormatError, InputError } from "../../tensor/errors.ts";
import { type ByteSource, hasFileSystem, type SourceOptions } from "../source.ts";
import { checkSha256, shortHash } from "./checksum.ts";
import { bodyLength, Connection, contentRange, eachChunk, validatorOf } from "./http.ts";
import { openStore, readJson, type Store, writeJson } from "./store.ts";

export interface Download {
  /** What it is kept as, the same whatever address it comes from: a URL, `npm:NAME@VERSION`. */
  readonly key: string;
  readonly url: string;
  /** Which version it should be, where that is known: a kept copy of it costs no request. */
  readonly version?: string;
  /** In hexadecimal. */
  readonly sha256?: string;
}

/** What the store knows of a download. */
interface Entry {
  /** Name of its file in the store: versions do not share one. */
  readonly file: string;
  readonly version?: string;
  /** What the server said of it: see `validatorOf`. */
  readonly validator?: string;
  readonly complete?: boolean;
  /** That it was checked against. */
  readonly sha256?: string;
}

/**
 * What a URL leads to, kept in the usual place. Undefined where there is none.
 * @throws InputError as `download`, and offline where there is no place
 */
export async function downloadUrl(url: string, options: SourceOptions): Promise<ByteSource | undefined> {
  const store = await openStore(options.cache);
  if (store) return download({ key: url, url }, store, options);
  if (options.offline)
    throw new InputError(`${url}: there is no cache, and offline nothing is fetched`, { notFound: true });
  return undefined;
}

/**
 * The file, from the store where that has it.
 * @throws InputError when it can't be fetched, or is not there offline; FormatError for a wrong checksum
 */
export async function download(what: Download, store: Store, options: SourceOptions): Promise<ByteSource> {
  const { signal, onProgress } = options;
  const name = await storeName(what.key);
  const entry = await readJson<Entry>(store, `${name}.json`);
  const sha256 = what.sha256 ?? options.sha256;
  const kept = entry?.complete ? await keptCopy(entry, { ...what, sha256 }, store, signal) : undefined;
  const use = (source: ByteSource): ByteSource => {
    onProgress?.(source.size, source.size);
    return { ...source, name: options.name ?? what.key };
  };
  if (kept && (options.offline || (what.version && what.version === entry?.version))) return use(kept);
  if (options.offline)
    throw new InputError(`${what.key} is not in the cache, and offline nothing is fetched: load it once online`, {
      notFound: true,
    });

  const transfer = new Transfer(what, name, store, options, entry, kept !== undefined);
  const got = await transfer.run();
  const source = got ? await store.open(got.file) : kept;
  if (!source) throw new InputError(`${what.key}: it vanished from the cache while it was fetched`);
  if (!got) return use(source);
  if (sha256)
    await checkSha256({ ...source, name: what.key }, sha256, signal).catch(async (e) => {
      await forget(store, name, got);
      throw e;
    });
  await writeJson(store, `${name}.json`, { ...got, complete: true, sha256 } satisfies Entry);
  if (entry && entry.file !== got.file) await store.remove(entry.file);
  return use(source);
}

/** The end of the key, for people, and a hash. */
const storeName = async (key: string): Promise<string> =>
  `${key
    .replace(/[?#].*$/, "")
    .replace(/^.*\/(?=.)/, "")
    .slice(-60)}-${await shortHash(key)}`;

async function forget(store: Store, name: string, entry: Entry): Promise<void> {
  await store.remove(entry.file);
  await store.remove(`${name}.json`);
}

/** A copy that is what is wanted. One with a wrong checksum is as good as none: it may have been another version. */
async function keptCopy(
  entry: Entry,
  { key, sha256 }: Download,
  store: Store,
  signal: AbortSignal | undefined,
): Promise<ByteSource | undefined> {
  const source = await store.open(entry.file);
  if (!source || !sha256 || entry.sha256 === sha256) return source;
  try {
    await checkSha256({ ...source, name: key }, sha256, signal);
    return source;
  } catch (e) {
    if (e instanceof FormatError) return undefined;
    throw e;
  }
}

class Transfer {
  private at = 0;
  private file = "";
  private validator: string | undefined;
  private total = 0;

  constructor(
    private readonly what: Download,
    private readonly name: string,
    private readonly store: Store,
    private readonly options: SourceOptions,
    private readonly entry: Entry | undefined,
    /** Whether the entry's file can be used if it is still the latest. */
    private readonly kept: boolean,
  ) {}

  /** Undefined when what is kept is still the latest. */
  async run(): Promise<Entry | undefined> {
    const { what, options, entry, store } = this;
    if (entry && !entry.complete && entry.version === what.version) {
      this.at = (await store.open(entry.file))?.size ?? 0;
      this.file = entry.file;
      this.validator = entry.validator;
    }
    const c = new Connection(what.url, options);
    c.loaded = this.at;
    let unchanged = false;
    await c.persist(options.signal, async () => {
      const response = await c.request(this.headers(), options.signal);
      unchanged = response.status === 304 && this.kept;
      return unchanged || (await this.receive(response, c));
    });
    if (unchanged) return undefined;
    return { file: this.file, version: what.version, validator: this.validator };
  }

  private headers(): Record<string, string> {
    const { at, validator } = this;
    // A range also keeps the server from compressing: positions are those of the file.
    const headers: Record<string, string> = { Range: `bytes=${at}-` };
    const known = this.kept ? this.entry?.validator : undefined;
    if (known) headers[known.startsWith('"') ? "If-None-Match" : "If-Modified-Since"] = known;
    // Browsers ask the server first whether they may send this one: there the answer is compared.
    if (at > 0 && validator && hasFileSystem()) headers["If-Range"] = validator;
    return headers;
  }

  /** Whether the file is complete. */
  private async receive(response: Response, c: Connection): Promise<boolean> {
    const range = contentRange(response);
    const validator = validatorOf(response);
    if (
      response.status === 206 &&
      range?.start === this.at &&
      (this.at === 0 || this.continues(validator, range.total))
    )
      this.total = range.total;
    else if (response.status === 200) {
      this.at = 0;
      this.total = bodyLength(response);
    } else {
      await response.body?.cancel();
      const size = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
      // All there already, or an empty file.
      if (response.status === 416 && Number(size) === this.at && (this.at > 0 || (await this.begin(undefined))))
        return true;
      if (this.at === 0) throw new InputError(`${c.url}: answers HTTP ${response.status} to a request for all of it`);
      this.at = 0;
      c.loaded = 0;
      return false;
    }
    if (this.at === 0) await this.begin(validator);
    c.loaded = this.at;
    c.total = this.total;
    const writer = await this.store.write(this.file, this.at);
    try {
      await eachChunk(response, async (chunk) => {
        await writer.write(chunk);
        this.at += chunk.length;
        c.progress(chunk.length);
      });
    } finally {
      await writer.close();
    }
    if (this.total && this.at > this.total)
      throw new InputError(`${c.url}: received ${this.at} bytes, the server announced ${this.total}`);
    return this.at === this.total || !this.total;
  }

  /** Whether what comes belongs to what is there. Without validators only within one transfer, and by the size. */
  private continues(validator: string | undefined, total: number): boolean {
    return validator === this.validator && (validator !== undefined || total === this.total);
  }

  private async begin(validator: string | undefined): Promise<true> {
    this.validator = validator;
    const version = this.what.version ?? validator ?? `${Math.random()}`;
    this.file = `${this.name}.${await shortHash(version)}`;
    const partial: Entry = { file: this.file, version: this.what.version, validator };
    // A complete copy stays until there is another one. Nobody can tell later whether an unknown version goes on.
    if (!this.kept && validator) await writeJson(this.store, `${this.name}.json`, partial);
    await (await this.store.write(this.file, 0)).close();
    return true;
  }
}
