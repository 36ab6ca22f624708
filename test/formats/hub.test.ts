/** `hf:org/name`: through `@huggingface/hub`, against a server here that answers as the hub does. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ModelFolder } from "../../src/formats/folder.ts";
import { type FetchOptions, openSource, type SourceOptions } from "../../src/formats/source.ts";
import { FormatError, InputError, load } from "../../src/index.ts";
import { embeddings } from "../../src/tasks/index.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { bytesOf, received, send, TestServer } from "./server.ts";

const model = tinyGguf();
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let server: TestServer;
let cache: string;
let options: FetchOptions;
beforeAll(async () => {
  server = await TestServer.open();
});
afterAll(() => server.close());
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "forwardpass-hf-"));
  options = { cache, hubUrl: server.base, retryDelay: 1, retries: 2 };
  return () => rm(cache, { recursive: true });
});

interface Hub {
  files: Record<string, { bytes: Uint8Array; etag?: string }>;
  token?: string;
  revision?: string;
  cut?: (n: number) => number | undefined;
}

function serve({ files, token, revision = "main", cut }: Hub): void {
  server.serve((q, r, n) => {
    if (token && q.headers.authorization !== `Bearer ${token}`) return r.writeHead(401).end("{}");
    const escaped = encodeURIComponent(revision);
    if (q.url!.startsWith(`/api/models/org/tiny/tree/${escaped}?recursive=true`)) {
      const list = Object.entries(files).map(([path, f]) => ({ type: "file", path, size: f.bytes.length, oid: "0" }));
      r.writeHead(200, { "content-type": "application/json" });
      return r.end(JSON.stringify([{ type: "directory", path: "onnx", size: 0, oid: "0" }, ...list]));
    }
    const file = files[decodeURIComponent(q.url!.replace(`/org/tiny/resolve/${escaped}/`, ""))];
    if (!file) return r.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
    const etag = `"${file.etag ?? sha256(file.bytes)}"`;
    return send(q, r, file.bytes, { etag, cut: cut?.(n) });
  });
}
const read = async (spec: string, more: SourceOptions = {}) => {
  const source = await openSource(spec, { ...options, onProgress: received, ...more });
  return Buffer.from(await source.read(0, source.size)).toString("latin1");
};
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

test("a repository stands for the model in it; its files lie beside", async () => {
  serve({ files: { "model.gguf": { bytes: model }, "config.json": { bytes: bytesOf(50) } } });
  using loaded = await load("hf:org/tiny", { ...options, device: "cpu" });
  expect(loaded.inputs[0].name).toBe("tokens");
  const source = await openSource("hf:org/tiny/model.gguf", options);
  expect(source.name).toBe("hf:org/tiny/model.gguf");
  expect((await source.sibling!("config.json")).size).toBe(50);
  await expect(source.sibling!("none.json")).rejects.toThrow(/no such file/);
});

test("kept files are not fetched again, and serve offline", async () => {
  serve({ files: { "model.gguf": { bytes: model } } });
  expect(await read("hf:org/tiny")).toBe(text(model));
  const fetched = () => server.requests.filter((q) => q.url.includes("resolve") && q.range !== "bytes=0-0").length;
  expect(fetched()).toBe(1);
  expect(await read("hf:org/tiny")).toBe(text(model));
  expect(fetched()).toBe(1);
  server.serve((_, r) => r.destroy());
  expect(await read("hf:org/tiny", { offline: true })).toBe(text(model));
  expect(server.requests).toHaveLength(0);
  await expect(read("hf:org/tiny/config.json", { offline: true })).rejects.toThrow(/config\.json is not in the cache/);
  await expect(read("hf:org/other", { offline: true })).rejects.toThrow(/hf:org\/other is not in the cache/);
});

test("names that mean something else in addresses are files' own, and lead to no other folder", async () => {
  const names = ["a#b.bin", "a?b.bin", "a%20b.bin", "50% off.bin", "ü ñ.bin", "b/c#d.bin"];
  const secret = "/org/other/resolve/main/secret.bin";
  serve({ files: Object.fromEntries([...names, secret].map((name, i) => [name, { bytes: bytesOf(100 + i) }])) });
  for (const [i, name] of names.entries())
    for (const store of [cache, false]) {
      const source = await openSource(`hf:org/tiny/${name}`, { ...options, cache: store });
      expect([source.name, source.size]).toEqual([`hf:org/tiny/${name}`, 100 + i]);
      const escaping = source.sibling!("%2e%2e/%2e%2e/%2e%2e/other/resolve/main/secret.bin");
      await expect(escaping).rejects.toThrow(/there is no such file/);
    }
  expect(server.requests.filter((q) => !q.url.startsWith("/org/tiny/resolve/main/"))).toEqual([]);
});

test("a slash at the end of the hub's address, and one in a revision", async () => {
  serve({ files: { "model.gguf": { bytes: model } }, revision: "refs/pr/1" });
  expect(await read("hf:org/tiny@refs%2Fpr%2F1", { hubUrl: `${server.base}/` })).toBe(text(model));
});

test("revisions, broken connections, no cache", async () => {
  const files = { "a.bin": { bytes: bytesOf(100_000), etag: "not a checksum" } };
  serve({ files, revision: "v2", cut: (n) => (n === 2 ? 5000 : undefined) });
  expect(await read("hf:org/tiny@v2/a.bin")).toBe(text(files["a.bin"].bytes));
  expect(server.requests[2].range).toMatch(/^bytes=[1-9]/);
  serve({ files });
  expect(await read("hf:org/tiny/a.bin", { cache: false })).toBe(text(files["a.bin"].bytes));
});

test("content that is not what the hub says", async () => {
  serve({ files: { "a.bin": { bytes: bytesOf(1000), etag: "0".repeat(64) } } });
  await expect(read("hf:org/tiny/a.bin")).rejects.toThrow(FormatError);
});

test("the caller's checksum is that of the file asked for, with a cache and without", async () => {
  const files = {
    "model.gguf": { bytes: model },
    "small.bin": { bytes: bytesOf(1000), etag: "of git" },
    "config.json": { bytes: bytesOf(50), etag: "of git too" },
  };
  serve({ files });
  const wrong = "0".repeat(64);
  for (const store of [cache, false]) {
    const given = { ...options, cache: store };
    for (const [spec, bytes] of [
      ["hf:org/tiny", model],
      ["hf:org/tiny/small.bin", files["small.bin"].bytes],
    ] as const) {
      await expect(openSource(spec, { ...given, sha256: wrong })).rejects.toThrow(FormatError);
      const source = await openSource(spec, { ...given, sha256: sha256(bytes).toUpperCase() });
      expect(text(await source.read(0, source.size))).toBe(text(bytes));
      expect((await source.sibling!("config.json")).size).toBe(50);
    }
  }
  await expect(read("hf:org/tiny/small.bin", { offline: true, sha256: wrong })).rejects.toThrow(FormatError);
  expect((await read("hf:org/tiny/small.bin", { offline: true })).length).toBe(1000);
});

test("a repository's checksum is that of the file that is the model, for tasks too", async () => {
  const graph = bytesOf(100);
  serve({ files: { "config.json": { bytes: new TextEncoder().encode("{}") }, "onnx/model.onnx": { bytes: graph } } });
  for (const store of [cache, false]) {
    const open = (sum: string) => ModelFolder.openModel("hf:org/tiny", { ...options, cache: store, sha256: sum });
    expect((await (await open(sha256(graph))).onlyGraph())?.name).toBe("hf:org/tiny/onnx/model.onnx");
    await expect((await open("0".repeat(64))).onlyGraph()).rejects.toThrow(/model\.onnx: its SHA-256 is/);
  }
});

test("a hub that can't be reached: what is kept is told", async () => {
  serve({ files: { "model.gguf": { bytes: model } } });
  await read("hf:org/tiny");
  server.serve((_, r) => r.destroy());
  for (const spec of ["hf:org/tiny", "hf:org/tiny/model.gguf"])
    await expect(read(spec)).rejects.toThrow(/a copy is in the cache: offline: true uses it/);
  await expect(read("hf:org/tiny/other.gguf")).rejects.toThrow(/^(?!.*a copy)/);
});

test("tokens, and repositories that want one", async () => {
  const token = "hf_test";
  serve({ files: { "a.bin": { bytes: bytesOf(1000) } }, token });
  const error = await read("hf:org/tiny/a.bin").catch((e) => e);
  expect(error).toBeInstanceOf(InputError);
  expect(error.message).toMatch(/token/);
  expect((await read("hf:org/tiny/a.bin", { token })).length).toBe(1000);
});

test("specs that are none, and an abort", async () => {
  serve({ files: {} });
  for (const spec of [
    "hf:",
    "hf:/",
    "hf:name",
    "hf:name/",
    "hf:/org/tiny",
    "hf:org/na me",
    "hf:org/name@%zz",
    "hf:org/name@\ud800",
  ]) {
    await expect(read(spec)).rejects.toThrow(InputError);
    await expect(embeddings(spec, options)).rejects.toThrow(/expected hf:org\/name/);
  }
  expect(server.requests).toHaveLength(0);
  await expect(read("hf:org/tiny", { signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow("stop");
});
