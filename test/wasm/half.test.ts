/** 16-bit floats: conversions, and models that compute with them in f32. */
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import {
  add,
  bitCast,
  cast,
  castLike,
  compile,
  constantOfShape,
  gather,
  graph,
  layerNorm,
  matmul,
  mul,
  reduceSum,
  relu,
  shape,
  softmax,
} from "../../src/index.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { decodeTable, encodeFloats } from "../../src/tensor/float.ts";
import { HalfWeight } from "../../src/tensor/half-weight.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { Elements } from "../../src/tensor/weight.ts";
import { halfWeightFrom, tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { wasmDevices } from "./workers.ts";

const devices = await wasmDevices();
const kinds = ["f16", "bf16"] as const;

/** Numbers whose NaNs are all alike. */
const numbers = (data: unknown): number[] => Array.from(data as Float32Array);

describe.each(Object.entries(devices))("on %s", (_, open) => {
  const device = open();

  test.each(kinds)("every %s is its f32", async (kind) => {
    const data = Uint16Array.from({ length: 65536 }, (_, i) => i);
    using session = await compile(
      graph(({ input }) => ({ y: cast(input("x", kind, ["n"]), { to: "f32" }) })),
      { device },
    );
    for (const n of [65536, 3, 65535]) {
      const x = { dtype: kind, shape: [n], data: data.slice(-n) };
      expect(numbers((await session.run({ x })).y.data)).toEqual(Array.from(x.data, (bits) => decodeTable(kind)[bits]));
    }
    expect(new Set(session.explain().map((s) => s.kernel))).toEqual(new Set(["wasm/cast/half"]));
  });

  test.each(kinds)("every f32 rounds to %s as it should", async (kind) => {
    using session = await compile(
      graph(({ input }) => ({ y: cast(input("x", "f32", ["n"]), { to: kind }) })),
      { device },
    );
    const bits = new Uint32Array(60_001);
    // All exponents, with mantissas around the ties of both formats and at random.
    const mantissas = [
      0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0x18000, 0x7fefff, 0x7fffff,
    ];
    for (let i = 0; i < bits.length; i++) {
      const mantissa = i % 2 ? mantissas[(i >> 1) % mantissas.length] : Math.imul(i, 2654435761) >>> 9;
      bits[i] = ((i % 512) << 23) | mantissa;
    }
    const x = new Float32Array(bits.buffer);
    const expected = new Uint16Array(x.length);
    encodeFloats(kind, x, expected);
    const { y } = await session.run({ x: { dtype: "f32", shape: [x.length], data: x } });
    const value = (b: number): number => decodeTable(kind)[b];
    const wrong = Array.from(y.data as Uint16Array).findIndex((b, i) => !Object.is(value(b), value(expected[i])));
    expect([wrong, wrong < 0 ? 0 : bits[wrong]]).toEqual([-1, 0]);
  });
});

describe.each(Object.entries({ ...devices, cpu }))("models on %s", (_, open) => {
  const device = open();

  test.each(kinds)("a model in %s computes in f32, without references", async (kind) => {
    const half = (seed: number, shape: number[]) => {
      const data = new Uint16Array(shape.reduce((a, b) => a * b, 1));
      encodeFloats(kind, tensorFrom(seed, "f32", shape).data as Float32Array, data);
      return { dtype: kind, shape, data };
    };
    const decode = (data: unknown): Float32Array =>
      Float32Array.from(data as Uint16Array, (bits) => decodeTable(kind)[bits]);
    const wide = (seed: number, shape: number[]) => ({
      dtype: "f32" as const,
      shape,
      data: decode(half(seed, shape).data),
    });
    const model = (dtype: DType, tensor: (seed: number, shape: number[]) => HostTensor) =>
      graph(({ input, weight }) => {
        const x = input("x", dtype, [5, 32]);
        const h = relu(matmul(x, weight(tensor(1, [32, 48])), weight(tensor(2, [48]))));
        const rounded = cast(cast(mul(h, h), { to: kind }), { to: dtype });
        return { y: softmax(layerNorm(rounded, weight(tensor(3, [48])), { axis: -1 }), { axis: -1 }), h };
      });
    using session = await compile(model(kind, half), { device });
    using exact = await compile(model("f32", wide), { device, optimize: false });
    const actual = await session.run({ x: half(4, [5, 32]) });
    const expected = await exact.run({ x: wide(4, [5, 32]) });
    for (const name of ["y", "h"]) {
      expect([actual[name].dtype, actual[name].shape]).toEqual([kind, [5, 48]]);
      const values = decode(actual[name].data);
      (expected[name].data as Float32Array).forEach((v, i) => {
        // A step of the format, twice: a sum that differs in f32 may round to the neighbour.
        expect(Math.abs(values[i] - v)).toBeLessThanOrEqual(1e-7 + Math.abs(v) * (kind === "f16" ? 2 ** -10 : 2 ** -7));
      });
    }
    for (const { kernel } of session.explain()) expect(kernel).not.toMatch(/reference/);
  });

  test.each(kinds)("what a shape is filled with in %s joins what is f32", async (kind) => {
    const half = (values: number[]) => {
      const data = new Uint16Array(values.length);
      encodeFloats(kind, Float32Array.from(values), data);
      return { dtype: kind, shape: [values.length], data };
    };
    const type = { dtype: kind, shape: ["n"] };
    const g = graph(
      ({ input }) => {
        const x = input("x", kind, ["n"]);
        const filled = constantOfShape(shape(x), { value: half([1.5]) });
        return { y: add(x, filled), filled };
      },
      { outputs: { y: type, filled: type } },
    );
    using session = await compile(g, { device });
    const { y, filled } = await session.run({ x: half([1, -2, 0.25]) });
    expect([y, filled].map((t) => [t.dtype, numbers(t.data)])).toEqual([
      [kind, numbers(half([2.5, -0.5, 1.75]).data)],
      [kind, numbers(half([1.5, 1.5, 1.5]).data)],
    ]);
  });

  test.each(kinds)("matrices in %s, kept as they are, give what f32 gives", async (kind) => {
    const model = (tensor: (seed: number, shape: number[]) => HostTensor) =>
      graph(({ input, weight }) => {
        const table = weight(tensor(1, [203, 96]));
        const x = gather(table, input("tokens", "i32", ["n"]));
        const y = matmul(x, weight(tensor(2, [96, 77])), weight(tensor(3, [77])));
        // The table itself, as numbers too.
        return { y, logits: matmul(x, table, undefined, undefined, { transposeB: true }), sum: reduceSum(table) };
      });
    using session = await compile(
      model((seed, shape) => halfWeightFrom(seed, kind, shape)),
      { device },
    );
    using exact = await compile(
      model((seed, shape) => halfWeightFrom(seed, kind, shape).widened()),
      { device },
    );
    for (const n of [1, 7, 30, 150, 2]) {
      const tokens = Int32Array.from({ length: n }, (_, i) => (i * 31) % 203);
      const [got, want] = [await session.run({ tokens }), await exact.run({ tokens })];
      for (const name of ["y", "logits", "sum"])
        expect(difference(got[name], want[name], { absolute: 1e-3, relative: 1e-5 })).toBeUndefined();
    }
    if (device.name === "wasm") {
      expect(session.explain().filter((s) => s.kernel.endsWith("/halves")).length).toBeGreaterThan(10);
      expect(session.bytes).toBeLessThan(exact.bytes);
    }
  });

  test.each(kinds)("columns of the same weights in %s are the same to the last bit", async (kind) => {
    const [k, n] = [97, 173];
    const row = tensorFrom(1, kind, [k]).data as Uint16Array;
    const weights = Uint16Array.from({ length: n * k }, (_, i) => row[i % k]);
    const model = graph(({ input, weight }) => ({
      y: matmul(
        input("x", "f32", ["m", k]),
        weight(new HalfWeight(kind, [n, k], new Elements(weights))),
        undefined,
        undefined,
        { transposeB: true },
      ),
    }));
    using session = await compile(model, { device });
    const { y } = await session.run({ x: tensorFrom(2, "f32", [1, k]) });
    expect(new Set(y.data as Float32Array).size).toBe(1);
  });

  test("infinities, NaN and denormal numbers among f16 weights stay what they are", async () => {
    const k = 40;
    const special = [0x7c00, 0xfc00, 0x7e00, 0x0001, 0x83ff, 0x8000, 0x7bff, 0x0400];
    const weights = Uint16Array.from({ length: 160 * k }, (_, i) => (i % k === 3 ? special[(i / k) & 7] : 0x3c00));
    const half = new HalfWeight("f16", [160, k], new Elements(weights));
    const model = (w: HostTensor) =>
      graph(({ input, weight }) => ({
        y: matmul(input("x", "f32", ["m", k]), weight(w), undefined, undefined, { transposeB: true }),
      }));
    using session = await compile(model(half), { device });
    using exact = await compile(model(half.widened()), { device });
    for (const m of [1, 3, 20]) {
      const data = Float32Array.from({ length: m * k }, (_, i) => (i % k === 3 ? 0.5 : 0));
      const x = { dtype: "f32", shape: [m, k], data } as const;
      expect(numbers((await session.run({ x })).y.data)).toEqual(numbers((await exact.run({ x })).y.data));
    }
  });

  test.each(kinds)("what is cast like a value in %s is rounded, whatever stands for that value", async (kind) => {
    const given = Float32Array.of(0.1, 70000, -1e-9);
    const rounded = new Uint16Array(3);
    encodeFloats(kind, given, rounded);
    const like = { dtype: kind, shape: [1], data: Uint16Array.of(0) };
    const g = graph(({ input, weight }) => {
      const [v, x] = [input("v", "f32", [3]), input("x", kind, [1])];
      const all = [x, weight(like), cast(v, { to: kind }), add(x, x)].map((l) => cast(castLike(v, l), { to: "f32" }));
      return Object.fromEntries(all.map((y, i) => [`y${i}`, y]));
    });
    using session = await compile(g, { device });
    const outputs = await session.run({ v: given, x: like });
    for (let i = 0; i < 4; i++)
      expect(numbers(outputs[`y${i}`].data)).toEqual(Array.from(rounded, (bits) => decodeTable(kind)[bits]));
  });

  test("what looks at bits sees those of the model's dtype", async () => {
    using session = await compile(
      graph(({ input }) => ({ y: bitCast(input("x", "f16", ["n"]), { to: "u16" }) })),
      { device },
    );
    const data = Uint16Array.of(0x3c00, 0x7bff, 1);
    expect((await session.run({ x: { dtype: "f16", shape: [3], data } })).y.data).toEqual(data);
  });
});
