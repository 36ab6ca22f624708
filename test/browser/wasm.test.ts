/** The wasm backend in a real browser: in the page and in workers, with threads where memory can be shared. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readManifest } from "../conformance/harness.ts";
import { send, TestServer } from "../formats/server.ts";
import { startBrowser, type TestBrowser, type TestPage, type Where } from "./browser.ts";

let browser: TestBrowser;
let isolated: TestPage;
let plain: TestPage;

beforeAll(async () => {
  browser = await startBrowser();
  isolated = await browser.open("isolated");
  plain = await browser.open("plain");
});
afterAll(() => browser?.close());

const places: Where[] = ["page", "worker"];

describe.each(places)("in a %s", (where) => {
  test("is isolated only with the headers", async () => {
    expect(await isolated.call(where, "facts")).toMatchObject({ isolated: true, worker: where === "worker" });
    expect(await plain.call(where, "facts")).toMatchObject({ isolated: false });
  });

  test("tensors compute on the default device", async () => {
    expect(await isolated.call(where, "product")).toEqual([7, 10, 15, 22]);
    expect(await plain.call(where, "product")).toEqual([7, 10, 15, 22]);
  });

  test.each(["mnist-cnn", "cifar10-cnn", "spam-transformer"])("%s gives PyTorch's outputs", async (model) => {
    for (const spec of [{ device: "cpu" }, { device: "wasm", threads: 1 }, { device: "wasm", threads: 2 }] as const)
      expect(await isolated.call(where, "golden", model, spec), JSON.stringify(spec)).toBeLessThanOrEqual(1e-4);
    // Asks for threads that this page can't have.
    expect(await plain.call(where, "golden", model, { device: "wasm", threads: 2 })).toBeLessThanOrEqual(1e-4);
  });
});

test("threads are workers of an isolated page, and there are none in a plain one", async () => {
  for (const [kind, workers] of [
    ["isolated", 2],
    ["plain", 0],
  ] as const) {
    const { page, call } = await browser.open(kind);
    const urls: string[] = [];
    page.on("worker", (worker) => urls.push(worker.url()));
    expect(await call("page", "repeat", { device: "wasm", threads: 3 }, 10)).toBe(true);
    expect(urls.length, kind).toBe(workers);
    const exists = (url: string) =>
      page.evaluate(
        (url) =>
          fetch(url).then(
            () => true,
            () => false,
          ),
        url,
      );
    for (const url of urls) {
      expect(url).toMatch(/^blob:/);
      expect(await exists(url)).toBe(false);
    }
    await page.close();
  }
});

test("a model is read from its URL in ranges", async () => {
  const url = "/models/cifar10-cnn/model.onnx";
  const { page, call } = await browser.open();
  const before = browser.server.rangesOf(url).length;
  const { loaded, total, shape } = await call("page", "loadFrom", url, { device: "wasm", threads: 1 });
  expect(shape).toEqual([1, 10]);
  const ranges = browser.server.rangesOf(url).slice(before);
  expect(ranges[0]).toMatch(/^bytes=0-/);
  expect(ranges.every((r) => r)).toBe(true);
  expect(loaded).toBe(total);
  await page.close();
});

test.each(["", "*"])("a model of another origin is kept, whose headers to be seen are '%s'", async (exposed) => {
  const model = await readFile(new URL("../../examples/models/cifar10-cnn/model.onnx", import.meta.url));
  const other = await TestServer.open();
  // As servers of files do: it answers whoever asks, and allows no headers that browsers ask about.
  other.serve((q, r) => {
    r.setHeader("Access-Control-Allow-Origin", "*").setHeader("Access-Control-Expose-Headers", exposed);
    r.setHeader("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT");
    send(q, r, model);
  });
  const { page, call } = await browser.open();
  const requests: number[] = [];
  for (let i = 0; i < 2; i++) {
    const { loaded } = await call("page", "loadFrom", `${other.base}/model.onnx`, { device: "cpu" }, true);
    expect(loaded).toBe(model.length);
    requests.push(other.requests.length);
  }
  if (exposed) expect(requests).toEqual([1, 2]);
  // Without the range of the answer it is asked for once more, by Chromium's cache in parts.
  else expect(requests[1] - requests[0]).toBe(2);
  await page.close();
  other.close();
});

test("storage that is full is told, and holds no connection", async () => {
  const { page, call } = await browser.open();
  const from = (model: string, cache: boolean) =>
    call("page", "loadFrom", `/models/${model}/model.onnx`, { device: "cpu" }, cache);
  await from("mnist-mlp", true);
  const usage = await page.evaluate(async () => (await navigator.storage.estimate()).usage!);
  const session = await page.context().newCDPSession(page);
  const url = "/models/cifar10-cnn/model.onnx";
  for (const room of [100, 100_000]) {
    const { origin } = new URL(browser.server.url);
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: usage + room });
    const before = browser.server.rangesOf(url).length;
    await expect(from("cifar10-cnn", true)).rejects.toThrow(/InputError: .*storage for this site is full/);
    expect(browser.server.rangesOf(url)).toHaveLength(before + 1);
  }
  expect((await from("cifar10-cnn", false)).shape).toEqual([1, 10]);
  await page.close();
});

test("every wasm kernel equals its reference there too", async () => {
  expect((await isolated.call("page", "kernels", "wasm")).length).toBeGreaterThan(50);
  expect(await isolated.call("page", "properties", "wasm", 5)).toEqual({});
});

/** Every tenth core case: operators of all families. */
const cases = (readManifest() ?? [])
  .filter((c) => c.tier === "core" && c.suite !== "light")
  .filter((_, i) => i % 10 === 0);

test.skipIf(cases.length === 0)(
  "a tenth of the conformance cases (skipped without ../shared/conformance)",
  async () => {
    expect(await isolated.call("page", "conformance", cases, { device: "wasm", threads: 1 })).toEqual({});
    expect(await isolated.call("worker", "conformance", cases, { device: "wasm", threads: 2 })).toEqual({});
  },
);
