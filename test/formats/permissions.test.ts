/** What a host may forbid, as Deno does without its permissions: sources go on without it, or say that they need it. */
import fs from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { openSource } from "../../src/formats/source.ts";
import { registryOf } from "../../src/formats/sources/npm-registry.ts";
import { openStore, writeJson } from "../../src/formats/sources/store.ts";
import { usualFolder } from "../../src/formats/sources/store-files.ts";
import { isWritten } from "../../src/formats/sources/writer.ts";
import { InputError } from "../../src/index.ts";
import { withoutEnvironment } from "../hosts.ts";
import { bytesOf, send, TestServer } from "./server.ts";

const content = bytesOf(1000);
let server: TestServer;
let folder: string;
beforeAll(async () => {
  server = await TestServer.open();
  server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
  folder = await mkdtemp(join(tmpdir(), "forwardpass-permissions-"));
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test("to read environment variables: those that are set are not there", async () => {
  vi.stubEnv("FORWARDPASS_OFFLINE", "1");
  vi.stubEnv("npm_config_registry", "https://env.example/");
  await withoutEnvironment(async () => {
    const url = `${server.base}/m.bin`;
    for (const cache of [undefined, true, folder])
      for (const input of [url, new Response(content)]) expect((await openSource(input, { cache })).size).toBe(1000);
    expect(await openStore(true)).toBeUndefined();
    expect((await registryOf("a")).url).not.toBe("https://env.example/");
  });
});

test("to write: without a cache in the usual folder, not in one that was asked for", async () => {
  // As Deno's, which asks for a permission outside its promise.
  vi.spyOn(fs.promises, "access").mockReturnValue(new Promise(() => {}));
  const path = join(folder, "writable");
  expect((await openStore(path))!.name).toBe(path);
  expect(await readdir(path)).toEqual([]);
  vi.spyOn(fs.promises, "writeFile").mockRejectedValue(new Error("Requires write access"));
  await expect(openStore(path)).rejects.toThrow(InputError);
  vi.stubEnv("FORWARDPASS_CACHE", "");
  for (const name of ["HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"]) vi.stubEnv(name, folder);
  expect(await openStore(true)).toBeUndefined();
  vi.stubEnv("FORWARDPASS_CACHE", path);
  await expect(openStore(true)).rejects.toThrow(/the cache in .*writable: Requires write access/);
});

test("to write, where there are files already: they are used, and the usual folder's offline", async () => {
  for (const name of ["HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"]) vi.stubEnv(name, join(folder, "filled"));
  vi.stubEnv("FORWARDPASS_CACHE", "");
  const url = `${server.base}/m.bin`;
  await openSource(url, { cache: true });
  const cache = usualFolder()!;
  await writeJson(await openStore(cache), "list.json", [1]);
  const { open } = fs.promises;
  const refused = Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
  vi.spyOn(fs.promises, "writeFile").mockRejectedValue(refused);
  vi.spyOn(fs.promises, "open").mockImplementation(async (path, flags) => {
    if (flags !== "r") throw refused;
    return open(path, flags);
  });
  for (const options of [{ cache }, { cache, offline: true }, { cache: true, offline: true }])
    expect((await openSource(url, options)).size).toBe(1000);
  expect(await openStore(true)).toBeUndefined();
  await expect(openSource(`${server.base}/other.bin`, { cache })).rejects.toThrow(/the cache in .*: EACCES/);
  await expect(openSource(`${server.base}/other.bin`, { cache, offline: true })).rejects.toThrow(/not in the cache/);
  await writeJson(await openStore(cache), "list.json", [1]);
  await expect(writeJson(await openStore(cache), "list.json", [2])).rejects.toThrow(InputError);
  vi.stubEnv("FORWARDPASS_CACHE", cache);
  for (const offline of [true, false]) expect((await openSource(url, { cache: true, offline })).size).toBe(1000);
});

test("to rename onto a file that is there, as workerd does: that one goes first", async () => {
  const rename = fs.promises.rename;
  vi.spyOn(fs.promises, "rename").mockImplementation(async (from, to) => {
    if (fs.existsSync(to)) throw Object.assign(new Error("file already exists"), { code: "EEXIST" });
    await rename(from, to);
  });
  const cache = join(folder, "renamed");
  for (let n = 0; n < 2; n++) expect((await openSource(`${server.base}/m.bin`, { cache })).size).toBe(1000);
  expect(await readdir(cache)).toHaveLength(2);
});

describe("to ask for another program: who writes to a file is dead where the system says so", () => {
  test.each([
    ["ESRCH", false],
    ["EPERM", true],
    [undefined, true],
  ])("%s", (code, written) => {
    vi.spyOn(process, "kill").mockImplementation(() => {
      throw Object.assign(new Error("kill"), { code });
    });
    expect(isWritten("file", { thread: "another", pid: process.pid + 1, began: 0 })).toBe(written);
  });
});
