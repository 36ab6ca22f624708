/** Convolutions whose weights are 16-bit floats in memory give what the same weights in f32 give. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { cast, compile, conv, graph, relu } from "../../src/index.ts";
import type { ConvAttrs } from "../../src/ops/conv.ts";
import { HalfWeight } from "../../src/tensor/half-weight.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { Elements } from "../../src/tensor/weight.ts";
import { halfWeightFrom, tensorFrom } from "../cases/case.ts";
import { expectSame } from "./threaded.ts";
import { wasmDevices } from "./workers.ts";

const devices = await wasmDevices();
const kinds = ["f16", "bf16"] as const;

interface Layer {
  readonly x: number[];
  readonly w: number[];
  readonly attrs: ConvAttrs;
  readonly kernel?: string;
}

async function outputs(device: Backend, { x, w, attrs }: Layer, weights: HostTensor) {
  const bias = tensorFrom(3, "f32", [w[0]]);
  const model = graph(({ input, weight }) => {
    const kernel = weight(weights);
    const image = input("x", "f32", x);
    return {
      y: relu(conv(image, kernel, weight(bias), undefined, attrs)),
      plain: conv(image, kernel, undefined, undefined, attrs),
    };
  });
  using session = await compile(model, { device });
  const { y, plain } = await session.run({ x: tensorFrom(1, "f32", x) });
  const kernels = session.explain().map((s) => s.kernel);
  // What the device has packed tells the host again what it was.
  const kept = weights.data;
  return {
    y,
    plain,
    kernels,
    kept,
    bytes: session.bytes,
    again: (await session.run({ x: tensorFrom(1, "f32", x) })).y,
  };
}

/**
 * The same, bit for bit; but kernels that are transformed in f32 instead of float64 differ in their last bits, and the results
 * by some of those of the largest.
 */
function expectLike(got: HostTensor, want: HostTensor, kernel: string): void {
  if (!kernel.includes("winograd")) {
    expectSame(got, want);
    return;
  }
  expect(got.shape).toEqual(want.shape);
  const [a, b] = [got.data, want.data] as Float32Array[];
  const largest = b.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  expect(a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0) / largest).toBeLessThan(2e-6);
}

const same = [1, 1, 1, 1];
const layers: Record<string, Layer> = {
  pointwise: { x: [1, 130, 9, 11], w: [77, 130, 1, 1], attrs: {}, kernel: "gemm" },
  "pointwise, several groups of tiles": { x: [1, 2500, 7, 7], w: [40, 2500, 1, 1], attrs: {}, kernel: "gemm" },
  "pointwise in groups": { x: [2, 90, 13, 13], w: [60, 45, 1, 1], attrs: { groups: 2 }, kernel: "gemm" },
  strided: { x: [1, 40, 31, 31], w: [45, 40, 3, 3], attrs: { strides: [2, 2], pads: same }, kernel: "gemm" },
  "along a line": { x: [2, 40, 300], w: [50, 40, 5], attrs: { pads: [2, 2] }, kernel: "gemm" },
  "Winograd by 4": { x: [1, 40, 27, 27], w: [44, 40, 3, 3], attrs: { pads: same }, kernel: "winograd4" },
  "Winograd by 2": { x: [1, 140, 7, 7], w: [45, 140, 3, 3], attrs: { pads: same }, kernel: "winograd2" },
  "Winograd in groups, several images": {
    x: [3, 93, 26, 26],
    w: [47 * 3, 31, 3, 3],
    attrs: { pads: same, groups: 3 },
    kernel: "winograd4",
  },
  "Winograd by rows": { x: [1, 32, 120, 60], w: [32, 32, 3, 3], attrs: { pads: same }, kernel: "winograd4" },
  depthwise: { x: [1, 600, 14, 14], w: [600, 1, 3, 3], attrs: { groups: 600, pads: same }, kernel: "depthwise" },
  "depthwise, two outputs": {
    x: [2, 120, 9, 9],
    w: [240, 1, 5, 5],
    attrs: { groups: 120, strides: [2, 2] },
    kernel: "depthwise",
  },
};

describe.each(Object.entries(devices))("on %s", (_, open) => {
  const device = open();

  describe.each(kinds)("in %s", (kind) => {
    test.each(Object.entries(layers))("%s", async (_, layer) => {
      const half = halfWeightFrom(2, kind, layer.w);
      const wide = await outputs(device, layer, halfWeightFrom(2, kind, layer.w).widened());
      const got = await outputs(device, layer, half);
      expect(got.kernels).toEqual(got.kernels.map(() => `wasm/conv/${layer.kernel}/halves`));
      expectLike(got.y, wide.y, got.kernels[0]);
      expectSame(got.again, got.y);
      expectLike(got.plain, wide.plain, got.kernels[0]);
      expect(got.kept).toEqual(halfWeightFrom(2, kind, layer.w).data);
    });
  });

  test("of any shape", async () => {
    const size = fc.integer({ min: 1, max: 12 });
    const axis = fc.record({ size, kernel: fc.integer({ min: 1, max: 4 }), stride: fc.integer({ min: 1, max: 3 }) });
    const layer = fc.record({
      kind: fc.constantFrom(...kinds),
      batch: fc.integer({ min: 1, max: 2 }),
      groups: fc.constantFrom(1, 2, 3),
      channelsIn: fc.integer({ min: 1, max: 70 }),
      channelsOut: fc.integer({ min: 1, max: 70 }),
      axes: fc.array(axis, { minLength: 1, maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(layer, async ({ kind, batch, groups, channelsIn, channelsOut, axes }) => {
        const shape = {
          x: [batch, groups * channelsIn, ...axes.map((a) => a.size + a.kernel - 1)],
          w: [groups * channelsOut, channelsIn, ...axes.map((a) => a.kernel)],
          attrs: { groups, strides: axes.map((a) => a.stride) },
        };
        const got = await outputs(device, shape, halfWeightFrom(2, kind, shape.w));
        const wide = await outputs(device, shape, halfWeightFrom(2, kind, shape.w).widened());
        expectLike(got.y, wide.y, got.kernels[0]);
        expectLike(got.plain, wide.plain, got.kernels[1]);
      }),
      { numRuns: 30 },
    );
  });

  test.each(kinds)("a model that is %s throughout", async (kind) => {
    const x = tensorFrom(1, kind, [1, 60, 9, 9]);
    const dense = halfWeightFrom(2, kind, [90, 60, 1, 1]);
    const depthwise = halfWeightFrom(3, kind, [90, 1, 7, 7]);
    const model = (weights: HostTensor[]) =>
      graph(({ input, weight }) => {
        const image = cast(input("x", kind, x.shape), { to: "f32" });
        const [first, second] = weights.map(weight);
        const y = conv(conv(image, first), second, undefined, undefined, { groups: 90 });
        return { y: cast(y, { to: kind }) };
      });
    const run = async (weights: HostTensor[]) => {
      using session = await compile(model(weights), { device });
      const { y } = await session.run({ x });
      return { y, kernels: session.explain().map((s) => s.kernel) };
    };
    const got = await run([dense, depthwise]);
    for (const kernel of ["cast/half", "conv/gemm/halves", "conv/depthwise/halves"])
      expect(got.kernels).toContain(`wasm/${kernel}`);
    expectSame(got.y, (await run([dense.widened(), depthwise.widened()])).y);
  });

  test.each([
    ["gemm", { x: [1, 40, 6, 6], w: [160, 40, 1, 1], attrs: {} }],
    ["winograd4", { x: [1, 20, 21, 21], w: [36, 20, 3, 3], attrs: {} }],
    ["winograd2", { x: [1, 140, 6, 6], w: [45, 140, 3, 3], attrs: { pads: same } }],
    ["depthwise", { x: [1, 600, 6, 6], w: [600, 1, 3, 3], attrs: { groups: 600 } }],
  ])("infinities, NaN and denormal numbers among f16: %s", async (kernel, layer) => {
    const special = [0x7c00, 0xfc00, 0x7e00, 0x0001, 0x83ff, 0x8000, 0x7bff, 0x0400];
    const data = Uint16Array.from({ length: layer.w.reduce((a, b) => a * b) }, (_, i) =>
      i % 9 ? 0x3c00 : special[(i / 9) & 7],
    );
    const half = new HalfWeight("f16", layer.w, new Elements(data));
    const wide = await outputs(device, layer, half.widened());
    const got = await outputs(device, layer, half);
    expect(got.kernels[0]).toContain(`${kernel}/halves`);
    expectSame(got.plain, wide.plain);
  });
});

test("weights take half of the memory", async () => {
  const layer = { x: [1, 1024, 7, 7], w: [1024, 1024, 1, 1], attrs: {} };
  const device = wasm({ threads: 1 });
  const half = await outputs(device, layer, halfWeightFrom(2, "f16", layer.w));
  const wide = await outputs(device, layer, halfWeightFrom(2, "f16", layer.w).widened());
  expect(wide.bytes - half.bytes).toBeGreaterThan(1.5 * 1024 ** 2);
});
