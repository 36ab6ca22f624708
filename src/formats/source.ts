/**
 * Byte sources: where a model file comes from. Format readers ask for ranges of bytes, so that a file larger than memory,
 * or on the other side of a network, is read in parts.
 */
import { FormatError, InputError } from "../tensor/errors.ts";
import type { UrlOptions } from "./source-url.ts";

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
  /** Many small reads cost no more than one: a file on disk, not a network. */
  readonly local?: boolean;
  /**
   * A file named relative to this one, for weights and tokenizers kept beside a model. Missing where "beside" means nothing.
   * @throws FormatError for a path that leads out of the folder, InputError when it cannot be opened
   */
  sibling?(path: string): Promise<ByteSource>;
}

/** Files of a model name each other; a hostile one must not name the rest of the disk. */
function checkSibling(name: string, path: string): void {
  if (/^([/\\]|[a-z][a-z0-9+.-]*:)/i.test(path) || path.split(/[/\\]/).includes(".."))
    throw new FormatError(`${name}: refers to "${path}", outside its own folder`);
}

/** What `openSource` takes. A string is a URL when it has a scheme or there is no file system, otherwise a path. A folder stands for the model in it. */
export type SourceInput = string | URL | Uint8Array | ArrayBuffer | Blob | Response | ByteSource;

export interface SourceOptions extends UrlOptions {
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
  // A plain view, also of a Buffer, whose slice() would share memory.
  const bytes =
    data instanceof Uint8Array ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  const source = {
    size: bytes.byteLength,
    name,
    async read(offset: number, length: number) {
      checkRange(source, offset, length);
      return bytes.subarray(offset, offset + length);
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

// Read by a variable name and with the bundlers' ignore marks, so that builds for browsers don't try to resolve it.
const nodeFs = "node:fs/promises";
const loadFs = (): Promise<typeof import("node:fs/promises")> =>
  import(/* webpackIgnore: true */ /* @vite-ignore */ nodeFs);

/** One read call of the operating system takes less than 2 GiB. */
const maxReadBytes = 1 << 30;

/**
 * A source over a file on disk (Node, Deno, Bun). Opened for each read, so there is nothing to close.
 * @throws InputError when the file cannot be opened
 */
export async function fileSource(path: string | URL, name = String(path)): Promise<ByteSource> {
  const fs = await loadFs();
  const fail = (cause: unknown): never => {
    throw new InputError(`${name}: ${(cause as Error).message}`, { cause });
  };
  const stat = await fs.stat(path).catch(fail);
  if (stat.isDirectory()) {
    const { modelFileAmong } = await import("./source-folder.ts");
    const file = modelFileAmong(await fs.readdir(path), name);
    return fileSource(path instanceof URL ? new URL(file, `${path.href.replace(/\/?$/, "/")}`) : `${path}/${file}`);
  }
  const { size } = stat;
  const source: ByteSource = {
    size,
    name,
    local: true,
    async sibling(other) {
      checkSibling(name, other);
      const own = path instanceof URL ? path.pathname : path;
      const folder = own.slice(0, Math.max(own.lastIndexOf("/"), own.lastIndexOf("\\")) + 1);
      return fileSource(path instanceof URL ? new URL(other, path) : folder + other);
    },
    async read(offset, length, signal) {
      checkRange(source, offset, length);
      const out = new Uint8Array(length);
      const file = await fs.open(path, "r").catch(fail);
      try {
        for (let at = 0; at < length; ) {
          signal?.throwIfAborted();
          const { bytesRead } = await file.read(out, at, Math.min(length - at, maxReadBytes), offset + at);
          if (bytesRead === 0)
            throw new FormatError(`${name}: the file ends at ${offset + at}, it had ${size} bytes when opened`, {
              offset: offset + at,
            });
          at += bytesRead;
        }
      } finally {
        await file.close();
      }
      return out;
    },
  };
  return source;
}

/** The network part is loaded when a URL is first opened. */
async function openUrl(url: string, options: SourceOptions & { response?: Response }): Promise<ByteSource> {
  if (url.startsWith("file:")) return fileSource(new URL(url), options.name);
  const { urlSource } = await import("./source-url.ts");
  if (/^https?:.*\/$/.test(url) && !options.response) {
    const { usualNames } = await import("./source-folder.ts");
    for (const name of usualNames) {
      const source = await openUrl(url + name, options).catch((e) => {
        if (!(e instanceof InputError)) throw e;
      });
      if (source) return source;
    }
    throw new InputError(`${url}: there is none of ${usualNames.join(", ")}`);
  }
  const source = await urlSource(url, options);
  if (!/^https?:/.test(url)) return source;
  const sibling = async (path: string): Promise<ByteSource> => {
    checkSibling(source.name, path);
    return openUrl(new URL(path, url).href, { ...options, name: undefined, response: undefined });
  };
  return Object.assign(source, { sibling });
}

const isSource = (input: object): input is ByteSource =>
  "read" in input && typeof input.read === "function" && "size" in input;

const looksLikeUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(text);
const hasFileSystem = (): boolean => typeof process !== "undefined" && process.versions?.node !== undefined;

/**
 * A byte source over any input a user may have: a path, a URL (`http:`, `https:`, `blob:`, `data:`, `file:`), bytes, a
 * Blob, a Response, or a ByteSource, which is returned as it is.
 * @throws InputError for anything else, or when it cannot be opened
 */
export async function openSource(input: SourceInput, options: SourceOptions = {}): Promise<ByteSource> {
  if (typeof input === "string") {
    // One letter before the colon is a Windows drive.
    if (!looksLikeUrl(input) && hasFileSystem()) return fileSource(input, options.name);
    return openUrl(input, options);
  }
  if (input instanceof URL) return openUrl(input.href, options);
  if (input instanceof Uint8Array || input instanceof ArrayBuffer) return bytesSource(input, options.name);
  if (typeof Blob !== "undefined" && input instanceof Blob) return blobSource(input, options.name);
  if (typeof Response !== "undefined" && input instanceof Response)
    return openUrl(input.url || "response", { ...options, response: input });
  if (typeof input === "object" && input !== null && isSource(input)) return input;
  throw new InputError(
    `expected a path, URL, bytes, Blob, Response or ByteSource, got ${Object.prototype.toString.call(input)}`,
  );
}
