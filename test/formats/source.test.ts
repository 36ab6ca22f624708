import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { mkdtemp, rename, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { blobSource, bytesSource, openSource } from "../../src/formats/source.ts";
import { fileSource } from "../../src/formats/sources/file.ts";
import { urlSource } from "../../src/formats/sources/url.ts";
import { load } from "../../src/index.ts";
import { FormatError, InputError } from "../../src/tensor/errors.ts";
import { inPage } from "../hosts.ts";

const size = 3_000_001;
const content = new Uint8Array(size);
for (let i = 0; i < size; i++) content[i] = (i * 2654435761) >>> 24;

const same = (bytes: Uint8Array, offset = 0, length = size) =>
  bytes.length === length && Buffer.compare(bytes, content.subarray(offset, offset + length)) === 0;

describe("local sources", () => {
  let folder: string;
  let path: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "source-"));
    path = join(folder, "model.bin");
    await writeFile(path, content);
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("bytes, buffer, blob, file, file URL read the same ranges", async () => {
    const inputs = [
      content,
      content.slice().buffer,
      new Blob([content]),
      path,
      pathToFileURL(path),
      pathToFileURL(path).href,
    ];
    for (const input of inputs) {
      const source = await openSource(input);
      expect(source.size).toBe(size);
      expect(same(await source.read(0, size))).toBe(true);
      expect(same(await source.read(12_345, 777), 12_345, 777)).toBe(true);
      expect((await source.read(size, 0)).length).toBe(0);
      expect(await openSource(source)).toBe(source);
    }
  });

  test("a file part by part, by one buffer, for two readers at once", async () => {
    const source = await fileSource(path);
    const whole = async (granule: number): Promise<number> => {
      let at = 100;
      const buffers = new Set<ArrayBufferLike>();
      for await (const part of source.parts!(100, size - 100, granule)) {
        expect(same(part, at, part.length)).toBe(true);
        at += part.length;
        if (at < size) expect(part.length % granule).toBe(0);
        buffers.add(part.buffer);
      }
      expect(at).toBe(size);
      return buffers.size;
    };
    expect(await Promise.all([whole(7), whole(1000)])).toEqual([1, 1]);
    expect(await whole(size)).toBe(1);
    const outside = async () => {
      for await (const _ of source.parts!(size, 1, 1));
    };
    await expect(outside()).rejects.toThrow(FormatError);
    const aborted = async () => {
      for await (const _ of source.parts!(0, size, 1, AbortSignal.abort(new Error("enough"))));
    };
    await expect(aborted()).rejects.toThrow("enough");
  });

  test("a file that is held, whatever becomes of its name, until it is written to", async () => {
    const [own, other] = [join(folder, "held"), join(folder, "other")];
    await writeFile(own, content);
    const held = (await fileSource(own)).hold!();
    await writeFile(other, new Uint8Array(size));
    await rename(other, own);
    expect(same(await held.read(12_345, 777), 12_345, 777)).toBe(true);
    await rm(own);
    expect(same(held.readSync(12_345, 777), 12_345, 777)).toBe(true);
    for await (const part of held.parts!(5, 777, 777)) expect(same(part, 5, 777)).toBe(true);
    expect(() => held.readSync(size, 1)).toThrow(FormatError);
    await writeFile(own, content);
    const source = await fileSource(own);
    const shrinking = source.hold!();
    await truncate(own, 100);
    const shrunk = { name: "FormatError", offset: 100 };
    await expect(shrinking.read(50, 100)).rejects.toMatchObject(shrunk);
    expect(() => shrinking.readSync(50, 100)).toThrow(expect.objectContaining(shrunk));
    expect(() => source.hold!()).toThrow(expect.objectContaining(shrunk));
    await rm(own);
    expect(() => source.hold!()).toThrow(InputError);
  });

  test("a file that was held is closed when nobody reads it any more, also where loading failed", async () => {
    const opened = vi.spyOn(fs, "openSync");
    const closed = vi.spyOn(fs, "closeSync");
    const damaged = join(folder, "damaged.safetensors");
    await writeFile(damaged, Buffer.from('\x09\0\0\0\0\0\0\0{"a":{}}}'));
    await (await fileSource(path)).hold!().read(0, 5);
    expect(await load(damaged, { device: "cpu" }).catch((e) => e.name)).toBe("FormatError");
    const held = opened.mock.results.flatMap((r, i) =>
      [path, damaged].includes(String(opened.mock.calls[i][0])) ? [r.value] : [],
    );
    expect(held).toHaveLength(2);
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    await vi.waitFor(() => {
      collect();
      expect(closed.mock.calls.map(([fd]) => fd)).toEqual(expect.arrayContaining(held));
    });
    vi.restoreAllMocks();
  });

  test.skipIf(process.platform === "win32")("a pipe is refused, and not waited for", async () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const input of [pipe, pathToFileURL(pipe), "/dev/null"])
      await expect(openSource(input)).rejects.toThrow(
        expect.objectContaining({ name: "InputError", message: expect.stringMatching(/pipe.*: copy .* into a file/) }),
      );
  });

  test("bytes are read without a copy", async () => {
    expect((await bytesSource(content).read(5, 7)).buffer).toBe(content.buffer);
  });

  test("bytes whose buffer was handed over are an InputError", () => {
    const bytes = content.slice();
    structuredClone(bytes, { transfer: [bytes.buffer] });
    for (const given of [bytes, bytes.buffer]) expect(() => bytesSource(given)).toThrow(InputError);
  });

  test("ranges outside the file are refused with the offset", async () => {
    for (const source of [bytesSource(content), blobSource(new Blob([content])), await fileSource(path)])
      for (const [offset, length] of [
        [0, size + 1],
        [size, 1],
        [-1, 1],
        [1, -1],
        [0.5, 1],
        [0, Number.NaN],
        [2 ** 60, 1],
      ]) {
        const error = await source.read(offset, length).catch((e) => e);
        expect(error).toBeInstanceOf(FormatError);
        expect(error.offset).toBeTypeOf("number");
      }
  });

  test("an address of a file, where there are no files, is an InputError", async () => {
    const refused = inPage(() => openSource(pathToFileURL(path).href, { retries: 0 }));
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow("download failed");
  });

  test("a file that shrank after opening, a missing file and a wrong input", async () => {
    const shrinking = join(folder, "shrinks");
    await writeFile(shrinking, content);
    const source = await fileSource(shrinking);
    await writeFile(shrinking, content.subarray(0, 100));
    await expect(source.read(50, 100)).rejects.toMatchObject({ name: "FormatError", offset: 100 });
    await expect(openSource(join(folder, "none"))).rejects.toThrow(InputError);
    await expect(openSource(42 as unknown as string)).rejects.toThrow(InputError);
  });
});

/** How one request is answered; `n` counts the requests of a test. */
type Handler = (request: IncomingMessage, response: ServerResponse, n: number) => void;

describe("URL sources", () => {
  let server: Server;
  let base: string;
  let handler: Handler;
  let requests: (string | undefined)[];
  beforeAll(async () => {
    server = createServer((request, response) => {
      requests.push(request.headers.range);
      handler(request, response, requests.length);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.bin`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const serve = (h: Handler) => {
    handler = h;
    requests = [];
  };
  /** Answers with the whole file; `cut` breaks the connection after so many bytes. */
  const whole = (response: ServerResponse, cut?: number) => {
    response.writeHead(200, { "content-length": size });
    if (cut === undefined) response.end(content);
    else response.write(content.subarray(0, cut), () => response.destroy());
  };
  const ranged = (request: IncomingMessage, response: ServerResponse, cut?: number) => {
    const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    if (!match) return whole(response, cut);
    const start = Number(match[1]);
    const end = Math.min(size, match[2] ? Number(match[2]) + 1 : size);
    response.writeHead(206, { "content-length": end - start, "content-range": `bytes ${start}-${end - 1}/${size}` });
    if (cut === undefined) response.end(content.subarray(start, end));
    else response.write(content.subarray(start, Math.min(end, start + cut)), () => response.destroy());
  };
  const quick = { retryDelay: 1 };

  test("ranges: reads only what is asked for, near reads share a window", async () => {
    serve((q, r) => ranged(q, r));
    const seen: [number, number][] = [];
    const source = await openSource(base, { ...quick, onProgress: (l, t) => seen.push([l, t]) });
    expect(source.size).toBe(size);
    expect(same(await source.read(10, 100), 10, 100)).toBe(true);
    expect(requests.length).toBe(1);
    expect(same(await source.read(2_000_000, 4), 2_000_000, 4)).toBe(true);
    expect(same(await source.read(2_000_004, 50_000), 2_000_004, 50_000)).toBe(true);
    expect(requests.length).toBe(2);
    expect(same(await source.read(0, size))).toBe(true);
    expect(seen.at(-1)).toEqual([size, size]);
    await expect(source.read(size - 1, 2)).rejects.toThrow(FormatError);
  });

  test("no ranges: one whole download with progress", async () => {
    serve((_, r) => whole(r));
    const seen: number[] = [];
    const source = await urlSource(base, { ...quick, onProgress: (l, t) => seen.push(l, t) });
    expect(same(await source.read(0, size))).toBe(true);
    expect(same(await source.read(7, 9), 7, 9)).toBe(true);
    expect(requests.length).toBe(1);
    expect(seen.slice(-2)).toEqual([size, size]);
  });

  test("a dropped connection is resumed by range where it stopped", async () => {
    serve((q, r, n) => ranged(q, r, n === 1 ? undefined : n < 4 ? 700_000 : undefined));
    const source = await urlSource(base, quick);
    expect(same(await source.read(0, size))).toBe(true);
    expect(requests.length).toBe(4);
    const starts = requests.slice(1).map((range) => Number(/=(\d+)/.exec(range!)?.[1]));
    // What came with the first answer is at hand.
    expect(starts[0]).toBe(1 << 20);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1]);
  });

  test("a dropped whole download is resumed if the server knows ranges, else begun again", async () => {
    serve((q, r, n) => (n === 1 ? whole(r, 1_000_000) : ranged(q, r)));
    expect(same(await (await urlSource(base, quick)).read(0, size))).toBe(true);
    expect(requests[1]).toMatch(/^bytes=[1-9]/);
    serve((_, r, n) => whole(r, n < 3 ? 1_000_000 : undefined));
    expect(same(await (await urlSource(base, quick)).read(0, size))).toBe(true);
    expect(requests.length).toBe(3);
  });

  test("gives up after the retries, with the cause", async () => {
    serve((_, r) => r.destroy());
    await expect(urlSource(base, { ...quick, retries: 2 })).rejects.toThrow(InputError);
    expect(requests.length).toBe(3);
    // Bytes that arrive, but always the same first ones, are not progress for ever.
    serve((_, r) => whole(r, 1000));
    await expect(urlSource(base, { ...quick, retries: 3 })).rejects.toThrow(/download failed/);
    expect(requests.length).toBeLessThan(20);
  });

  test("404 is not retried, 503 is", async () => {
    serve((_, r) => r.writeHead(404).end("no"));
    await expect(urlSource(base, quick)).rejects.toThrow(/404/);
    expect(requests.length).toBe(1);
    serve((q, r, n) => (n < 3 ? r.writeHead(503).end() : ranged(q, r)));
    expect((await urlSource(base, quick)).size).toBe(size);
    expect(requests.length).toBe(3);
  });

  test("a body shorter than announced is an error, a changed file too", async () => {
    serve((_, r) => {
      r.writeHead(200, { "content-length": size });
      r.write(content.subarray(0, 100), () => r.destroy());
    });
    await expect(urlSource(base, { ...quick, retries: 1 })).rejects.toThrow(InputError);
    serve((q, r, n) => {
      if (n === 1) return ranged(q, r);
      r.writeHead(206, { "content-range": `bytes 0-9/${size + 5}` }).end(content.subarray(0, 10));
    });
    const source = await urlSource(base, quick);
    await expect(source.read(2_000_000, 10)).rejects.toThrow(/did the file change/);
  });

  test("a 206 without a usable Content-Range falls back to the whole file", async () => {
    serve((q, r) => {
      if (!q.headers.range) return whole(r);
      r.writeHead(206, { "content-length": 10 }).end(content.subarray(0, 10));
    });
    const source = await urlSource(base, quick);
    expect(same(await source.read(0, size))).toBe(true);
    expect(requests.length).toBe(2);
  });

  test("chunked bodies without a length, and an empty file", async () => {
    serve((_, r) => {
      r.writeHead(200);
      r.write(content.subarray(0, 1000));
      r.end(content.subarray(1000));
    });
    expect(same(await (await urlSource(base, quick)).read(0, size))).toBe(true);
    serve((q, r) => {
      if (q.headers.range) r.writeHead(416, { "content-range": "bytes */0" }).end();
      else r.writeHead(200, { "content-length": 0 }).end();
    });
    expect((await urlSource(base, quick)).size).toBe(0);
  });

  test("a Response is a source", async () => {
    serve((_, r) => whole(r));
    const seen: number[] = [];
    const source = await openSource(await fetch(base), { onProgress: (l) => seen.push(l) });
    expect(same(await source.read(0, size))).toBe(true);
    expect(seen.at(-1)).toBe(size);
    await expect(openSource(new Response("no", { status: 500 }))).rejects.toThrow(/500/);
  });

  test("abort ends a download and a wait for a retry", async () => {
    const stop = new AbortController();
    serve((_, r) => {
      r.writeHead(200, { "content-length": size });
      r.write(content.subarray(0, 1000));
      setTimeout(() => stop.abort(new Error("enough")), 20);
    });
    await expect(urlSource(base, { ...quick, signal: stop.signal })).rejects.toThrow("enough");
    const later = new AbortController();
    serve((_, r) => {
      r.destroy();
      setTimeout(() => later.abort(new Error("later")), 20);
    });
    await expect(urlSource(base, { retryDelay: 60_000, signal: later.signal })).rejects.toThrow("later");
    serve((q, r) => ranged(q, r));
    const source = await urlSource(base, quick);
    await expect(source.read(2_000_000, 5, AbortSignal.abort(new Error("per read")))).rejects.toThrow("per read");
  });
});
