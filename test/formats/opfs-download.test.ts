/** Downloads that are kept in a page: storage that is full, servers of other origins. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { download } from "../../src/formats/sources/download.ts";
import { openOpfsStore } from "../../src/formats/sources/store-opfs.ts";
import { InputError } from "../../src/index.ts";
import { inPage } from "../hosts.ts";
import { MemoryFolder } from "./opfs.ts";
import { bytesOf, received, send, TestServer } from "./server.ts";

const content = bytesOf(1_000_001);
let server: TestServer;
let url: string;
beforeAll(async () => {
  server = await TestServer.open();
  url = `${server.base}/m.bin`;
});
afterAll(() => server.close());

/** @param origin of the page */
const fetched = (
  folder: MemoryFolder,
  { offline = false, origin = "https://page.example" } = {},
): Promise<Uint8Array> =>
  inPage(async () => {
    vi.stubGlobal("origin", origin);
    const store = await openOpfsStore(folder as never, 200_000);
    const source = await download({ key: url, url }, store, { offline, retryDelay: 1, onProgress: received });
    return source.read(0, source.size);
  });
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

/** That fit before the storage is full, at the folder of all, an entry's, what is in it, a file's folder, what is in it. */
const rooms = [50, 150, 350, 450, 650, 500_000];
test.each(rooms)("storage that is full after %i bytes is told at once, and asks for nothing again", async (room) => {
  let closed = 0;
  server.serve((_, r) => {
    r.writeHead(200, { "content-length": content.length, etag: '"1"' });
    r.write(content.subarray(0, content.length - 1));
    r.on("close", () => closed++);
  });
  const folder = MemoryFolder.of(room);
  const error = await fetched(folder).catch((e) => e);
  expect(error).toBeInstanceOf(InputError);
  expect(error.message).toMatch(/m\.bin.*storage for this site is full.*cache: false/);
  const asked = room > 50 ? 1 : 0;
  expect(server.requests).toHaveLength(asked);
  // The connection is free for others.
  await vi.waitFor(() => expect(closed).toBe(asked), { interval: 5 });
  server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
  folder.quota.left = Infinity;
  expect(same(await fetched(folder), content)).toBe(true);
  expect(server.requests).toHaveLength(1);
  if (room > 400_000) expect(server.requests[0].range).toMatch(/^bytes=[1-9]\d+-$/);
});

test("a kept copy that changed outlasts full storage", async () => {
  server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
  const folder = new MemoryFolder();
  await fetched(folder);
  server.serve((q, r) => send(q, r, content, { etag: '"2"' }));
  for (const room of [50, 1000]) {
    folder.quota.left = room;
    await expect(fetched(folder)).rejects.toThrow(/storage for this site is full.*a copy is in the cache/);
    expect(same(await fetched(folder, { offline: true }), content)).toBe(true);
  }
});

describe("a server of another origin", () => {
  /** Answers to browsers' questions name no headers: none may be sent that browsers ask about. */
  const serve = (bytes: Uint8Array, etag: string | undefined, ranged: boolean, cut?: number): void =>
    server.serve((q, r, n) => {
      if (q.headers["if-none-match"] ?? q.headers["if-modified-since"] ?? q.headers["if-range"]) return r.destroy();
      const { writeHead } = r;
      if (!ranged)
        r.writeHead = ((status: number, { "content-range": _, ...headers }: Record<string, string>) =>
          writeHead.call(r, status, headers)) as never;
      send(q, r, bytes, { etag, cut: n === 1 + Number(!ranged) ? cut : undefined });
    });

  test.each([true, false])("a copy is compared, with Content-Range to be seen: %s", async (ranged) => {
    const folder = new MemoryFolder();
    const requests: number[] = [];
    for (const [bytes, etag] of [
      [content, '"1"'],
      [content, '"1"'],
      [content.slice().reverse(), '"2"'],
      [content, undefined],
    ] as const) {
      serve(bytes, etag, ranged);
      expect(same(await fetched(folder), bytes)).toBe(true);
      requests.push(server.requests.length);
    }
    expect(requests).toEqual(ranged ? [1, 1, 1, 1] : [2, 2, 2, 2]);
  });

  test("a connection that breaks, and hides ranges: it is begun again", async () => {
    serve(content, '"1"', false, 600_000);
    expect(same(await fetched(new MemoryFolder()), content)).toBe(true);
    const ranges = server.requests.map(({ range }) => range);
    expect(ranges).toEqual(["bytes=0-", undefined, expect.stringMatching(/^bytes=[1-9]\d+-$/), undefined]);
  });

  test("the page's own is asked whether it changed", async () => {
    server.serve((q, r) => send(q, r, content, { etag: '"1"' }));
    const folder = new MemoryFolder();
    for (let i = 0; i < 2; i++) expect(same(await fetched(folder, { origin: server.base }), content)).toBe(true);
    expect(server.requests.map(({ headers }) => headers["if-none-match"])).toEqual([undefined, '"1"']);
  });
});
