/** The gpujs backend on WebGL2: kernels against their references, models against PyTorch, and what it leaves to wasm. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { readManifest } from "../conformance/harness.ts";
import { startBrowser, type TestBrowser, type TestPage } from "./browser.ts";

let browser: TestBrowser;
let tab: TestPage;
beforeAll(async () => {
  browser = await startBrowser();
  tab = await browser.open();
});
afterAll(() => browser?.close());

test("every kernel equals its reference", async () => {
  expect((await tab.call("page", "kernels", "gpujs")).length).toBeGreaterThan(30);
  expect(await tab.call("page", "properties", "gpujs", 6)).toEqual({});
});

const device = { device: "gpujs" } as const;

test("what plans take is given back with them, and what is left draws on", async () => {
  const { live, left, again } = await tab.call("page", "shapes", device, [1, 2, 3, 4, 5, 6]);
  expect(live[2]).toBeGreaterThan(live[0]);
  expect(live.slice(3)).toEqual([live[2], live[2], live[2]]);
  expect(left).toBeLessThan(live[0]);
  expect(again).toEqual([0.5, 0.5, 0.5, 0.5]);
});

test("sessions share a context, whose oldest is taken away where there are many, and leave nothing in it", async () => {
  const { live, again } = await tab.call("page", "sessions", device, 20);
  expect(live).toEqual(live.map(() => live[0]));
  expect(again).toEqual([0]);
});

test("NaN stays NaN, also as an attribute, and what has no logarithm has none", async () => {
  expect(await tab.call("page", "specials", device)).toEqual({});
});

test.each(["fraud-mlp", "mnist-mlp", "mnist-cnn", "cifar10-cnn"])("%s runs on WebGL alone", async (model) => {
  expect((await tab.call("page", "kernelsOfModel", model, device)).filter((k) => !/^(gpujs\/|view)/.test(k))).toEqual(
    [],
  );
  expect(await tab.call("page", "golden", model, device)).toBeLessThanOrEqual(1e-4);
  expect(await tab.call("worker", "golden", model, device)).toBeLessThanOrEqual(1e-4);
});

test("a transformer runs on WebGL and on wasm by turns", async () => {
  const kernels = await tab.call("page", "kernelsOfModel", "spam-transformer", device);
  expect(kernels.some((k) => k.startsWith("gpujs/"))).toBe(true);
  expect(kernels.some((k) => k.startsWith("wasm/"))).toBe(true);
  expect(await tab.call("page", "golden", "spam-transformer", device)).toBeLessThanOrEqual(1e-4);
});

test("it is chosen where there is no WebGPU", async () => {
  expect(await tab.call("page", "defaultDevice")).toBe("wasm");
  const { page, call } = await browser.open("isolated", () => {
    Object.defineProperty(navigator, "gpu", { value: undefined });
  });
  expect(await call("page", "defaultDevice")).toBe("gpujs");
  await page.close();
});

test.each([0, 1])(
  "a context lost after %i runs is an error that says so, and what is loaded later works",
  async (runs) => {
    const { page, call } = await browser.open();
    const { error, again } = await call("page", "loseContext", "fraud-mlp", runs);
    expect(error).toMatch(/^DeviceError: gpujs: the WebGL context was lost/);
    expect(again).toBe(true);
    await page.close();
  },
);

/** Of the operators that have kernels here. */
const operators =
  /^(MatMul|Gemm|Conv|MaxPool|AveragePool|Global.*Pool|.*Softmax|.*Normalization|Relu|Sigmoid|Add|Mul)$/;
const cases = (readManifest() ?? []).filter(
  (c) => c.suite === "node" && c.coreF32 && c.ops.every((o) => operators.test(o)),
);

test.skipIf(cases.length === 0)(
  "conformance cases of its operators (skipped without ../shared/conformance)",
  async () => {
    expect(cases.length).toBeGreaterThan(30);
    expect(await tab.call("page", "conformance", cases, device)).toEqual({});
  },
);
