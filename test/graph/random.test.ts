/** Random operators in sessions: one value in each run, another in the next, and shapes that follow from it. */
import { describe, expect, test } from "vitest";
import { load } from "../../src/index.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { encodeModel, type ModelSpec, node } from "../onnx/encode.ts";

const ones = (n: number, shape = [n]) => hostTensor(new Float32Array(n).fill(1), { shape });
const constants: ModelSpec["initializers"] = {
  p: hostTensor(new Float32Array(64).fill(0.5)),
  logits: ones(64, [1, 64]),
  x: ones(64),
  ratio: hostTensor(0.5),
  training: { dtype: "bool", shape: [], data: Uint8Array.of(1) },
};
const fresh: Record<string, ReturnType<typeof node>> = {
  RandomNormal: node("RandomNormal", [], ["y"], { shape: { ints: [64] } }),
  RandomUniformLike: node("RandomUniformLike", ["x"], ["y"]),
  Bernoulli: node("Bernoulli", ["p"], ["y"]),
  Multinomial: node("Multinomial", ["logits"], ["y"], { sample_size: { int: 64 } }),
  "Dropout in training": node("Dropout", ["x", "ratio", "training"], ["y"]),
};

describe.each(["cpu", "wasm"] as const)("on %s", (device) => {
  for (const optimize of [true, false])
    test.each(Object.entries(fresh))(`%s draws in every run, optimize ${optimize}`, async (_, drawing) => {
      const model = encodeModel({
        opset: 18,
        nodes: [drawing, node("Identity", ["y"], ["same"])],
        initializers: constants,
        outputs: [{ name: "y" }, { name: "same" }],
      });
      using session = await load(model, { device, optimize });
      const [a, b] = [await session.run({}), await session.run({})];
      expect(a["same"]).toEqual(a["y"]);
      expect(b["same"]).toEqual(b["y"]);
      expect(b["y"].data).not.toEqual(a["y"].data);
      expect(session.runSync({})["y"].data).not.toEqual(b["y"].data);
    });

  test("every turn of a loop draws", async () => {
    const body = {
      nodes: [node("Identity", ["c"], ["go"]), node("RandomNormal", [], ["r"], { shape: { ints: [1] } })],
      inputs: [
        { name: "i", dtype: "i64" as const },
        { name: "c", dtype: "bool" as const },
      ],
      outputs: [{ name: "go" }, { name: "r" }],
    };
    const model = encodeModel({
      nodes: [node("Loop", ["m"], ["y"], { body: { graph: body } })],
      initializers: { m: hostTensor([3n]) },
      outputs: [{ name: "y" }],
    });
    using session = await load(model, { device });
    expect(new Set((await session.run({}))["y"].data as Float32Array).size).toBe(3);
  });

  test("a shape follows from the value that the run has", async () => {
    const model = encodeModel({
      opset: 18,
      nodes: [
        node("RandomUniform", [], ["r"], { shape: { ints: [1] }, low: { float: 1 }, high: { float: 1000 } }),
        node("Cast", ["r"], ["k"], { to: { int: 7 } }),
        node("ConstantOfShape", ["k"], ["y"]),
      ],
      outputs: [{ name: "k" }, { name: "y" }],
    });
    using session = await load(model, { device });
    const lengths = new Set<number>();
    for (let i = 0; i < 4; i++) {
      const { k, y } = await session.run({});
      expect(y.shape).toEqual([Number(k.data[0])]);
      lengths.add(y.shape[0]);
    }
    expect(lengths.size).toBeGreaterThan(1);
  });

  test("with a seed every run is the same", async () => {
    const drawing = node("RandomNormalLike", ["x"], ["y"], { seed: { float: 7 } });
    using session = await load(
      encodeModel({ nodes: [drawing], inputs: [{ name: "x", dtype: "f32", shape: [64] }], outputs: [{ name: "y" }] }),
      { device },
    );
    const x = ones(64);
    expect(await session.run({ x })).toEqual(await session.run({ x }));
  });
});
