/**
 * Byte sources: where a model file comes from. Format readers ask for ranges of bytes, so that a file larger than memory,
 * or on the other side of a network, is read in parts.
 */
import { FormatError, InputError } from "../tensor/errors.ts";
import type { UrlOptions } from "./sources/http.ts";

export interface ByteSource {
  /** Size in bytes. */
  readonly size: number;
  /** What messages call it: a path, a URL, a file name. */
  readonly name: string;
  /**
   * Exactly `length` bytes from `offset`. The result may be a view of memory that others hold: don't write to it.
   * @throws FormatError when the range is not inside the file; InputError when it cannot be read
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** The same at once. Missing where that takes a wait; what is in a file on disk has to be held for it. */
  readSync?(offset: number, length: number): Uint8Array;
  /**
   * The same bytes part by part, each a multiple of `granule` but for the last, and valid until the next one is asked for.
   * Missing where several reads cost more than one.
   */
  parts?(offset: number, length: number, granule: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Many small reads cost no more than one: a file on disk, not a network. */
  readonly local?: boolean;
  /**
   * The same source for what is read later: of the file that is there now, whatever its name stands for by then, and also
   * without waiting. Missing for what is no file on disk.
   * @throws InputError when it cannot be opened; readers throw a FormatError when it was written to meanwhile
   */
  hold?(): HeldSource;
  /**
   * A file named relative to this one, for weights and tokenizers kept beside a model. Missing where "beside" means nothing.
   * @throws FormatError for a path that leads out of the folder, InputError when it cannot be opened: with `notFound` where
   *   there is none, which may be one that a model can do without
   */
  sibling?(path: string): Promise<ByteSource>;
}

/** A file that is there whatever happens to its name. */
export interface HeldSource extends ByteSource {
  readSync(offset: number, length: number): Uint8Array;
}

/** Files of a model name each other; a hostile one must not name the rest of the disk. */
export function checkSibling(name: string, path: string): void {
  if (/^([/\\]|[a-z][a-z0-9+.-]*:)/i.test(path) || path.split(/[/\\]/).includes("..") || /\p{Surrogate}/u.test(path))
    throw new FormatError(`${name}: refers to "${path}", outside its own folder`);
}

/**
 * A path as a part of an address, in which it has no other meaning: there, "%2e%2e" is a folder further up, and what begins
 * with a blank and two slashes another host.
 */
export const escapedPath = (path: string): string => path.split(/[/\\]/).map(encodeURIComponent).join("/");

/**
 * The address of a file beside another one.
 * @param name of who refers to it
 */
export function besideUrl(name: string, path: string, url: string): string {
  checkSibling(name, path);
  return new URL(escapedPath(path), url).href;
}

/** A name without what an address has behind its path (`?download=true`). */
export const plainName = (name: string): string => (/^https?:/i.test(name) ? name.replace(/[?#].*$/s, "") : name);

/**
 * What `openSource` takes. A string is a URL, `npm:NAME@VERSION/path` or `hf:org/name/path` when it has a scheme or there is no
 * file system, otherwise a path. A folder stands for the model in it.
 */
export type SourceInput = string | URL | Uint8Array | ArrayBuffer | Blob | Response | ByteSource;

/** How files are fetched and kept. */
export interface FetchOptions extends Omit<UrlOptions, "signal" | "onProgress"> {
  /**
   * Whether what is downloaded is kept: true and false, or the folder to keep it in (Node). Kept by default: npm packages and
   * files from Hugging Face. URLs are read part by part as they are needed, unless this is set. The usual place is the folder
   * that the environment variable FORWARDPASS_CACHE names, else one among the user's caches; in browsers OPFS.
   */
  cache?: boolean | string;
  /** Use what was kept and ask nobody. Default: whether the environment variable FORWARDPASS_OFFLINE is 1. */
  offline?: boolean;
  /**
   * The file's SHA-256 in hexadecimal: another one is a FormatError. The whole file is read for it. Of a folder it is that of the
   * file that is read as its model.
   */
  sha256?: string;
  /** For `hf:`. Default: the environment variable HF_TOKEN. */
  token?: string;
  /** For `hf:`, in place of the public hub. */
  hubUrl?: string;
  /** For `npm:`. Default: the one that npm is configured with. */
  registry?: string;
}

export interface SourceOptions extends FetchOptions, Pick<UrlOptions, "signal" | "onProgress"> {
  /** Overrides the name used in messages. */
  name?: string;
}

/** @throws FormatError unless [offset, offset + length) lies inside a file of `size` bytes */
export function checkRange(source: { name: string; size: number }, offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0)
    if (offset + length <= source.size) return;
  throw new FormatError(`${source.name}: ${length} bytes at ${offset} are outside the file of ${source.size} bytes`, {
    offset: Math.min(Math.max(offset, 0), source.size),
  });
}

/** A source over bytes in memory. Reads are views. */
export function bytesSource(data: Uint8Array | ArrayBuffer, name = "bytes"): ByteSource {
  // A plain view, also of a Buffer, whose slice() would share memory, and of what another realm made.
  let bytes: Uint8Array;
  try {
    bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
  } catch (cause) {
    throw new InputError(`${name}: their ArrayBuffer was handed over (it is detached); keep a copy`, { cause });
  }
  const source = {
    size: bytes.byteLength,
    name,
    readSync(offset: number, length: number) {
      checkRange(source, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async read(offset: number, length: number) {
      return source.readSync(offset, length);
    },
  };
  return source;
}

/** A source over a Blob or File. */
export function blobSource(blob: Blob, name = (blob as File).name || "blob"): ByteSource {
  const source = {
    size: blob.size,
    name,
    local: true,
    async read(offset: number, length: number) {
      checkRange(source, offset, length);
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    },
  };
  return source;
}

const isOffline = (options: SourceOptions): boolean =>
  options.offline ?? (hasFileSystem() && environment("FORWARDPASS_OFFLINE") === "1");

/** The network parts are loaded when they are first needed. */
async function openUrl(url: string, given: SourceOptions & { response?: Response }): Promise<ByteSource> {
  if (url.startsWith("file:") && hasFileSystem()) return openFile(new URL(url), given);
  if (given.sha256 !== undefined) (await import("./sources/checksum.ts")).assertSha256(given.sha256);
  const options = { ...given, offline: isOffline(given) };
  if (url.startsWith("npm:")) return (await import("./sources/npm.ts")).npmSource(url, options);
  if (url.startsWith("hf:")) return (await import("./sources/hub.ts")).hubSource(url, options);
  const remote = /^https?:/.test(url);
  if (remote && plainName(url).endsWith("/") && !options.response)
    return (await import("./sources/folder.ts")).openUsual(plainName(url), (file) => openUrl(file, options));
  const source = await (remote ? openRemote(url, options) : openWhole(url, options));
  if (!remote) return source;
  const sibling = async (path: string): Promise<ByteSource> => {
    const beside = besideUrl(source.name, path, url);
    return openUrl(beside, { ...options, name: undefined, response: undefined, sha256: undefined });
  };
  return { ...source, sibling };
}

/** Browsers have no use for it. */
async function openFile(path: string | URL, options: SourceOptions): Promise<ByteSource> {
  const { fileSource } = await import("./sources/file.ts");
  return verified(await fileSource(path, options.name), options);
}

async function openRemote(url: string, options: SourceOptions & { response?: Response }): Promise<ByteSource> {
  const keep = options.cache || options.offline;
  if (options.response || !keep) return openWhole(url, options);
  return (await (await import("./sources/download.ts")).downloadUrl(url, options)) ?? openWhole(url, options);
}

/** Read by ranges, where no checksum asks for all of it. */
async function openWhole(url: string, options: SourceOptions & { response?: Response }): Promise<ByteSource> {
  const { urlSource } = await import("./sources/url.ts");
  return verified(await urlSource(url, { ...options, whole: options.sha256 !== undefined }), options);
}

/** @throws FormatError for a file with another checksum than the caller's */
export async function verified(source: ByteSource, { sha256, signal }: SourceOptions): Promise<ByteSource> {
  if (sha256 !== undefined) await (await import("./sources/checksum.ts")).checkSha256(source, sha256, signal);
  return source;
}

const isSource = (input: object): input is ByteSource =>
  "read" in input && typeof input.read === "function" && "size" in input;

const looksLikeUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(text);
export const hasFileSystem = (): boolean => globalThis.process?.versions?.node !== undefined;

/** An environment variable. Undefined also where it may not be read, as in Deno without a permission. */
export function environment(name: string): string | undefined {
  try {
    return globalThis.process?.env?.[name];
  } catch {
    return undefined;
  }
}

/** The whole address of what a page names relative to its own: files beside it are found from that. */
function fromPage(path: string): string {
  const base = globalThis.location?.href;
  return URL.canParse(path, base) ? new URL(path, base).href : path;
}

/**
 * A byte source over any input a user may have: a path, a URL (`http:`, `https:`, `blob:`, `data:`, `file:`), a file of an npm
 * package (`npm:`) or of a Hugging Face repository (`hf:`), bytes, a Blob, a Response, or a ByteSource, which is returned as it
 * is.
 * @throws InputError for anything else, or when it cannot be opened; FormatError for a wrong checksum; MissingPeerError for
 * `hf:` without `@huggingface/hub`; the signal's reason when aborted
 * @param others what the caller takes besides, for the message
 */
export async function openSource(input: SourceInput, options: SourceOptions = {}, others = ""): Promise<ByteSource> {
  options.signal?.throwIfAborted();
  if (typeof input === "string") {
    // One letter before the colon is a Windows drive.
    if (looksLikeUrl(input)) return openUrl(input, options);
    if (!hasFileSystem()) return openUrl(fromPage(input), options);
    return openFile(input, options);
  }
  // By what it says that it is: frames and test runners have classes of their own.
  const kind = Object.prototype.toString.call(input);
  if (kind === "[object URL]") return openUrl((input as URL).href, options);
  if (/ (ArrayBuffer|Uint8Array|DataView)\]/.test(kind))
    return verified(bytesSource(input as Uint8Array, options.name), options);
  if (/ (Blob|File)\]/.test(kind)) return verified(blobSource(input as Blob, options.name), options);
  if (kind === "[object Response]")
    return openUrl((input as Response).url || "response", { ...options, response: input as Response });
  if (typeof input === "object" && input !== null && isSource(input)) return verified(input, options);
  throw new InputError(`expected ${others}a path, URL, bytes, Blob, Response or ByteSource, got ${kind}`);
}
