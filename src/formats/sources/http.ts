/** Requests over HTTP that survive broken connections. */
import { FormatError, InputError } from "../../tensor/errors.ts";

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

export interface RequestOptions extends UrlOptions {
  /** What messages of a refusal end with. */
  hint?: (status: number) => string;
}

/** The longest that a server's Retry-After is waited for. */
const longestWaitMs = 60_000;

/** A server that says when to come again. */
class Busy extends Error {
  constructor(
    message: string,
    readonly waitMs: number,
  ) {
    super(message);
  }
}

/** An error of who takes the bytes, whom no other connection helps. */
class Taken extends Error {
  override readonly cause: unknown;
  constructor(cause: unknown) {
    super();
    this.cause = cause;
  }
}

/** @throws InputError for values that are none */
export function checkRequestOptions({ onProgress, fetch: get, retries = 0, retryDelay = 0 }: UrlOptions): void {
  for (const [name, f] of Object.entries({ onProgress, fetch: get }))
    if (f !== undefined && typeof f !== "function") throw new InputError(`${name} takes a function, got ${typeof f}`);
  for (const [name, n] of Object.entries({ retries, retryDelay }))
    if (!(typeof n === "number" && n >= 0)) throw new InputError(`${name} takes a number from 0, got ${n}`);
}

export class Connection {
  loaded = 0;
  total = 0;
  /** What arrived by ranges: [start, end), none of which touches another. */
  private ranges: [number, number][] = [];
  /** Of the version of the file that is read: see `validatorOf`. */
  validator: string | undefined;

  /** @throws InputError for options and a URL that no request can be made with */
  constructor(
    readonly url: string,
    readonly options: RequestOptions,
  ) {
    checkRequestOptions(options);
    const { fetch: get, headers } = options;
    // What the global fetch would refuse each time.
    if (!get && isHttp(url))
      try {
        new Request(url, { headers });
      } catch (cause) {
        throw new InputError(`${url}: no request can be made of it: ${(cause as Error).message}`, { cause });
      }
  }

  /**
   * A server that knows no range, or hides from a page which one it sent, is asked once more without one.
   * @throws InputError on a status that a retry won't change; a plain Error, which is retried, on others.
   */
  async request(
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
    init: RequestInit = {},
  ): Promise<Response> {
    const response = await this.send({ ...init, headers: { ...this.options.headers, ...headers } }, signal);
    const { status } = response;
    const { Range: range, "If-Range": _, ...others } = headers;
    const encoding = encodingOf(response);
    // Others decode what comes whole, whatever it was asked for by.
    const leftEncoded = status === 200 && encoding && "Deno" in globalThis;
    const isEmpty = response.headers.get("content-range") === "bytes */0";
    const hidden = status === 206 && !contentRange(response);
    if (range && (leftEncoded || hidden || (status === 416 && range.startsWith("bytes=0-") && !isEmpty))) {
      await response.body?.cancel();
      return this.request(others, signal, init);
    }
    if (status === 206 && encoding) {
      await response.body?.cancel();
      throw new InputError(
        `${this.url}: the server sends ranges of it in ${encoding} (content-encoding), which are no parts of the file; pass the Response of a fetch of all of it`,
      );
    }
    if (response.ok || (status === 416 && range) || status === 304) return response;
    await response.body?.cancel();
    const message = `${this.url}: HTTP ${status} ${response.statusText}${this.options.hint?.(status) ?? ""}`;
    // Stores of files answer 403 for one that isn't there, where they don't tell which there are.
    throw new InputError(message, { notFound: [403, 404, 410].includes(status) });
  }

  /** A response, whatever its status. @throws a plain Error, which is retried, on a status that may change */
  async send(init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
    const { fetch: get = globalThis.fetch } = this.options;
    const response = await get(this.url, { ...init, signal });
    const { status, statusText } = response;
    if (status !== 408 && status !== 429 && status < 500) return response;
    await response.body?.cancel();
    throw new Busy(`HTTP ${status} ${statusText}`.trimEnd(), retryAfter(response));
  }

  progress(bytes: number): void {
    this.loaded += bytes;
    this.options.onProgress?.(this.loaded, this.total);
  }

  /** Progress of ranges: what is fetched a second time adds nothing to it. */
  arrived(start: number, bytes: number): void {
    this.loaded += bytes;
    let [from, to] = [start, start + bytes];
    const apart = this.ranges.filter(([a, b]) => {
      if (a > to || b < from) return true;
      [from, to] = [Math.min(a, from), Math.max(b, to)];
      return false;
    });
    this.ranges = [...apart, [from, to]];
    this.options.onProgress?.(
      this.ranges.reduce((sum, [a, b]) => sum + b - a, 0),
      this.total,
    );
  }

  /**
   * Runs `attempt` until it returns true. An attempt that threw, or ended early, is tried again after a wait; more bytes than
   * ever before reset the count. Aborts, typed errors and those of who takes the bytes pass through, as does what no network
   * is asked for.
   */
  async persist(signal: AbortSignal | undefined, attempt: () => Promise<boolean>): Promise<void> {
    const { retries = 4, retryDelay = 200, fetch: get } = this.options;
    const mayHelp = isHttp(this.url) || (get !== undefined && URL.canParse(this.url));
    for (let failures = 0, furthest = this.loaded; ; ) {
      let cause: unknown = new Error("the connection closed early");
      try {
        if (await attempt()) return;
      } catch (error) {
        signal?.throwIfAborted();
        passOn(error);
        if (error instanceof InputError || error instanceof FormatError) throw error;
        cause = error;
      }
      failures = this.loaded > furthest ? 1 : failures + 1;
      furthest = Math.max(furthest, this.loaded);
      if (failures > retries || !mayHelp) {
        const reason = (cause as Error).cause instanceof Error ? ((cause as Error).cause as Error) : (cause as Error);
        throw new InputError(`${this.url}: download failed: ${reason?.message ?? reason}`, { cause });
      }
      await wait(Math.max(retryDelay * 2 ** (failures - 1), cause instanceof Busy ? cause.waitMs : 0), signal);
    }
  }
}

export const isHttp = (url: string): boolean => /^https?:/i.test(url);

/** The wait that a server asks for, in seconds or until a date (RFC 9110, section 10.2.3); 0 where it doesn't. */
function retryAfter({ headers }: Response): number {
  const text = headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Math.min(Math.max(ms || 0, 0), longestWaitMs);
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

export interface ContentRange {
  start: number;
  end: number;
  total: number;
}

/** `bytes 0-99/1234`. Undefined when the header is missing, hidden by CORS, or names no total. */
export function contentRange(response: Response): ContentRange | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return match ? { start: Number(match[1]), end: Number(match[2]) + 1, total: Number(match[3]) } : undefined;
}

/** One that `fetch` decodes. Storage also has other words there, which change nothing. */
const encodingOf = ({ headers }: Response): string | undefined =>
  /^(x-)?gzip$|^deflate$|^br$|^zstd$/i.exec(headers.get("content-encoding") ?? "")?.[0];

/** The length the body will have, or 0 if unknown: Content-Length counts encoded bytes, so an encoding hides it. */
export const bodyLength = (response: Response): number =>
  response.headers.get("content-encoding") ? 0 : Number(response.headers.get("content-length") ?? 0);

/**
 * What tells versions of a file apart: its ETag, else the date of its last change. Undefined where the server names neither, or
 * CORS hides them.
 */
export const validatorOf = ({ headers }: Response): string | undefined =>
  headers.get("etag")?.replace(/^W\//, "") ?? headers.get("last-modified") ?? undefined;

/** Reads a body to its end. @throws what breaks the connection; what `take` throws so that `persist` passes it on */
export async function eachChunk(response: Response, take: (chunk: Uint8Array) => void | Promise<void>): Promise<void> {
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      try {
        const taken = take(value);
        if (taken) await taken;
      } catch (error) {
        throw new Taken(error);
      }
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}

/** What `take` of `eachChunk` threw is thrown on; nothing is done about other errors. */
export function passOn(error: unknown): void {
  if (error instanceof Taken) throw error.cause;
}
