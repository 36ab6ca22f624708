/** Downloads that are kept: resumed, revalidated, checked, used offline. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openSource, type SourceOptions } from "../../src/formats/source.ts";
import { openStore } from "../../src/formats/sources/store.ts";
import { openOpfsStore } from "../../src/formats/sources/store-opfs.ts";
import { FormatError, InputError, load } from "../../src/index.ts";
import { inPage } from "../hosts.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { MemoryFolder } from "./opfs.ts";
import { bytesOf, received, send, TestServer } from "./server.ts";

const content = bytesOf(3_000_001);
const changed = bytesOf(3_000_001, 40503);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let server: TestServer;
let cache: string;
let quick: SourceOptions;
beforeAll(async () => {
  server = await TestServer.open();
});
afterAll(() => server.close());
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "forwardpass-cache-"));
  quick = { retryDelay: 1, retries: 2, cache, onProgress: received };
  return () => rm(cache, { recursive: true });
});

const whole = async (path: string, options: SourceOptions = {}) => {
  const source = await openSource(path.startsWith("http") ? path : `${server.base}/${path}`, { ...quick, ...options });
  return source.read(0, source.size);
};
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe("kept downloads", () => {
  test("are fetched once, then asked after, then used offline", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const seen: [number, number][] = [];
    expect(same(await whole("m.bin", { onProgress: (l, t) => seen.push([l, t]) }), content)).toBe(true);
    expect(seen.at(-1)).toEqual([content.length, content.length]);
    expect(server.requests).toHaveLength(1);
    expect(same(await whole("m.bin"), content)).toBe(true);
    expect(server.requests).toHaveLength(2);
    expect(server.requests[1].headers["if-none-match"]).toBe('"1"');
    expect(same(await whole("m.bin", { offline: true }), content)).toBe(true);
    expect(server.requests).toHaveLength(2);
    // The cache is files: what the user deletes is fetched again.
    for (const f of await readdir(cache)) await rm(join(cache, f));
    expect(same(await whole("m.bin"), content)).toBe(true);
  });

  test("a file that changed replaces the old one", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    await whole("m.bin");
    server.serve((q, r) => send(q, r, changed, { etag: '"2"' }));
    expect(same(await whole("m.bin"), changed)).toBe(true);
    expect(same(await whole("m.bin", { offline: true }), changed)).toBe(true);
    expect(await readdir(cache)).toHaveLength(2);
  });

  test("without a validator, and without ranges, they are fetched anew", async () => {
    server.serve((q, r) => send(q, r, content, { ranges: false }));
    expect(same(await whole("m.bin"), content)).toBe(true);
    expect(same(await whole("m.bin"), content)).toBe(true);
    expect(server.requests).toHaveLength(2);
    expect(same(await whole("m.bin", { offline: true }), content)).toBe(true);
  });

  test("offline, what is missing is named", async () => {
    const error = await whole("none.bin", { offline: true }).catch((e) => e);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(/none\.bin is not in the cache/);
    process.env["FORWARDPASS_OFFLINE"] = "1";
    try {
      await expect(whole("none.bin")).rejects.toThrow(/not in the cache/);
    } finally {
      delete process.env["FORWARDPASS_OFFLINE"];
    }
    await expect(whole("none.bin", { offline: true, cache: false })).rejects.toThrow(/no cache/);
  });

  test("the folder is that of FORWARDPASS_CACHE; one that can't be written to is told", async () => {
    process.env["FORWARDPASS_CACHE"] = join(cache, "own");
    try {
      server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
      await whole("m.bin", { cache: true });
      expect(await readdir(join(cache, "own"))).toHaveLength(2);
      await writeFile(join(cache, "file"), "");
      await expect(whole("m.bin", { cache: join(cache, "file") })).rejects.toThrow(InputError);
    } finally {
      delete process.env["FORWARDPASS_CACHE"];
    }
  });

  test("an empty file", async () => {
    server.serve((q, r) => send(q, r, new Uint8Array(0), { etag: '"0"' }));
    expect((await whole("empty")).length).toBe(0);
  });

  test("redirects are followed, siblings lie beside the address asked for", async () => {
    server.serve((q, r) => {
      if (q.url === "/a/m.bin") r.writeHead(302, { location: "/elsewhere" }).end();
      else send(q, r, q.url === "/elsewhere" ? content : changed, { etag: `"${q.url}"` });
    });
    const source = await openSource(`${server.base}/a/m.bin`, quick);
    expect(same(await source.read(0, source.size), content)).toBe(true);
    const beside = await source.sibling!("config.json");
    expect(same(await beside.read(0, beside.size), changed)).toBe(true);
    expect(server.requests.at(-1)!.url).toBe("/a/config.json");
    await expect(source.sibling!("../b")).rejects.toThrow(FormatError);
  });

  test("what a page names relative to its own address has files beside it", async () => {
    server.serve((q, r) => send(q, r, q.url === "/site/models/m.bin" ? content : changed, { etag: `"${q.url}"` }));
    await inPage(async () => {
      const source = await openSource("models/m.bin");
      expect(same(await source.read(0, source.size), content)).toBe(true);
      const beside = await source.sibling!("tokenizer.json");
      expect(same(await beside.read(0, beside.size), changed)).toBe(true);
      expect(server.requests.at(-1)!.url).toBe("/site/models/tokenizer.json");
    }, `${server.base}/site/page.html`);
  });

  test("404 and a server that only fails are told, and leave nothing behind", async () => {
    server.serve((_, r) => r.writeHead(404).end());
    await expect(whole("m.bin")).rejects.toThrow(/404/);
    expect(server.requests).toHaveLength(1);
    server.serve((_, r) => r.writeHead(503).end());
    await expect(whole("m.bin")).rejects.toThrow(/503/);
    expect(server.requests).toHaveLength(3);
    expect(await readdir(cache)).toEqual([]);
  });

  test("a server that is not there, or refuses: what is kept is told", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    await whole("m.bin");
    server.serve((_, r) => r.destroy());
    const error = await whole("m.bin").catch((e) => e);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(/download failed: .*; a copy is in the cache: offline: true uses it/);
    server.serve((_, r) => r.writeHead(404).end());
    await expect(whole("m.bin")).rejects.toThrow(/404.*a copy is in the cache/);
    await expect(whole("other.bin")).rejects.toThrow(/^(?!.*a copy)/);
  });

  test("load reads from the cache", async () => {
    server.serve((q, r) => send(q, r, tinyGguf(), { etag: '"1"' }));
    const input = `${server.base}/tiny.gguf`;
    for (const offline of [false, true]) {
      using model = await load(input, { device: "cpu", cache, offline });
      expect(model.inputs[0].name).toBe("tokens");
    }
    expect(server.requests).toHaveLength(1);
  });
});

describe("resuming", () => {
  test("a connection that breaks again and again", async () => {
    server.serve((q, r, n) => send(q, r, content, { etag: '"1"', cut: n < 5 ? 700_000 : undefined }));
    expect(same(await whole("m.bin"), content)).toBe(true);
    const starts = server.requests.map(({ range }) => Number(/=(\d+)/.exec(range!)![1]));
    expect(starts.slice(1).every((s, i) => s > starts[i])).toBe(true);
    expect(server.requests[1].headers["if-range"]).toBe('"1"');
  });

  test("goes on where an earlier attempt gave up", async () => {
    server.serve((q, r, n) => (n === 1 ? send(q, r, content, { etag: '"1"', cut: 1_000_000 }) : r.destroy()));
    await expect(whole("m.bin")).rejects.toThrow(/download failed/);
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const seen: number[] = [];
    expect(same(await whole("m.bin", { onProgress: (l) => seen.push(l) }), content)).toBe(true);
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0].range).toMatch(/^bytes=[1-9]\d+-$/);
    expect(seen[0]).toBeGreaterThan(500_000);
  });

  test("a file that changed meanwhile is begun again", async () => {
    server.serve((q, r, n) => (n === 1 ? send(q, r, content, { etag: '"1"', cut: 1_000_000 }) : r.destroy()));
    await expect(whole("m.bin")).rejects.toThrow(InputError);
    server.serve((q, r) => send(q, r, changed, { etag: '"2"' }));
    expect(same(await whole("m.bin"), changed)).toBe(true);
    expect(server.requests).toHaveLength(1);
    expect(await readdir(cache)).toHaveLength(2);
  });

  test("a server that ignores If-Range, and one without ranges", async () => {
    server.serve((q, r, n) => (n === 1 ? send(q, r, content, { etag: '"1"', cut: 1_000_000 }) : r.destroy()));
    await expect(whole("m.bin")).rejects.toThrow(InputError);
    server.serve((q, r) => {
      delete q.headers["if-range"];
      send(q, r, changed, { etag: '"2"' });
    });
    expect(same(await whole("m.bin"), changed)).toBe(true);
    server.serve((q, r, n) => send(q, r, content, { etag: '"3"', ranges: false, cut: n < 3 ? 1_000_000 : undefined }));
    expect(same(await whole("m.bin"), content)).toBe(true);
  });

  test("goes on where a program was killed, not where another one is at work", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"', cut: 1_000_000 }));
    const open = (name: string) => `openSource("${server.base}/${name}", { cache: ${JSON.stringify(cache)} })`;
    const code = `import { openSource } from "./src/formats/source.ts";
      await Promise.all([${open("m.bin")}, ${open("n.bin")}]);`;
    const options = ["--import", "tsx", "--input-type=module", "-e", code];
    const program = spawn(process.execPath, options, { stdio: "ignore" });
    const ended = new Promise((resolve) => program.once("exit", resolve));
    const sizes = async () => Promise.all((await readdir(cache)).map(async (f) => (await stat(join(cache, f))).size));
    while ((await sizes().catch(() => [])).filter((size) => size === 1_000_000).length < 2)
      await new Promise((resolve) => setTimeout(resolve, 20));
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    // Breaks no connection of the program's.
    const quiet = { onProgress: undefined };
    expect(same(await whole("m.bin", quiet), content)).toBe(true);
    program.kill("SIGKILL");
    await ended;
    expect(same(await whole("n.bin", quiet), content)).toBe(true);
    expect(server.requests.map(({ range }) => range)).toEqual(["bytes=0-", "bytes=1000000-"]);
  });

  test("a partial file that is whole already", async () => {
    server.serve((q, r, n) => {
      if (n === 1) send(q, r, content, { etag: '"1"', cut: content.length - 1 });
      else r.destroy();
    });
    await expect(whole("m.bin")).rejects.toThrow(InputError);
    const [name] = (await readdir(cache)).filter((f) => !f.endsWith(".json"));
    await writeFile(join(cache, name), content);
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    expect(same(await whole("m.bin"), content)).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  test("an abort keeps what came, and is told as what it is", async () => {
    const stop = new AbortController();
    server.serve((_, r) => {
      r.writeHead(200, { "content-length": content.length, etag: '"1"' });
      r.write(content.subarray(0, 1_000_000));
    });
    const onProgress = (loaded: number) => loaded >= 1_000_000 && stop.abort(new Error("enough"));
    await expect(whole("m.bin", { signal: stop.signal, onProgress })).rejects.toThrow("enough");
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    expect(same(await whole("m.bin"), content)).toBe(true);
    expect(server.requests[0].range).toBe("bytes=1000000-");
  });
});

describe("at the same time", () => {
  /** Sends a little at a time, so that requests overlap. */
  const slowly = (bytes: Uint8Array, etag: string | undefined): void =>
    server.serve((q, r) => {
      const start = Number(/=(\d+)/.exec(q.headers.range ?? "=0")![1]);
      if (etag && q.headers["if-none-match"] === etag) return r.writeHead(304).end();
      if (start >= bytes.length) return r.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
      const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
      r.writeHead(206, { ...(etag && { etag }), "content-length": bytes.length - start, "content-range": range });
      let at = start;
      const timer = setInterval(() => {
        if (at < bytes.length) r.write(bytes.subarray(at, (at += 200_000)));
        else r.end(() => clearInterval(timer));
      }, 3);
    });
  const soon = (ms = 15) => new Promise((resolve) => setTimeout(resolve, ms));

  test("one downloads, the others wait and find it", async () => {
    slowly(content, '"1"');
    const all: Promise<Uint8Array>[] = [];
    for (let i = 0; i < 4; i++, await soon()) all.push(whole("m.bin", { sha256: sha256(content) }));
    for (const bytes of await Promise.all(all)) expect(same(bytes, content)).toBe(true);
    expect(server.requests.map(({ headers }) => headers["if-none-match"])).toEqual([undefined, '"1"', '"1"', '"1"']);
    expect(await readdir(cache)).toHaveLength(2);
  });

  test("who is aborted holds nobody up, whether at work or waiting", async () => {
    // The first never has all of it, however busy the machine is.
    server.serve((q, r, n) => {
      if (n > 1) return send(q, r, content, { etag: '"1"' });
      r.writeHead(200, { etag: '"1"', "content-length": content.length });
      r.write(content.subarray(0, 200_000));
    });
    const [first, second] = [new AbortController(), new AbortController()];
    const all = [whole("m.bin", { signal: first.signal })];
    await vi.waitFor(() => expect(server.requests).toHaveLength(1), { interval: 1 });
    all.push(whole("m.bin", { signal: second.signal }), whole("m.bin"));
    const results = Promise.allSettled(all);
    await soon();
    second.abort(new Error("second"));
    await expect(all[1]).rejects.toThrow("second");
    first.abort(new Error("first"));
    const [one, , three] = await results;
    expect(one).toMatchObject({ status: "rejected", reason: { message: "first" } });
    expect(same((three as PromiseFulfilledResult<Uint8Array>).value, content)).toBe(true);
    expect(server.requests).toHaveLength(2);
  });

  // To this one, folders of different names are different caches: as if they were of different programs.
  test.each(['"1"', undefined])("programs that share a folder, with the validator %s", async (etag) => {
    slowly(content, etag);
    const all: Promise<Uint8Array>[] = [];
    for (const end of ["", "/.", "/./.", "/././."]) {
      all.push(whole("m.bin", { cache: cache + end }));
      await soon();
    }
    for (const bytes of await Promise.all(all)) expect(same(bytes, content)).toBe(true);
    expect(same(await whole("m.bin", { offline: true }), content)).toBe(true);
    expect((await readdir(cache)).filter((f) => f.endsWith(".json"))).toHaveLength(1);
  });

  test("a kept copy that is replaced is whole for who read it before", async () => {
    slowly(content, '"1"');
    await whole("m.bin");
    slowly(changed, '"2"');
    const [one, two] = [whole("m.bin"), whole("m.bin", { offline: true })];
    expect(same(await two, content)).toBe(true);
    expect(same(await one, changed)).toBe(true);
    expect(await readdir(cache)).toHaveLength(2);
  });
});

describe("checksums", () => {
  test("right ones pass, wrong ones are FormatErrors and keep nothing", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const right = sha256(content);
    expect(same(await whole("m.bin", { sha256: right.toUpperCase() }), content)).toBe(true);
    expect(same(await whole("m.bin", { sha256: right, offline: true }), content)).toBe(true);
    const error = await whole("other.bin", { sha256: sha256(changed) }).catch((e) => e);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain(right);
    expect(await readdir(cache)).toHaveLength(2);
  });

  test("a kept file that was damaged is fetched again", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    await whole("m.bin");
    const [name] = (await readdir(cache)).filter((f) => !f.endsWith(".json"));
    await writeFile(join(cache, name), changed);
    expect(same(await whole("m.bin", { sha256: sha256(content) }), content)).toBe(true);
  });

  test("a kept file of the same or another size than it had", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const right = sha256(content);
    await whole("m.bin", { sha256: right });
    const kept = async (): Promise<string> => join(cache, (await readdir(cache)).find((f) => !f.endsWith(".json"))!);
    // What was right when it came may not be now.
    await writeFile(await kept(), changed);
    await expect(whole("m.bin", { sha256: right, offline: true })).rejects.toThrow(FormatError);
    expect(same(await whole("m.bin", { sha256: right }), content)).toBe(true);
    for (const size of [0, 400_000]) {
      await writeFile(await kept(), content.subarray(0, size));
      await expect(whole("m.bin", { offline: true })).rejects.toThrow(/not in the cache/);
      expect(same(await whole("m.bin"), content)).toBe(true);
    }
    // A wrong checksum costs the copy that is there nothing.
    await expect(whole("m.bin", { sha256: sha256(changed) })).rejects.toThrow(FormatError);
    expect(same(await whole("m.bin", { offline: true }), content)).toBe(true);
    expect(await readdir(cache)).toHaveLength(2);
  });

  test("what is no checksum is told before anything is asked for", async () => {
    server.serve((q, r) => send(q, r, content));
    for (const wrong of ["", "abc", "g".repeat(64), 5 as unknown as string])
      for (const input of [`${server.base}/m.bin`, "npm:a@1.0.0", "hf:a/b", content]) {
        const error = await openSource(input, { ...quick, sha256: wrong }).catch((e) => e);
        expect(error).toBeInstanceOf(InputError);
        expect(error.message).toMatch(/sha256 takes 64 hexadecimal digits/);
      }
    expect(server.requests).toHaveLength(0);
  });

  test("without a cache, of files, of bytes", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const path = join(cache, "file");
    await writeFile(path, content);
    for (const input of [`${server.base}/m.bin`, path, content, new Blob([content])]) {
      const source = await openSource(input, { sha256: sha256(content), cache: false });
      expect(same(await source.read(0, source.size), content)).toBe(true);
      await expect(openSource(input, { sha256: sha256(changed) })).rejects.toThrow(FormatError);
    }
  });
});

describe("stores", () => {
  test.each([
    [
      "storage is refused, as in private windows",
      { createWritable() {} },
      () => Promise.reject(new DOMException("", "SecurityError")),
    ],
    ["files cannot be written", {}, async () => new MemoryFolder()],
  ])("in pages, nothing is kept where %s", async (_, handle, getDirectory) => {
    vi.stubGlobal("process", undefined);
    vi.stubGlobal("navigator", { storage: { getDirectory } });
    vi.stubGlobal("FileSystemFileHandle", { prototype: handle });
    try {
      expect(await openStore(true)).toBeUndefined();
    } finally {
      vi.unstubAllGlobals();
    }
  });

  const stores = { files: () => openStore(cache), opfs: () => openOpfsStore(new MemoryFolder() as never, 1000) };
  for (const [kind, open] of Object.entries(stores))
    test(`${kind}: files are written on, begun anew, removed`, async () => {
      const store = (await open())!;
      expect(await store.open("a/b@1:c")).toBeUndefined();
      await store.remove("a/b@1:c");
      const put = async (at: number, bytes: Uint8Array) => {
        const writer = await store.write("a/b@1:c", at);
        for (let i = 0; i < bytes.length; i += 300) await writer.write(bytes.subarray(i, i + 300));
        await writer.close();
      };
      const get = async () => {
        const source = (await store.open("a/b@1:c"))!;
        return source.read(0, source.size);
      };
      await put(0, content.subarray(0, 2500));
      await put(2500, content.subarray(2500, 4000));
      expect(same(await get(), content.subarray(0, 4000))).toBe(true);
      expect(same(await (await store.open("a/b@1:c"))!.read(999, 1200), content.subarray(999, 2199))).toBe(true);
      await put(0, changed.subarray(0, 100));
      expect(same(await get(), changed.subarray(0, 100))).toBe(true);
      expect(await store.endings("a/b@1:")).toEqual(["c"]);
      expect(await store.endings("a/c")).toEqual([]);
      await store.remove("a/b@1:c");
      expect(await store.open("a/b@1:c")).toBeUndefined();
    });
});
