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
  { domain = "", opset = 21 } = {},
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
  const model = await load(bytes, { device: "cpu" });
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
  test("the bias has a part for each of query, key and value", async () => {
    const bias = random(4, 24);
    const part = (x: HostTensor, p: number): HostTensor => {
      const b = numbers(bias).slice(8 * p, 8 * p + 8);
      return { ...x, data: (x.data as Float32Array).map((e, i) => e + b[i % 8]) };
    };
    const [want] = await run("MultiHeadAttention", [part(q, 0), part(k, 1), part(v, 2)], 1, attributes, microsoft);
    expectClose((await mha(bias))[0], want);
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
