/** Downloads whose entry in the cache is damaged: nothing is left behind that nobody would find again. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { download } from "../../src/formats/sources/download.ts";
import { openStore, type Store } from "../../src/formats/sources/store.ts";
import { openOpfsStore } from "../../src/formats/sources/store-opfs.ts";
import { MemoryFolder } from "./opfs.ts";
import { bytesOf, send, TestServer } from "./server.ts";

const content = bytesOf(300_000);
let server: TestServer;
let cache: string;
beforeAll(async () => {
  server = await TestServer.open();
  server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
  cache = await mkdtemp(join(tmpdir(), "forwardpass-damaged-"));
  return () => rm(cache, { recursive: true });
});
afterAll(() => server.close());

const fetched = async (store: Store, name: string): Promise<void> => {
  const url = `${server.base}/${name}`;
  const source = await download({ key: url, url }, store, {});
  expect(Buffer.compare(await source.read(0, source.size), content)).toBe(0);
};

test("files: the copy goes with it, those of others stay", async () => {
  const store = (await openStore(cache))!;
  for (const name of ["m.bin", "m.bin.bin", "folder/"]) await fetched(store, name);
  const before = (await readdir(cache, { recursive: true })).sort();
  const entries = before.filter((f) => f.endsWith(".json"));
  expect([before.length, entries.length]).toEqual([7, 3]);
  for (const text of ["{garbage", ""]) {
    for (const entry of entries) await writeFile(join(cache, entry), text);
    for (const name of ["m.bin", "m.bin.bin", "folder/"]) await fetched(store, name);
    const after = (await readdir(cache, { recursive: true })).sort();
    expect(after.filter((f) => f.endsWith(".json"))).toEqual(entries);
    expect(after).toHaveLength(7);
    // Each has come anew.
    expect(after.filter((f) => before.includes(f))).toHaveLength(4);
  }
});

test("OPFS: also where the entry is gone", async () => {
  const root = new MemoryFolder();
  const store = await openOpfsStore(root as never);
  const names = async () => store.endings("");
  await fetched(store, "m.bin");
  const entry = (await names()).find((f) => f.endsWith(".json"))!;
  for (const damage of [() => store.remove(entry), async () => (await store.write(entry, 0)).close()]) {
    await damage();
    await fetched(store, "m.bin");
    expect(await names()).toHaveLength(2);
  }
});
