/** The webgpu backend in a real browser. The whole suites run in Node; here a part of each, and what only pages have. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readManifest, skipped } from "../conformance/harness.ts";
import { startBrowser, type TestBrowser, type TestPage, type Where } from "./browser.ts";

let browser: TestBrowser;
let tab: TestPage;
beforeAll(async () => {
  browser = await startBrowser();
  tab = await browser.open("isolated");
});
afterAll(() => browser?.close());

const places: Where[] = ["page", "worker"];
const models = ["fraud-mlp", "mnist-mlp", "mnist-cnn", "cifar10-cnn", "spam-transformer"];
const device = { device: "webgpu" } as const;

test("every kernel equals its reference there too", async () => {
  expect((await tab.call("page", "kernels", "webgpu")).length).toBeGreaterThan(0);
  expect(await tab.call("page", "properties", "webgpu", 3)).toEqual({});
});

test.each(models)("%s runs on the GPU alone", async (model) => {
  const kernels = await tab.call("page", "kernelsOfModel", model, device);
  expect(kernels.filter((k) => !/^(webgpu\/|view)/.test(k))).toEqual([]);
});

describe.each(places)("in a %s", (where) => {
  test.each(models)("%s gives PyTorch's outputs", async (model) => {
    expect(await tab.call(where, "golden", model, device)).toBeLessThanOrEqual(1e-4);
  });
});

test("the GPU and threads of the CPU compute at the same time in one page", async () => {
  expect(await tab.call("page", "facts")).toMatchObject({ isolated: true });
  const threads = { device: "wasm", threads: 2 } as const;
  const specs = [device, threads, device, threads];
  const worst = await Promise.all(specs.map((spec) => tab.call("page", "golden", "cifar10-cnn", spec)));
  for (const w of worst) expect(w).toBeLessThanOrEqual(1e-4);
});

test("a page without WebGPU is told so, and computes on the CPU", async () => {
  const { page, call } = await browser.open("isolated", () => {
    Object.defineProperty(navigator, "gpu", { value: undefined });
  });
  await expect(call("page", "golden", "mnist-mlp", device)).rejects.toThrow(/this browser has no navigator\.gpu/);
  expect(await call("page", "golden", "mnist-mlp", { device: "wasm", threads: 1 })).toBeLessThanOrEqual(1e-4);
  await page.close();
});

/** A tenth of the core cases: operators of all families, without doubles, which shaders don't have. */
const cases = (readManifest() ?? [])
  .filter((c) => c.tier === "core" && c.suite !== "light" && !skipped[c.id] && !c.dtypes.includes("float64"))
  .filter((_, i) => i % 10 === 0);

test.skipIf(cases.length === 0)(
  "a tenth of the conformance cases (skipped without ../shared/conformance)",
  async () => {
    expect(cases.length).toBeGreaterThan(40);
    const [even, odd] = [0, 1].map((rest) => cases.filter((_, i) => i % 2 === rest));
    expect(await tab.call("page", "conformance", even, device)).toEqual({});
    expect(await tab.call("worker", "conformance", odd, device)).toEqual({});
  },
);
