/** What programs leave of a download that end before it does. */
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSource } from "../../src/formats/source.ts";
import { download } from "../../src/formats/sources/download.ts";
import { openOpfsStore } from "../../src/formats/sources/store-opfs.ts";
import { writing } from "../../src/formats/sources/writer.ts";
import { inPage } from "../hosts.ts";
import { MemoryFolder } from "./opfs.ts";
import { bytesOf, received, send, TestServer } from "./server.ts";

const content = bytesOf(300_000);
let server: TestServer;
let folder: string;
beforeAll(async () => {
  server = await TestServer.open();
  folder = await mkdtemp(join(tmpdir(), "forwardpass-parts-"));
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/** Three downloads that hang, by other names of the folder, as if by three programs. */
async function beginThree(cache: string, etag: string | undefined) {
  const end = new AbortController();
  const load = (n: number, signal?: AbortSignal) =>
    openSource(`${server.base}/m.bin`, { cache: cache + "/.".repeat(n), retries: 0, signal });
  const sizes = async () => Promise.all((await readdir(cache)).map(async (f) => (await stat(join(cache, f))).size));
  const begun: Promise<unknown>[] = [];
  for (const cut of [100_000, 200_000, 50_000]) {
    server.serve((q, r) => send(q, r, content, { etag, cut }));
    begun.push(load(begun.length, end.signal));
    while (!(await sizes().catch(() => [] as number[])).includes(cut)) await new Promise((next) => setTimeout(next, 5));
  }
  const ended = Promise.allSettled(begun);
  expect(await sizes()).toHaveLength(4);
  server.serve((q, r) => send(q, r, content, { etag }));
  const abort = async () => {
    end.abort();
    await ended;
  };
  return { abort, sizes, load: () => load(3) };
}

describe.each(['"1"', undefined])("of three programs, with the validator %s", (etag) => {
  test("that were killed: the longest is gone on with, the others are removed", async () => {
    const { abort, sizes, load } = await beginThree(join(folder, `killed ${etag}`), etag);
    writing.clear();
    const source = await load();
    expect(Buffer.compare(await source.read(0, source.size), content)).toBe(0);
    expect(server.requests.map(({ range }) => range)).toEqual([etag ? "bytes=200000-" : "bytes=0-"]);
    expect(await sizes()).toHaveLength(2);
    await abort();
    expect(await sizes()).toHaveLength(2);
    expect((await load()).size).toBe(content.length);
  });

  test("that are at work: theirs stay until they end", async () => {
    const { abort, sizes, load } = await beginThree(join(folder, `at work ${etag}`), etag);
    await load();
    expect(server.requests.map(({ range }) => range)).toEqual(["bytes=0-"]);
    expect(await sizes()).toHaveLength(5);
    await abort();
    expect((await load()).size).toBe(content.length);
    expect(await sizes()).toHaveLength(2);
  });
});

test("in a page: what it left is gone on with under its name", async () => {
  const store = await openOpfsStore(new MemoryFolder() as never);
  const load = () =>
    download({ key: "m.bin", url: `${server.base}/m.bin` }, store, { retries: 0, onProgress: received });
  await inPage(async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"', cut: 100_000 }));
    await expect(load()).rejects.toThrow(/download failed/);
    const names = [...(await store.endings(""))].sort();
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const source = await load();
    expect(Buffer.compare(await source.read(0, source.size), content)).toBe(0);
    expect(server.requests.map(({ range }) => range)).toEqual(["bytes=100000-"]);
    expect([...(await store.endings(""))].sort()).toEqual(names);
  });
});
