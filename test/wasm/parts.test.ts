/** Weights that go into linear memory part by part. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { quantizedMatmul } from "../../src/ops/quantized-matmul.ts";
import type { TypedArray } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { Elements, Weight } from "../../src/tensor/weight.ts";

const [rows, k] = [2, 64];
const values = (n: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.fround(Math.sin(i * i + 1)));
const x: HostTensor = { dtype: "f32", shape: [rows, k], data: values(rows * k) };

/** A weight that can only be read in parts of `granules` granules. `failAt`: reading throws there. */
function inParts(t: HostTensor, granules: number, failAt = Number.POSITIVE_INFINITY): Weight {
  const data = t.data as TypedArray;
  const whole = (): never => expect.fail("all of the weight was read at once");
  return new Weight(
    t.dtype,
    t.shape,
    Elements.stored({
      fetch: whole,
      async *parts(granule) {
        const buffer = data.slice(0, granule * granules);
        for (let at = 0; at < data.length; at += buffer.length) {
          if (at >= failAt) throw new Error("the disk is gone");
          const part = buffer.subarray(0, Math.min(buffer.length, data.length - at));
          part.set(data.subarray(at, at + part.length) as never);
          yield part;
        }
      },
    }),
  );
}

const floats = (n: number): HostTensor => ({ dtype: "f32", shape: [n, k], data: values(n * k) });
const blocks = (n: number): HostTensor => {
  const data = quantize("Q4_0", values(n * k));
  return { dtype: "u8", shape: [data.length], data };
};
const kinds = {
  f32: {
    make: floats,
    product: (_: number, w: HostTensor) => session((g) => matmul(g.x, g.w(w), { transposeB: true })),
  },
  q4_0: {
    make: blocks,
    product: (n: number, w: HostTensor) => session((g) => quantizedMatmul(g.x, g.w(w), { type: "q4_0", n, k })),
  },
};

const session = (y: (g: { x: never; w: (t: HostTensor) => never }) => unknown) =>
  compile(
    graph(({ input, weight }) => ({ y: y({ x: input("x", "f32", [rows, k]) as never, w: weight as never }) as never })),
    { device: wasm({ threads: 1 }) },
  );

test.each(["f32", "q4_0"] as const)("%s: as if read at once", (kind) =>
  fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 7 }), async (n, granules) => {
      const { make, product } = kinds[kind];
      const [one, other] = [await product(n, make(n)), await product(n, inParts(make(n), granules))];
      const [want, got] = [await one.run({ x }), await other.run({ x })];
      expect(got["y"]).toEqual(want["y"]);
      expect(other.bytes).toBe(one.bytes);
      one.dispose();
      other.dispose();
    }),
    { numRuns: 30 },
  ),
);

test("memory of a weight that could not be read is free again", async () => {
  const { make, product } = kinds.f32;
  const s = await product(64, inParts(make(64), 1, 1000));
  await expect(s.run({ x })).rejects.toThrow("the disk is gone");
  const { bytes } = s;
  for (let i = 0; i < 20; i++) await expect(s.run({ x })).rejects.toThrow("the disk is gone");
  expect(s.bytes).toBe(bytes);
});
