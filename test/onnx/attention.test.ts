/** Attention of language models as exporters write it, run as a whole. */
import { describe, expect, test } from "vitest";
import { load, ShapeError } from "../../src/index.ts";
import { type HostTensor, reshaped } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { type AttributeSpec, encodeModel } from "./encode.ts";

type Inputs = Record<string, HostTensor>;

/** One node with the given inputs in their order; missing ones are null. */
async function run(
  type: string,
  inputs: readonly (HostTensor | null)[],
  outputs: number,
  attributes: Record<string, AttributeSpec> = {},
  { domain = "", opset = 21, device = "cpu" as "cpu" | "wasm" } = {},
): Promise<HostTensor[]> {
  const given: Inputs = {};
  inputs.forEach((t, i) => {
    if (t) given[`x${i}`] = t;
  });
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const bytes = encodeModel({
    opset,
    domains: { "com.microsoft": 1 },
    nodes: [{ type, domain, inputs: inputs.map((t, i) => (t ? `x${i}` : "")), outputs: names, attributes }],
    // Free dimensions: everything about shapes has to wait for the run.
    inputs: Object.entries(given).map(([name, t]) => ({
      name,
      dtype: t.dtype,
      shape: t.shape.map((_, i) => `${name}_${i}`),
    })),
    outputs: names.map((name) => ({ name })),
  });
  const model = await load(bytes, { device });
  const results = await model.run(given);
  model.dispose();
  return names.map((name) => results[name]);
}

const random = (seed: number, ...shape: number[]): HostTensor => tensorFrom(seed, "f32", shape, { min: -1, max: 1 });
const i32 = (...values: number[]): HostTensor => ({
  dtype: "i32",
  shape: [values.length],
  data: Int32Array.from(values),
});
const numbers = (t: HostTensor): number[] => Array.from(t.data as Float32Array);

function expectClose(a: HostTensor, b: HostTensor): void {
  expect(a.shape).toEqual(b.shape);
  numbers(a).forEach((v, i) => {
    expect(v).toBeCloseTo(numbers(b)[i], 5);
  });
}

/** Positions [from, to) of a [1, seq, ...] tensor. */
const tokens = (t: HostTensor, from: number, to: number): HostTensor => {
  const step = t.data.length / t.shape[1];
  return {
    ...t,
    shape: [1, to - from, ...t.shape.slice(2)],
    data: (t.data as Float32Array).slice(from * step, to * step),
  };
};

const microsoft = { domain: "com.microsoft" };

describe("com.microsoft::GroupQueryAttention", () => {
  const [heads, kvHeads, dim, seq] = [4, 2, 16, 6];
  const attributes = { num_heads: { int: heads }, kv_num_heads: { int: kvHeads }, do_rotary: { int: 1 } };
  const [q, k, v] = [
    random(1, 1, seq, heads * dim),
    random(2, 1, seq, kvHeads * dim),
    random(3, 1, seq, kvHeads * dim),
  ];
  const tables = [random(4, seq, dim / 2), random(5, seq, dim / 2)];
  const call = (from: number, to: number, past: readonly (HostTensor | null)[] = [null, null]) =>
    run(
      "GroupQueryAttention",
      [
        tokens(q, from, to),
        tokens(k, from, to),
        tokens(v, from, to),
        ...past,
        i32(to - 1),
        reshaped(i32(to), []),
        ...tables,
      ],
      3,
      attributes,
      microsoft,
    );

  test("a prompt and its continuation token by token give what the whole gives at once", async () => {
    const [whole, keys, values] = await call(0, seq);
    let [y, ...past] = await call(0, 3);
    expectClose(y, tokens(whole, 0, 3));
    for (let t = 3; t < seq; t++) {
      [y, ...past] = await call(t, t + 1, past);
      expectClose(y, tokens(whole, t, t + 1));
    }
    expectClose(past[0], keys);
    expectClose(past[1], values);
  });
  // As onnxruntime does, which calls the lengths out of range, and the total not positive.
  test.each([
    ["lengths of less than a token", -1, 3, "a length is 0, of 3 at most"],
    ["lengths below zero", -3, 3, "a length is -2, of 3 at most"],
    ["lengths beyond the cache", 3, 3, "a length is 4, of 3 at most"],
    ["fewer tokens than come", 2, 2, "3 tokens come, and there are 2 after them"],
    ["a total below zero", 2, -3, "3 tokens come, and there are -3 after them"],
  ])("%s are refused", async (_, less, total, message) => {
    const inputs = [q, k, v].map((x) => tokens(x, 0, 3));
    const { do_rotary: _none, ...plain } = attributes;
    for (const [more, given] of [[tables, attributes] as const, [[], plain] as const]) {
      const lengths = [i32(less), reshaped(i32(total), [])];
      const refused = run("GroupQueryAttention", [...inputs, null, null, ...lengths, ...more], 3, given, microsoft);
      await expect(refused).rejects.toThrow(message);
      await expect(refused).rejects.toThrow(ShapeError);
    }
  });
  test("packed inputs are the same", async () => {
    const [want] = await call(0, seq);
    const packed = new Float32Array(seq * (heads + 2 * kvHeads) * dim);
    for (let t = 0; t < seq; t++)
      packed.set(
        [q, k, v].flatMap((x) => numbers(tokens(x, t, t + 1))),
        (t * packed.length) / seq,
      );
    const x = { dtype: "f32" as const, shape: [1, seq, packed.length / seq], data: packed };
    const lengths = [i32(seq - 1), reshaped(i32(seq), [])];
    const [got] = await run(
      "GroupQueryAttention",
      [x, null, null, null, null, ...lengths, ...tables],
      3,
      attributes,
      microsoft,
    );
    expectClose(got, want);
  });
  test("a local window counts the current token", async () => {
    const ones = { ...v, data: Float32Array.from(v.data as Float32Array, (_, i) => Math.floor(i / (kvHeads * dim))) };
    const zero = { ...k, data: new Float32Array(k.data.length) };
    const inputs = [q, zero, ones, null, null, i32(seq - 1), reshaped(i32(seq), [])];
    const { do_rotary: _, ...plain } = attributes;
    const [y] = await run("GroupQueryAttention", inputs, 3, { ...plain, local_window_size: { int: 2 } }, microsoft);
    // The mean of the last two positions.
    const means = Array.from({ length: seq }, (_, t) => numbers(tokens(y, t, t + 1))[0]);
    expect(means.map((m) => Math.round(m * 100) / 100)).toEqual([0, 0.5, 1.5, 2.5, 3.5, 4.5]);
  });
});

describe("com.microsoft::MultiHeadAttention", () => {
  const [q, k, v] = [random(1, 2, 3, 8), random(2, 2, 5, 8), random(3, 2, 5, 8)];
  const attributes = { num_heads: { int: 2 } };
  const mha = (...rest: (HostTensor | null)[]) =>
    run("MultiHeadAttention", [q, k, v, ...rest], 1, attributes, microsoft);

  test("is ONNX Attention with packed heads", async () => {
    const heads = { q_num_heads: { int: 2 }, kv_num_heads: { int: 2 } };
    const [want] = await run("Attention", [q, k, v], 1, heads, { opset: 23 });
    expectClose((await mha())[0], want);
  });
  test.each([8, 14])("the bias has a part for each of query, key and values of %d", async (size) => {
    const [bias, values] = [random(4, 16 + size), random(3, 2, 5, size)];
    const part = (x: HostTensor, p: number): HostTensor => {
      const b = numbers(bias).slice(8 * p, 8 * p + x.shape[2]);
      return { ...x, data: (x.data as Float32Array).map((e, i) => e + b[i % b.length]) };
    };
    const apart = [part(q, 0), part(k, 1), part(values, 2)];
    const [want] = await run("MultiHeadAttention", apart, 1, attributes, microsoft);
    const [got] = await run("MultiHeadAttention", [q, k, values, bias], 1, attributes, microsoft);
    expectClose(got, want);
  });
  test("a padding mask by length, by flag, and as a bias of -Infinity", async () => {
    const flags = { ...i32(1, 1, 1, 0, 0, 1, 1, 1, 1, 0), shape: [2, 5] };
    const [byFlag] = await mha(null, flags);
    expectClose((await mha(null, i32(3, 4)))[0], byFlag);
    const bias = Float32Array.from({ length: 2 * 3 * 5 }, (_, i) =>
      (flags.data as Int32Array)[Math.floor(i / 15) * 5 + (i % 5)] === 1 ? 0 : -Infinity,
    );
    expectClose((await mha(null, null, { dtype: "f32", shape: [2, 1, 3, 5], data: bias }))[0], byFlag);
  });
});

describe.each(["cpu", "wasm"] as const)("masks of com.microsoft's attention, %s", (device) => {
  const attributes = (filter?: number, unidirectional = 0): Record<string, AttributeSpec> => ({
    num_heads: { int: 1 },
    unidirectional: { int: unidirectional },
    ...(filter === undefined ? {} : { mask_filter_value: { float: filter } }),
  });
  const eye = (n: number): number[] => Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  const f32 = (shape: number[], data: ArrayLike<number>): HostTensor => ({
    dtype: "f32",
    shape,
    data: Float32Array.from(data),
  });
  const flags = (shape: number[], ...values: number[]): HostTensor => ({ ...i32(...values), shape });
  /** Rows of exp(added), that sum up to 1. */
  const softmax = (...rows: number[][]): number[] =>
    rows.flatMap((row) => {
      const sum = row.reduce((s, x) => s + Math.exp(x), 0);
      return row.map((x) => Math.exp(x) / sum);
    });
  const expectNumbers = (y: HostTensor, want: number[]): void => {
    expect(y.data.length).toBe(want.length);
    numbers(y).forEach((v, i) => {
      expect(v, `element ${i}`).toBeCloseTo(want[i], 3);
    });
  };
  const no = Number.NEGATIVE_INFINITY;

  /** The weights of each key for queries that are zero: values are the unit vectors, of which the first `past` are past. */
  async function weights(
    seq: number,
    keys: number,
    padding: HostTensor | null,
    attrs: Record<string, AttributeSpec>,
    { past = 0, bias = null as HostTensor | null } = {},
  ): Promise<HostTensor[]> {
    const unit = eye(keys);
    const [q, k] = [f32([1, seq, keys], new Float32Array(seq * keys)), random(1, 1, keys - past, keys)];
    const v = f32([1, keys - past, keys], unit.slice(past * keys));
    const cached = [random(2, 1, 1, past, keys), f32([1, 1, past, keys], unit.slice(0, past * keys))];
    const inputs = [q, k, v, null, padding, bias, ...(past ? cached : [])];
    return run("MultiHeadAttention", inputs, 4, attrs, { ...microsoft, device });
  }

  test("a hidden key keeps the weight that mask_filter_value leaves it", async () => {
    const want = softmax([0, 0, -1, -1]);
    for (const padding of [i32(2), flags([1, 4], 1, 1, 0, 0), flags([1, 1, 4], 1, 1, 0, 0), i32(2, 0, 2, 0, 2)])
      expectNumbers((await weights(1, 4, padding, attributes(-1)))[0], want);
    expectNumbers((await weights(1, 4, i32(2), attributes(0.5)))[0], softmax([0, 0, 0.5, 0.5]));
    expectNumbers((await weights(1, 4, i32(2), attributes()))[0], [0.5, 0.5, 0, 0]);
  });
  test("where all keys are hidden none is", async () => {
    for (const filter of [undefined, -1, -3.4e38])
      expectNumbers((await weights(1, 4, i32(0), attributes(filter)))[0], softmax([0, 0, 0, 0]));
  });
  test("it is added to the bias", async () => {
    const bias = f32([1, 1, 1, 4], [1, 2, 3, 4]);
    expectNumbers((await weights(1, 4, i32(2), attributes(-2), { bias }))[0], softmax([1, 2, 1, 2]));
  });
  test("a query of a unidirectional node sees what is up to it, and the last one everything", async () => {
    const causal = attributes(undefined, 1);
    const seen = async (seq: number, keys: number, past = 0) => (await weights(seq, keys, null, causal, { past }))[0];
    expectNumbers(await seen(3, 3), softmax([0, no, no], [0, 0, no], [0, 0, 0]));
    expectNumbers(await seen(2, 4), softmax([0, no, no, no], [0, 0, 0, 0]));
    expectNumbers(await seen(1, 3), softmax([0, 0, 0]));
    expectNumbers(await seen(3, 2), softmax([0, no], [0, 0], [0, 0]));
    expectNumbers(await seen(2, 4, 2), softmax([0, 0, 0, no], [0, 0, 0, 0]));
    expectNumbers(await seen(2, 4, 1), softmax([0, 0, no, no], [0, 0, 0, 0]));
    expectNumbers(await seen(1, 4, 1), softmax([0, 0, 0, 0]));
  });
  test("hidden by both, keys are hidden by causality", async () => {
    const [y] = await weights(3, 3, flags([1, 3], 0, 1, 1), attributes(-1, 1));
    expectNumbers(y, softmax([-1, no, no], [-1, 0, no], [-1, 0, 0]));
    expectNumbers((await weights(2, 3, i32(1), attributes(-1, 1)))[0], softmax([0, no, no], [0, -1, -1]));
  });
  test("scores are given with all that is added to them", async () => {
    const lowest = -3.4028234663852886e38;
    const scores = async (...args: Parameters<typeof weights>) => numbers((await weights(...args))[3]);
    const bias = f32([1, 1, 1, 3], [1, 2, 3]);
    expect(await scores(1, 3, i32(2), attributes(-8), { bias })).toEqual([1, 2, -5]);
    expect(await scores(2, 2, null, attributes(-8, 1))).toEqual([0, lowest, 0, 0].map(Math.fround));
    expect(await scores(2, 3, null, attributes(-8, 1), { past: 1 })).toEqual([0, 0, lowest, 0, 0, 0].map(Math.fround));
  });

  /** Attention on zero queries and unit vectors as values, for two samples. */
  const fused = (padding: HostTensor, filter?: number, keys = 4): Promise<HostTensor[]> => {
    const x = f32([2, keys, keys], [...eye(keys), ...eye(keys)]);
    const projection = f32([keys, 3 * keys], new Float32Array(3 * keys * keys));
    for (let i = 0; i < keys; i++) (projection.data as Float32Array)[i * 3 * keys + 2 * keys + i] = 1;
    return run("Attention", [x, projection, null, padding], 1, attributes(filter), { ...microsoft, device });
  };
  test("Attention takes the ends of keys and their starts", async () => {
    const rows = (row: number[]): number[][] => Array.from({ length: 4 }, () => row);
    const [y] = await fused(i32(3, 4, 1, 2));
    expectNumbers(y, softmax(...rows([no, 0, 0, no]), ...rows([no, no, 0, 0])));
    const [kept] = await fused(i32(3, 2, 0, 2), -1);
    expectNumbers(kept, softmax(...rows([0, 0, 0, -1]), ...rows([-1, -1, -1, -1])));
  });
  test("a mask of one column for several keys hides none", async () => {
    expectNumbers((await fused(flags([2, 1], 0, 1), -3.4e38))[0], new Array(32).fill(0.25));
    expectNumbers((await fused(flags([1, 1], 0), -3.4e38))[0], new Array(32).fill(0.25));
  });

  test("all that is ONNX Runtime's: values of onnxruntime-node 1.30 for inputs sin(step * i)", async () => {
    const wave = (step: number, ...shape: number[]): HostTensor => {
      const length = shape.reduce((a, b) => a * b, 1);
      return f32(
        shape,
        Array.from({ length }, (_, i) => Math.sin(step * i)),
      );
    };
    const [crossed] = await run(
      "MultiHeadAttention",
      [wave(1, 1, 3, 4), wave(2, 1, 5, 4), wave(3, 1, 5, 4), null, flags([1, 5], 1, 0, 1, 0, 1)],
      1,
      { ...attributes(-1, 1), num_heads: { int: 2 } },
      { ...microsoft, device },
    );
    expectNumbers(
      crossed,
      [
        [0, 0.14112, -0.27942, 0.41212],
        [-0.19706, 0.32812, -0.46263, 0.57706],
        [-0.54791, 0.57289, -0.58826, 0.60062],
      ].flat(),
    );
    const [positioned] = await run(
      "Attention",
      [wave(1, 2, 3, 2), wave(2, 2, 12), wave(3, 12), i32(3, 2, 1, 0)],
      1,
      { ...attributes(-1), num_heads: { int: 2 } },
      { ...microsoft, device },
    );
    expectNumbers(
      positioned,
      [
        [-1.19246, 1.71645, -1.09801, 0.68981],
        [-1.04723, 1.2234, -0.60055, 1.12432],
        [-1.03723, 0.47026, -0.40289, 1.11477],
        [-0.75962, 0.80716, -0.86216, 1.2121],
        [-0.63401, 0.67735, -0.69092, 1.39184],
        [-0.81459, 0.11987, -0.34873, 1.37525],
      ].flat(),
    );
  });
});

test("com.microsoft Attention goes on behind keys and values of before, with and without a mask", async () => {
  const x = random(1, 2, 4, 6);
  const rest = [random(2, 6, 18), random(3, 18)];
  const attributes = { num_heads: { int: 2 }, unidirectional: { int: 1 } };
  const part = (from: number, to: number): HostTensor => {
    const rows = [0, 1].map((b) => (x.data as Float32Array).slice((4 * b + from) * 6, (4 * b + to) * 6));
    return { dtype: "f32", shape: [2, to - from, 6], data: Float32Array.from(rows.flatMap((r) => [...r])) };
  };
  const ends = (n: number): HostTensor => {
    const data = Int32Array.from({ length: 2 * n }, (_, i) => (i === 1 ? 0 : 1));
    return { dtype: "i32", shape: [2, n], data };
  };
  for (const mask of [() => null, ends]) {
    const call = (from: number, to: number, past?: HostTensor) =>
      run("Attention", [part(from, to), ...rest, mask(to), ...(past ? [past] : [])], 2, attributes, microsoft);
    const [whole, all] = await call(0, 4);
    expect(all.shape).toEqual([2, 2, 2, 4, 3]);
    const [first, past] = await call(0, 1);
    const [second, present] = await call(1, 4, past);
    expectClose(present, all);
    for (const b of [0, 1]) {
      const got = [...numbers(first).slice(6 * b, 6 * b + 6), ...numbers(second).slice(18 * b, 18 * b + 18)];
      got.forEach((v, i) => void expect(v).toBeCloseTo(numbers(whole)[24 * b + i], 5));
    }
  }
});

describe("ai.onnx Attention", () => {
  test("past and present keys and values", async () => {
    const [q, k, v] = [random(1, 1, 4, 6), random(2, 1, 4, 6), random(3, 1, 4, 6)];
    const attributes = { q_num_heads: { int: 2 }, kv_num_heads: { int: 2 }, is_causal: { int: 1 } };
    const call = (from: number, to: number, past: HostTensor[] = []) =>
      run("Attention", [tokens(q, from, to), tokens(k, from, to), tokens(v, from, to), null, ...past], 3, attributes, {
        opset: 24,
      });
    const [whole, keys] = await call(0, 4);
    const [first, ...past] = await call(0, 2);
    const [second, present] = await call(2, 4, past);
    expectClose(first, tokens(whole, 0, 2));
    expectClose(second, tokens(whole, 2, 4));
    expectClose(present, keys);
  });
});
