/** Convolutions and poolings divided among threads give, bit for bit, what one thread gives. */
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder, type SymbolicValue } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { conv } from "../../src/ops/conv.ts";
import { convTranspose } from "../../src/ops/conv-transpose.ts";
import type { AnyOp, Attrs } from "../../src/ops/op.ts";
import { averagePool, globalAveragePool, maxPool } from "../../src/ops/pool.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { expectSame, onThreads } from "./threaded.ts";

interface Layer {
  readonly kernel: string;
  readonly op: AnyOp;
  readonly x: number[];
  readonly w?: number[];
  readonly attrs: Attrs;
}

const same = [1, 1, 1, 1];
/** Large enough for threads to take part, and of shapes that each way of dividing work occurs. */
const layers: Record<string, Layer> = {
  "product by outputs": { kernel: "gemm", op: conv, x: [1, 33, 41, 41], w: [40, 33, 1, 1], attrs: {} },
  "product by channels": { kernel: "gemm", op: conv, x: [1, 300, 7, 7], w: [100, 300, 1, 1], attrs: {} },
  "product by images": {
    kernel: "gemm",
    op: conv,
    x: [6, 16, 23, 23],
    w: [24, 16, 3, 3],
    attrs: { strides: [2, 2], pads: same },
  },
  "product by groups": {
    kernel: "gemm",
    op: conv,
    x: [1, 96, 23, 23],
    w: [72, 8, 3, 3],
    attrs: { groups: 12, strides: [2, 2] },
  },
  "Winograd by channels": {
    kernel: "winograd",
    op: conv,
    x: [1, 40, 27, 27],
    w: [44, 40, 3, 3],
    attrs: { pads: same },
  },
  "Winograd by rows": { kernel: "winograd", op: conv, x: [1, 32, 120, 60], w: [32, 32, 3, 3], attrs: { pads: same } },
  "Winograd by images": { kernel: "winograd", op: conv, x: [3, 32, 26, 26], w: [32, 32, 3, 3], attrs: { pads: same } },
  depthwise: {
    kernel: "depthwise",
    op: conv,
    x: [1, 64, 60, 60],
    w: [64, 1, 5, 5],
    attrs: { groups: 64, pads: [2, 2, 2, 2] },
  },
  transposed: {
    kernel: "convTranspose",
    op: convTranspose,
    x: [1, 24, 30, 30],
    w: [24, 20, 4, 4],
    attrs: { strides: [2, 2], pads: same },
  },
  maxPool: {
    kernel: "maxPool",
    op: maxPool,
    x: [1, 64, 90, 90],
    attrs: { kernelShape: [3, 3], strides: [2, 2], pads: same },
  },
  averagePool: {
    kernel: "averagePool",
    op: averagePool,
    x: [1, 64, 90, 90],
    attrs: { kernelShape: [3, 3], pads: same },
  },
  globalAveragePool: { kernel: "globalAveragePool", op: globalAveragePool, x: [2, 64, 100, 100], attrs: {} },
};

async function run(layer: Layer, device: Backend): Promise<{ kernel: string; y: HostTensor }> {
  const builder = new GraphBuilder();
  const inputs: SymbolicValue[] = [builder.input("x", "f32", layer.x)];
  if (layer.w) inputs.push(builder.constant(tensorFrom(2, "f32", layer.w)));
  builder.output("y", builder.run(layer.op.op, inputs, layer.attrs)[0]);
  using session = await compile(builder.build(), { device });
  const { y } = await session.run({ x: tensorFrom(1, "f32", layer.x) });
  return { kernel: session.explain()[0].kernel, y };
}

onThreads((device) => {
  test.each(Object.entries(layers))("%s", async (_, layer) => {
    const got = await run(layer, device);
    const want = await run(layer, wasm({ threads: 1 }));
    expect(got.kernel).toContain(layer.kernel);
    expectSame(got.y, want.y);
  });
});
