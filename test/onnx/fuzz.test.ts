/** Mutated and truncated models: typed errors only, promptly, without big allocations. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { importOnnx } from "../../src/formats/onnx/index.ts";
import { ForwardpassError, hostTensor } from "../../src/index.ts";
import { encodeModel, type GraphSpec, type ModelSpec } from "./encode.ts";

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

/** Anything else than an import or a typed error is a bug; so are big allocations for a file of a few hundred bytes. */
async function survives(bytes: Uint8Array): Promise<void> {
  const before = process.memoryUsage().arrayBuffers;
  try {
    await importOnnx(bytes);
  } catch (e) {
    if (!(e instanceof ForwardpassError)) throw e;
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
}

const models = Object.entries({ mlp, looping, calling }).map(([name, m]) => [name, encodeModel(m)] as const);

describe.each(models)("%s", (_, bytes) => {
  test("cut off anywhere", async () => {
    for (let length = 0; length < bytes.length; length++) await survives(bytes.slice(0, length));
  });

  test("3,500 times with some bytes replaced, removed, doubled or inserted", async () => {
    const at = fc.nat({ max: bytes.length - 1 });
    const value = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 0x7f, 0x80, 0xff));
    const edit = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant("replace" as const), at, value }) },
      fc.record({ kind: fc.constantFrom("remove" as const, "insert" as const, "double" as const), at, value }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        let mutated = Array.from(bytes);
        for (const e of edits) {
          if (e.kind === "replace") mutated[e.at % mutated.length] = e.value;
          else if (e.kind === "remove") mutated.splice(e.at, 1 + (e.value % 8));
          else if (e.kind === "insert") mutated.splice(e.at, 0, e.value);
          else mutated = [...mutated.slice(0, e.at), ...mutated.slice(Math.max(0, e.at - e.value))];
        }
        await survives(Uint8Array.from(mutated));
      }),
      { numRuns: 3500 },
    );
  }, 60_000);
});
