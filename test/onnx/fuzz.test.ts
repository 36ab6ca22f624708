/** Files with broken bytes: cut off, changed, spliced, lengths that lie. They run, or give typed errors. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostTensor } from "../../src/index.ts";
import { encodeModel, type GraphSpec, type ModelSpec } from "./encode.ts";
import { survives } from "./hostile.ts";

const node = (type: string, inputs: string[], outputs: string[], attributes = {}) => ({
  type,
  inputs,
  outputs,
  attributes,
});
const f32 = (...values: number[]) => hostTensor(values);

const mlp: ModelSpec = {
  nodes: [
    node("MatMul", ["x", "w"], ["h"]),
    node("Add", ["h", "b"], ["a"]),
    node("Relu", ["a"], ["r"]),
    node("Reshape", ["r", "shape"], ["q"], { allowzero: { int: 0 } }),
    node("Softmax", ["q"], ["y"], { axis: { int: -1 } }),
  ],
  inputs: [{ name: "x", dtype: "f32", shape: ["batch", 3] }],
  outputs: [{ name: "y", dtype: "f32" }],
  initializers: {
    w: hostTensor(new Float32Array(6), { shape: [3, 2] }),
    b: f32(1, 2),
    shape: hostTensor([-1n, 2n]),
  },
};

const body: GraphSpec = {
  nodes: [node("Add", ["a", "step"], ["a2"]), node("Less", ["a2", "limit"], ["go"])],
  inputs: [
    { name: "i", dtype: "i64" },
    { name: "c", dtype: "bool" },
    { name: "a", dtype: "f32", shape: [1] },
  ],
  outputs: [{ name: "go" }, { name: "a2" }],
  initializers: { limit: f32(5) },
};
const looping: ModelSpec = {
  nodes: [
    node("Loop", ["m", "", "a0"], ["last"], { body: { graph: body } }),
    node("SequenceConstruct", ["last", "a0"], ["s"]),
    node("ConcatFromSequence", ["s"], ["y"], { axis: { int: 0 } }),
  ],
  inputs: [
    { name: "m", dtype: "i64", shape: [] },
    { name: "a0", dtype: "f32", shape: [1] },
    { name: "step", dtype: "f32", shape: [1] },
  ],
  outputs: [{ name: "y" }],
};

const calling: ModelSpec = {
  nodes: [
    { type: "Scale", inputs: ["x"], outputs: ["h"], domain: "local", attributes: { factor: { float: 2 } } },
    node("Conv", ["h", "k"], ["c"], { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } }),
    node("Cast", ["c"], ["y"], { to: { int: 10 } }),
  ],
  inputs: [{ name: "x", dtype: "f32", shape: [1, 1, 4, 4] }],
  outputs: [{ name: "y", dtype: "f16" }],
  initializers: { k: hostTensor(new Float32Array(9), { shape: [1, 1, 3, 3] }) },
  metadata: { author: "tests" },
  functions: [
    {
      name: "Scale",
      domain: "local",
      inputs: ["v"],
      outputs: ["r"],
      attributes: ["factor"],
      nodes: [
        node("Constant", [], ["k"], { value_float: { reference: "factor", kind: 1 } }),
        node("Mul", ["v", "k"], ["r"]),
      ],
    },
  ],
};

const models = Object.entries({ mlp, looping, calling }).map(([name, m]) => [name, encodeModel(m)] as const);

const value = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 0x7f, 0x80, 0xff));
const kind = (...kinds: Edit["kind"][]): fc.Arbitrary<Edit> =>
  fc.record({ kind: fc.constantFrom(...kinds), at: fc.nat(1 << 20), value });
const edit = fc.oneof(
  { weight: 4, arbitrary: kind("replace", "flip") },
  kind("remove", "insert", "double", "splice", "length"),
);

interface Edit {
  readonly kind: "replace" | "flip" | "remove" | "insert" | "double" | "splice" | "length";
  /** Where, wrapped around. */
  readonly at: number;
  readonly value: number;
}

function apply(file: number[], { kind, at: anywhere, value }: Edit): number[] {
  const at = file.length ? anywhere % file.length : 0;
  const [head, tail] = [file.slice(0, at), file.slice(at)];
  switch (kind) {
    case "replace":
      return [...head, value, ...tail.slice(1)];
    case "flip":
      return [...head, (tail[0] ?? 0) ^ (1 << (value & 7)), ...tail.slice(1)];
    case "remove":
      return [...head, ...tail.slice(1 + (value % 8))];
    case "insert":
      return [...head, value, ...tail];
    case "double":
      return [...head, ...head.slice(-value), ...tail];
    case "splice": {
      const other = models[value % models.length][1];
      const from = anywhere % other.length;
      return [...head, ...other.subarray(from, from + 1 + (value >> 2)), ...tail];
    }
    case "length":
      // A varint of up to five bytes, which as a length is from 128 to 2^35.
      return [...head, ...Array(1 + (value % 4)).fill(0x80 | value), value & 0x7f, ...tail.slice(1)];
  }
}

describe.each(models)("%s", (_, bytes) => {
  test("cut off anywhere", async () => {
    for (let length = 0; length < bytes.length; length++) await survives(bytes.slice(0, length), "cpu");
  });

  test("10,000 times with some bytes changed, and run", async () => {
    const results = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const result = await survives(Uint8Array.from(edits.reduce(apply, Array.from(bytes))), "cpu");
        results.set(result, (results.get(result) ?? 0) + 1);
      }),
      { numRuns: Number(process.env["FORWARDPASS_RUNS"] ?? 10_000) },
    );
    // Files that all fail in the reader would show nothing of what comes after it. Which errors come
    // from there is a matter of chance: a wrong shape is one in thousands for a model of scalars.
    expect([...results.keys()]).toEqual(expect.arrayContaining(["ran", "FormatError"]));
    expect(["ShapeError", "DTypeError", "InputError", "UnsupportedOpError"].some((name) => results.has(name))).toBe(
      true,
    );
  }, 120_000);
});
