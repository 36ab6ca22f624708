import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { cachedAttention } from "../../src/ops/cached-attention.ts";
import { kvAppend } from "../../src/ops/kv-append.ts";
import { testKernels } from "../kernels.ts";

const ops = new Set(["kvAppend", "cachedAttention", "rotaryEmbedding", "gather"]);
for (const relaxedSimd of [true, false]) {
  const backend = wasm({ threads: 1, features: relaxedSimd ? {} : { relaxedSimd } });
  const kernels = (await backend.ownKernels()).filter((k) => ops.has(k.op.name));
  testKernels(`decoder kernels ${relaxedSimd ? "as the host allows" : "in baseline SIMD"}`, { ...backend, kernels });
}

test("attention does not read beyond a cache of one row at the end of memory", async () => {
  const [heads, dim] = [16, 256];
  const width = heads * dim;
  const g = new GraphBuilder("one row");
  const x = g.input("x", "f32", [1, 1, width]);
  const [position, sequence] = [g.input("position", "i32", [1]), g.input("sequence", "i32", [1])];
  const [k, v] = ["k", "v"].map((name) =>
    kvAppend(g.state(name, { dtype: "f32", shape: [8, width] }), x, position, sequence),
  );
  g.output("y", cachedAttention(x, k, v, position, sequence, { heads }));
  using session = await compile(g.build(), { device: wasm({ threads: 1 }) });
  const inputs = {
    x: new Float32Array(width).fill(0.5),
    position: Int32Array.of(0),
    sequence: Int32Array.of(0),
  };
  const state = session.openState();
  // Its cache comes behind all else.
  await session.plan(inputs, { state });
  const { y } = await session.run(inputs, { state, rows: 1 });
  expect([...(y.data as Float32Array)].every((e) => Math.abs(e - 0.5) < 1e-6)).toBe(true);
});
