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

export class Connection {
  loaded = 0;
  total = 0;
  /** Of the version of the file that is read: see `validatorOf`. */
  validator: string | undefined;

  constructor(
    readonly url: string,
    readonly options: UrlOptions,
  ) {}

  /** @throws InputError on a status that a retry won't change; a plain Error, which is retried, on others. */
  async request(headers: Record<string, string>, signal: AbortSignal | undefined): Promise<Response> {
    const { fetch: get = globalThis.fetch } = this.options;
    const response = await get(this.url, { headers: { ...this.options.headers, ...headers }, signal });
    if (response.ok || response.status === 416 || response.status === 304) return response;
    await response.body?.cancel();
    const message = `${this.url}: HTTP ${response.status} ${response.statusText}`;
    if (response.status === 408 || response.status === 429 || response.status >= 500) throw new Error(message);
    // Stores of files answer 403 for one that isn't there, where they don't tell which there are.
    throw new InputError(message, { notFound: [403, 404, 410].includes(response.status) });
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

/** The length the body will have, or 0 if unknown: Content-Length counts encoded bytes, so an encoding hides it. */
export const bodyLength = (response: Response): number =>
  response.headers.get("content-encoding") ? 0 : Number(response.headers.get("content-length") ?? 0);

/**
 * What tells versions of a file apart: its ETag, else the date of its last change. Undefined where the server names neither, or
 * CORS hides them.
 */
export const validatorOf = ({ headers }: Response): string | undefined =>
  headers.get("etag")?.replace(/^W\//, "") ?? headers.get("last-modified") ?? undefined;

export async function eachChunk(response: Response, take: (chunk: Uint8Array) => void | Promise<void>): Promise<void> {
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const taken = take(value);
      if (taken) await taken;
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}
