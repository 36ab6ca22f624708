/**
 * A byte source over HTTP. With range requests (RFC 9110, section 14) it reads only what is asked for; without them it
 * downloads the whole file once. A connection that breaks is resumed where it stopped.
 */
import { FormatError, InputError } from "../tensor/errors.ts";
import { type ByteSource, bytesSource, checkRange } from "./source.ts";

export interface UrlOptions {
  /** Ends requests under way and makes later ones fail. */
  signal?: AbortSignal;
  /** Bytes received so far, and the file's size (0 while unknown). */
  onProgress?: (loadedBytes: number, totalBytes: number) => void;
  /** Consecutive failures without a byte received before giving up. Default 4. */
  retries?: number;
  /** First wait before a retry in milliseconds, doubled each time. Default 200. */
  retryDelay?: number;
  headers?: Record<string, string>;
  /** Default: the global `fetch`. */
  fetch?: typeof fetch;
}

/** Reads smaller than this fetch this much and keep it: headers and small tensors lie next to one another. */
const windowBytes = 1 << 20;

class Connection {
  loaded = 0;
  total = 0;

  constructor(
    readonly url: string,
    readonly options: UrlOptions,
  ) {}

  /** @throws InputError on a status that a retry won't change; a plain Error, which is retried, on others. */
  async request(range: string | undefined, signal: AbortSignal | undefined): Promise<Response> {
    const { fetch: get = globalThis.fetch, headers } = this.options;
    const response = await get(this.url, { headers: range ? { ...headers, Range: range } : headers, signal });
    if (response.ok || response.status === 416) return response;
    await response.body?.cancel();
    const message = `${this.url}: HTTP ${response.status} ${response.statusText}`;
    if (response.status === 408 || response.status === 429 || response.status >= 500) throw new Error(message);
    throw new InputError(message);
  }

  progress(bytes: number): void {
    this.loaded += bytes;
    this.options.onProgress?.(this.total ? Math.min(this.loaded, this.total) : this.loaded, this.total);
  }

  /**
   * Runs `attempt` until it returns true. An attempt that threw, or ended early, is tried again after a wait; received
   * bytes reset the count. Aborts and typed errors pass through.
   */
  async persist(signal: AbortSignal | undefined, attempt: () => Promise<boolean>): Promise<void> {
    const { retries = 4, retryDelay = 200 } = this.options;
    for (let failures = 0, seen = this.loaded; ; seen = this.loaded) {
      let cause: unknown = new Error("the connection closed early");
      try {
        if (await attempt()) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof InputError || error instanceof FormatError) throw error;
        cause = error;
      }
      failures = this.loaded > seen ? 1 : failures + 1;
      if (failures > retries) {
        const reason = (cause as Error).cause instanceof Error ? ((cause as Error).cause as Error) : (cause as Error);
        throw new InputError(`${this.url}: download failed: ${reason.message}`, { cause });
      }
      await wait(retryDelay * 2 ** (failures - 1), signal);
    }
  }
}

function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

interface ContentRange {
  start: number;
  end: number;
  total: number;
}

/** `bytes 0-99/1234`. Undefined when the header is missing, hidden by CORS, or names no total. */
function contentRange(response: Response): ContentRange | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return match ? { start: Number(match[1]), end: Number(match[2]) + 1, total: Number(match[3]) } : undefined;
}

/** The length the body will have, or 0 if unknown: Content-Length counts encoded bytes, so an encoding hides it. */
const bodyLength = (response: Response): number =>
  response.headers.get("content-encoding") ? 0 : Number(response.headers.get("content-length") ?? 0);

async function eachChunk(response: Response, take: (chunk: Uint8Array) => void): Promise<void> {
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      take(value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}

/** Receives bytes [start, end) by range requests, resuming after breaks. */
async function readRange(c: Connection, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
  const out = new Uint8Array(end - start);
  let at = start;
  await c.persist(signal, async () => {
    const response = await c.request(`bytes=${at}-${end - 1}`, signal);
    const range = contentRange(response);
    if (response.status !== 206 || range?.start !== at || range.end > end || range.total !== c.total) {
      await response.body?.cancel();
      throw new InputError(
        `${c.url}: asked for bytes ${at} to ${end} of ${c.total}, got HTTP ${response.status} "${response.headers.get("content-range") ?? ""}"; did the file change?`,
      );
    }
    await eachChunk(response, (chunk) => {
      if (at + chunk.length > end)
        throw new InputError(`${c.url}: the server sent more bytes than the range asked for`);
      out.set(chunk, at - start);
      at += chunk.length;
      c.progress(chunk.length);
    });
    return at === end;
  });
  return out;
}

/** Downloads everything, starting with a response at hand. Resumes by range where the server turns out to know them. */
async function readWhole(c: Connection, first: Response | undefined, signal?: AbortSignal): Promise<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let at = 0;
  let total = 0;
  let next = first;
  await c.persist(signal, async () => {
    const response = next ?? (await c.request(at > 0 ? `bytes=${at}-` : undefined, signal));
    next = undefined;
    const range = contentRange(response);
    if (response.status !== 206 || range?.start !== at || range.total !== total) {
      if (response.status !== 200) {
        await response.body?.cancel();
        // The file may have changed since: begin again without a range.
        at = 0;
        chunks = [];
        return false;
      }
      chunks = [];
      c.loaded = at = 0;
      total = bodyLength(response);
      c.total = total;
    }
    await eachChunk(response, (chunk) => {
      chunks.push(chunk);
      at += chunk.length;
      c.progress(chunk.length);
    });
    if (total && at > total) throw new InputError(`${c.url}: received ${at} bytes, the server announced ${total}`);
    return at === total || !total;
  });
  const out = new Uint8Array(at);
  let offset = 0;
  for (const chunk of chunks) {
    out.set(chunk, offset);
    offset += chunk.length;
  }
  return out;
}

/**
 * A source over a URL, or over a Response already received.
 * @throws InputError when the server refuses or the connection fails `retries` times in a row; the signal's reason on abort
 */
export async function urlSource(
  url: string | URL,
  options: UrlOptions & { name?: string; response?: Response } = {},
): Promise<ByteSource> {
  const c = new Connection(String(url), options);
  const name = options.name ?? c.url;
  const { signal } = options;
  if (options.response) {
    const { response } = options;
    if (!response.ok) throw new InputError(`${name}: HTTP ${response.status} ${response.statusText}`);
    return bytesSource(await readWhole(c, response, signal), name);
  }
  let probe: Response | undefined;
  await c.persist(signal, async () => {
    probe = await c.request(`bytes=0-${windowBytes - 1}`, signal);
    return true;
  });
  const response = probe as Response;
  const range = response.status === 206 ? contentRange(response) : undefined;
  if (range?.start !== 0) {
    if (response.status === 200) return bytesSource(await readWhole(c, response, signal), name);
    // An empty file has no first byte to range over; a 206 whose total is hidden cannot be addressed.
    await response.body?.cancel();
    return bytesSource(await readWhole(c, undefined, signal), name);
  }
  c.total = range.total;
  return rangedSource(c, name, await firstWindow(c, response, range.end, signal));
}

/** The probe's own bytes, as far as they arrive: format readers start at the beginning. */
async function firstWindow(
  c: Connection,
  response: Response,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.min(length, windowBytes));
  let at = 0;
  try {
    await eachChunk(response, (chunk) => {
      bytes.set(chunk, at);
      at += chunk.length;
      c.progress(chunk.length);
    });
  } catch {
    signal?.throwIfAborted();
    // What is missing is fetched when it is asked for.
  }
  return bytes.subarray(0, at);
}

function rangedSource(c: Connection, name: string, first: Uint8Array): ByteSource {
  let window = { start: 0, bytes: first };
  const source: ByteSource = {
    size: c.total,
    name,
    async read(offset, length, signal) {
      checkRange(source, offset, length);
      const inside = offset >= window.start && offset + length <= window.start + window.bytes.length;
      const both =
        c.options.signal && signal ? AbortSignal.any([c.options.signal, signal]) : (signal ?? c.options.signal);
      both?.throwIfAborted();
      if (length === 0) return new Uint8Array(0);
      if (inside) return window.bytes.subarray(offset - window.start, offset - window.start + length);
      const end = Math.min(source.size, offset + Math.max(length, windowBytes));
      const bytes = await readRange(c, offset, end, both);
      if (length < windowBytes) window = { start: offset, bytes };
      return bytes.subarray(0, length);
    },
  };
  return source;
}
