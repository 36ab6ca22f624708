/**
 * A byte source over HTTP. With range requests (RFC 9110, section 14) it reads only what is asked for; without them it
 * downloads the whole file once. A connection that breaks is resumed where it stopped.
 */
import { InputError } from "../../tensor/errors.ts";
import { type ByteSource, bytesSource, checkRange } from "../source.ts";
import {
  bodyLength,
  Connection,
  contentRange,
  eachChunk,
  isHttp,
  passOn,
  type RequestOptions,
  validatorOf,
} from "./http.ts";

/** Reads of up to this much fetch this much and keep it: headers and small tensors lie next to one another. */
const windowBytes = 1 << 20;

/** The newest are kept: files that hold tensors kind by kind are read at many places in turn, layer by layer. */
const mostWindows = 12;

interface Window {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Fills `out` with the bytes from `start` on by range requests, resuming after breaks. */
async function readRange(c: Connection, out: Uint8Array, start: number, signal?: AbortSignal): Promise<void> {
  const end = start + out.length;
  let at = start;
  await c.persist(signal, async () => {
    // The last attempt may have broken after its last byte.
    if (at === end) return true;
    const response = await c.request({ Range: `bytes=${at}-${end - 1}` }, signal);
    const range = contentRange(response);
    const same = validatorOf(response) === c.validator && range?.total === c.total;
    if (response.status !== 206 || range?.start !== at || range.end > end || !same) {
      await response.body?.cancel();
      throw new InputError(
        `${c.url}: asked for bytes ${at} to ${end} of ${c.total}, got HTTP ${response.status} "${response.headers.get("content-range") ?? ""}"; did the file change?`,
      );
    }
    await eachChunk(response, (chunk) => {
      if (at + chunk.length > end)
        throw new InputError(`${c.url}: the server sent more bytes than the range asked for`);
      out.set(chunk, at - start);
      c.arrived(at, chunk.length);
      at += chunk.length;
    });
    return at === end;
  });
}

/** Downloads everything, starting with a response at hand. Resumes by range where the server turns out to know them. */
async function readWhole(c: Connection, first: Response | undefined, signal?: AbortSignal): Promise<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let at = 0;
  let total = 0;
  let next = first;
  await c.persist(signal, async () => {
    const response = next ?? (await c.request(at > 0 ? { Range: `bytes=${at}-` } : {}, signal));
    next = undefined;
    const range = contentRange(response);
    const same = validatorOf(response) === c.validator && range?.total === total;
    if (response.status !== 206 || range?.start !== at || !same) {
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
      c.validator = validatorOf(response);
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
 * A source over a URL, or over a Response already received. `whole` downloads the file at once, into memory; so is what is not
 * on a network.
 * @throws InputError when the server refuses or the connection fails `retries` times in a row, for a Response that was read
 * already, and for options that are none; what `onProgress` throws; the signal's reason on abort
 */
export async function urlSource(
  url: string | URL,
  options: RequestOptions & { name?: string; response?: Response; whole?: boolean } = {},
): Promise<ByteSource> {
  const c = new Connection(String(url), options);
  const name = options.name ?? c.url;
  const { signal } = options;
  if (options.response) {
    const { response } = options;
    if (!response.ok) throw new InputError(`${name}: HTTP ${response.status} ${response.statusText}`);
    if (response.bodyUsed || response.body?.locked)
      throw new InputError(
        `${name}: the body of this Response was read already; pass it before, or pass a clone of it`,
      );
    return bytesSource(await readWhole(c, response, signal), name);
  }
  if (options.whole || !isHttp(c.url)) return bytesSource(await readWhole(c, undefined, signal), name);
  let probe: Response | undefined;
  await c.persist(signal, async () => {
    probe = await c.request({ Range: `bytes=0-${windowBytes - 1}` }, signal);
    return true;
  });
  const response = probe as Response;
  const range = response.status === 206 ? contentRange(response) : undefined;
  if (range?.start !== 0) {
    if (response.status === 200) return bytesSource(await readWhole(c, response, signal), name);
    // An empty file has no first byte to range over.
    await response.body?.cancel();
    return bytesSource(await readWhole(c, undefined, signal), name);
  }
  c.total = range.total;
  c.validator = validatorOf(response);
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
      if (at + chunk.length > bytes.length)
        throw new InputError(`${c.url}: the server sent more bytes than the range asked for`);
      bytes.set(chunk, at);
      c.arrived(at, chunk.length);
      at += chunk.length;
    });
  } catch (error) {
    signal?.throwIfAborted();
    passOn(error);
    // What is missing is fetched when it is asked for.
  }
  return bytes.subarray(0, at);
}

function rangedSource(c: Connection, name: string, first: Uint8Array): ByteSource {
  let windows: Window[] = [{ start: 0, bytes: first }];
  const over = (at: number) => windows.find(({ start, bytes }) => start <= at && at < start + bytes.length);
  const source: ByteSource = {
    size: c.total,
    name,
    async read(offset, length, signal) {
      checkRange(source, offset, length);
      const both =
        c.options.signal && signal ? AbortSignal.any([c.options.signal, signal]) : (signal ?? c.options.signal);
      both?.throwIfAborted();
      const end = offset + length;
      let window = over(offset);
      if (window && end <= window.start + window.bytes.length)
        return window.bytes.subarray(offset - window.start, end - window.start);
      const out = new Uint8Array(length);
      const take = ({ start, bytes }: Window): void => {
        const skipped = Math.max(offset - start, 0);
        out.set(bytes.subarray(skipped, Math.max(end - start, 0)), start + skipped - offset);
      };
      // What is at hand at both ends is not fetched again.
      let from = offset;
      let to = end;
      for (; from < to && window; window = over(from)) {
        take(window);
        from = window.start + window.bytes.length;
      }
      for (; from < to && (window = over(to - 1)); to = window.start) take(window);
      if (from >= to) return out;
      if (to - from > windowBytes) {
        await readRange(c, out.subarray(from - offset, to - offset), from, both);
        return out;
      }
      const next = windows.map(({ start }) => start).filter((start) => start >= to);
      const bytes = new Uint8Array(Math.min(source.size, from + windowBytes, ...next) - from);
      await readRange(c, bytes, from, both);
      const latest = { start: from, bytes };
      windows = [latest, ...windows].slice(0, mostWindows);
      if (bytes.length >= length && from === offset) return bytes.subarray(0, length);
      take(latest);
      return out;
    },
  };
  return source;
}
