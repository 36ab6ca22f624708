/** Requests that are tried again, and those that are not. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openSource, type SourceInput, type SourceOptions } from "../../src/formats/source.ts";
import { InputError } from "../../src/index.ts";
import { bytesOf, received, send, TestServer } from "./server.ts";

const content = bytesOf(3_000_001);
let server: TestServer;
let cache: string;
beforeAll(async () => {
  server = await TestServer.open();
});
afterAll(() => server.close());
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "forwardpass-http-"));
  return () => rm(cache, { recursive: true });
});
const whole = async (input: SourceInput, options: SourceOptions = {}) => {
  const source = await openSource(input, { retryDelay: 1, retries: 2, onProgress: received, ...options });
  return source.read(0, source.size);
};
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const failure = async (input: SourceInput, options?: SourceOptions): Promise<InputError> => {
  const error = await whole(input, options).catch((e) => e);
  expect(error).toBeInstanceOf(InputError);
  return error;
};
/** With a cache and without. */
const both = (): SourceOptions[] => [{ cache }, {}];

describe("tries", () => {
  test("end when a server without ranges breaks at varying places", async () => {
    const cuts = [1_000_000, 300_000, 900_000];
    for (const options of both()) {
      server.serve((q, r, n) => send(q, r, content, { ranges: false, cut: cuts[n % cuts.length] }));
      expect((await failure(`${server.base}/m.bin`, options)).message).toMatch(/download failed/);
      expect(server.requests.length).toBeLessThan(12);
    }
  });

  test("wait as long as a server says, in seconds or until a date", async () => {
    for (const [status, after] of [
      [429, () => "1"],
      [503, () => new Date(Date.now() + 2000).toUTCString()],
    ] as const) {
      server.serve((q, r, n) =>
        n === 1 ? r.writeHead(status, { "retry-after": after() }).end() : send(q, r, content),
      );
      const start = performance.now();
      expect(same(await whole(`${server.base}/m.bin`), content)).toBe(true);
      expect(performance.now() - start).toBeGreaterThan(900);
    }
    server.serve((_, r) => r.writeHead(429, { "retry-after": "3600" }).end());
    const signal = AbortSignal.timeout(50);
    const error = await whole(`${server.base}/m.bin`, { signal }).catch((e) => e);
    expect(error).toBe(signal.reason);
    server.serve((q, r, n) => (n === 1 ? r.writeHead(503, { "retry-after": "soon" }).end() : send(q, r, content)));
    expect(same(await whole(`${server.base}/m.bin`), content)).toBe(true);
  });

  test("a range that broke after its last byte is whole", async () => {
    server.serve((q, r, n) => {
      if (n !== 2) return send(q, r, content);
      // The length promises one byte more.
      const [, from, to] = /=(\d+)-(\d+)/.exec(q.headers.range!)!.map(Number);
      r.writeHead(206, { "content-range": `bytes ${from}-${to}/${content.length}`, "content-length": to - from + 2 });
      r.write(content.subarray(from, to + 1));
      setTimeout(() => r.destroy(), 50);
    });
    const source = await openSource(`${server.base}/m.bin`, { retryDelay: 1 });
    expect(same(await source.read(1_500_000, 1_400_000), content.subarray(1_500_000, 2_900_000))).toBe(true);
    expect(server.requests).toHaveLength(2);
  });

  test("are not made of what no try changes", async () => {
    const never = { retryDelay: 100_000 };
    for (const url of [
      "http://[",
      "http://a:b/x",
      "http://a:b@host/x",
      "htp://host/x",
      "blob:nodedata:none",
      "data:nothing",
    ])
      for (const options of both()) await failure(url, { ...options, ...never });
    server.serve((q, r) => send(q, r, content));
    for (const options of [
      { fetch: 5 },
      { onProgress: 5 },
      { retries: "x" },
      { retries: Number.NaN },
      { retryDelay: -1 },
      { headers: { "not a name": "x" } },
    ] as unknown as SourceOptions[])
      for (const more of both()) await failure(`${server.base}/m.bin`, { ...more, ...never, ...options });
    expect(server.requests).toHaveLength(0);
  });
});

describe("a server that", () => {
  test("refuses every range is asked without one", async () => {
    for (const options of both()) {
      server.serve((q, r) => (q.headers.range ? r.writeHead(416).end() : send(q, r, content)));
      expect(same(await whole(`${server.base}/m.bin`, options), content)).toBe(true);
      expect(server.requests).toHaveLength(2);
      server.serve((_, r) => r.writeHead(416).end());
      expect((await failure(`${server.base}/n.bin`, options)).message).toMatch(/HTTP 416/);
      expect(server.requests).toHaveLength(2);
    }
  });

  test.each([false, true])("sends a file compressed, whatever it is asked for: to Deno %s", async (deno) => {
    const zipped = gzipSync(content.subarray(0, 100_000));
    server.serve((_, r) =>
      r.writeHead(200, { "content-encoding": "gzip", "content-length": zipped.length }).end(zipped),
    );
    // Deno decodes nothing that it asked a range of.
    const asDeno: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!new Headers(init?.headers).has("range")) return response;
      await response.body?.cancel();
      return new Response(zipped, response);
    };
    if (deno) vi.stubGlobal("Deno", {});
    try {
      for (const options of both()) {
        const got = await whole(`${server.base}/m.bin`, deno ? { ...options, fetch: asDeno } : options);
        expect(same(got, content.subarray(0, 100_000))).toBe(true);
      }
      expect(server.requests).toHaveLength(deno ? 4 : 2);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test("sends ranges of the compressed file is told by name", async () => {
    for (const options of both()) {
      server.serve((q, r) => {
        r.setHeader("content-encoding", "gzip");
        send(q, r, gzipSync(content));
      });
      expect((await failure(`${server.base}/m.bin`, options)).message).toMatch(/in gzip \(content-encoding\)/);
      expect(server.requests).toHaveLength(1);
      // What is no coding is none.
      server.serve((q, r) => {
        r.setHeader("content-encoding", "aws-chunked");
        send(q, r, content);
      });
      expect(same(await whole(`${server.base}/n.bin`, options), content)).toBe(true);
    }
  });
});

describe("onProgress", () => {
  test("what it throws comes through as it is, at once", async () => {
    const error = new TypeError("the caller's own");
    const onProgress = () => {
      throw error;
    };
    for (const options of both())
      for (const ranges of [true, false]) {
        server.serve((q, r) => send(q, r, content, { ranges, etag: '"1"' }));
        await expect(whole(`${server.base}/${ranges}`, { ...options, onProgress })).rejects.toBe(error);
        expect(server.requests).toHaveLength(1);
      }
    let calls = 0;
    const later = () => {
      if (calls++ > 3) throw error;
    };
    await expect(whole(`${server.base}/m.bin`, { onProgress: later })).rejects.toBe(error);
    // What came before stays.
    expect(same(await whole(`${server.base}/true`, { cache }), content)).toBe(true);
    expect((await readdir(cache)).length).toBeGreaterThan(1);
  });
});

describe("a file that holds tensors kind by kind, read layer by layer", () => {
  const layers = 3;
  const each = 400_000;

  /** Reads all of it, and compares what is said to have come with what was sent of it, however often. */
  const read = async (kinds: number) => {
    const file = bytesOf(layers * kinds * each);
    const was = new Uint8Array(file.length);
    let [sent, different] = [0, 0];
    server.serve((q, r) => {
      send(q, r, file);
      const [, from, to] = /=(\d+)-(\d+)/.exec(q.headers.range!)!.map(Number);
      const range = was.subarray(from, to + 1);
      sent += range.length;
      different += range.length - range.reduce((sum, known) => sum + known, 0);
      range.fill(1);
    });
    let loaded = 0;
    const onProgress = (l: number, total: number): void => {
      expect(l).toBeGreaterThanOrEqual(loaded);
      expect(total).toBe(file.length);
      loaded = l;
    };
    const source = await openSource(`${server.base}/m.bin`, { onProgress });
    for (let layer = 0; layer < layers; layer++)
      for (let kind = 0; kind < kinds; kind++) {
        const at = (kind * layers + layer) * each;
        expect(same(await source.read(at, each), file.subarray(at, at + each))).toBe(true);
        expect(loaded).toBe(different);
      }
    expect(loaded).toBe(file.length);
    return sent / file.length;
  };

  test("is fetched once", async () => {
    expect(await read(7)).toBe(1);
    expect(server.requests.length).toBeLessThan(16);
  });

  test("is loaded when all of it has come, not when as much has come twice", async () => {
    expect(await read(14)).toBeGreaterThan(1.5);
  });
});

describe("what is on no network", () => {
  test("blob and data URLs are read whole", async () => {
    const url = URL.createObjectURL(new Blob([content]));
    expect(same(await whole(url), content)).toBe(true);
    URL.revokeObjectURL(url);
    const data = `data:application/octet-stream;base64,${Buffer.from(content).toString("base64")}`;
    expect(same(await whole(data), content)).toBe(true);
  });

  test("a Response that was read, and one whose stream fails", async () => {
    const never = { retryDelay: 100_000 };
    const used = new Response(content);
    await used.arrayBuffer();
    expect((await failure(used, never)).message).toMatch(/was read already/);
    server.serve((q, r) => send(q, r, content));
    const fetched = await fetch(`${server.base}/m.bin`);
    fetched.body!.getReader();
    expect((await failure(fetched, never)).message).toMatch(/was read already/);
    expect(server.requests).toHaveLength(1);
    const stream = new ReadableStream({
      start(c) {
        c.enqueue(content.slice(0, 1000));
        c.error(new Error("disk on fire"));
      },
    });
    expect((await failure(new Response(stream), never)).message).toMatch(/disk on fire/);
  });
});
