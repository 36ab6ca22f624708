/** Branches and loop bodies: measured, stopped and planned like the graph around them; shapes that follow from values. */
import { describe, expect, test } from "vitest";
import { hostTensor, load } from "../../src/index.ts";
import { encodeModel, type GraphSpec, node } from "../onnx/encode.ts";

/** a -> a + step, for as long as `a` is below `limit`. */
const body: GraphSpec = {
  nodes: [node("Add", ["a", "step"], ["next"]), node("Less", ["next", "limit"], ["go"])],
  inputs: [
    { name: "i", dtype: "i64" },
    { name: "before", dtype: "bool" },
    { name: "a", dtype: "f32", shape: [1] },
  ],
  outputs: [{ name: "go" }, { name: "next" }],
};

const counting = encodeModel({
  nodes: [node("Loop", ["", "", "a0"], ["y"], { body: { graph: body } })],
  inputs: ["a0", "step", "limit"].map((name) => ({ name, dtype: "f32" as const, shape: [1] })),
  outputs: [{ name: "y", dtype: "f32", shape: [1] }],
});

const numbers = (a0: number, step: number, limit: number) => ({
  a0: Float32Array.of(a0),
  step: Float32Array.of(step),
  limit: Float32Array.of(limit),
});

describe("a loop", () => {
  test("is explained with the time of all its turns", async () => {
    using session = await load(counting, { device: "cpu" });
    await session.run(numbers(0, 1, 4), { profile: true });
    const steps = session.explain().map((s) => s.op);
    expect(steps).toEqual(["add", "less"]);
    const once = session.explain().map((s) => s.ms!);
    for (const ms of once) expect(ms).toBeGreaterThan(0);
    await session.run(numbers(0, 1, 20_000), { profile: true });
    const often = session.explain().map((s) => s.ms!);
    expect(often[0]).toBeGreaterThan(once[0]);
  });

  test("without an end stops when asked", async () => {
    using session = await load(counting, { device: "cpu" });
    const aborted = session.run(numbers(0, 0, 1), { signal: AbortSignal.timeout(50) });
    await expect(aborted).rejects.toMatchObject({ name: "TimeoutError" });
    expect((await session.run(numbers(0, 1, 3)))["y"].data).toEqual(Float32Array.of(3));
  });
});

test("a shape that the caller changed in place makes a new plan", async () => {
  using session = await load(
    encodeModel({
      nodes: [node("Reshape", ["x", "shape"], ["y"])],
      inputs: [
        { name: "x", dtype: "f32", shape: [6] },
        { name: "shape", dtype: "i64", shape: [2] },
      ],
      outputs: [{ name: "y", dtype: "f32" }],
    }),
    { device: "cpu" },
  );
  const x = hostTensor(new Float32Array(6));
  const shape = hostTensor(BigInt64Array.of(2n, 3n));
  expect((await session.run({ x, shape }))["y"].shape).toEqual([2, 3]);
  (shape.data as BigInt64Array).set([3n, 2n]);
  expect((await session.run({ x, shape }))["y"].shape).toEqual([3, 2]);
});

test("a shape may be computed by more nodes than the call stack is deep", async () => {
  const n = 8000;
  const sums = Array.from({ length: n }, (_, k) => node("Add", [k ? `a${k - 1}` : "i", "one"], [`a${k}`]));
  using session = await load(
    encodeModel({
      nodes: [...sums, node("Reshape", ["x", `a${n - 1}`], ["y"])],
      initializers: { one: hostTensor([1n]) },
      inputs: [
        { name: "x", dtype: "f32", shape: [2] },
        { name: "i", dtype: "i64", shape: [1] },
      ],
      outputs: [{ name: "y", dtype: "f32" }],
    }),
    { device: "cpu" },
  );
  const run = (rows: number) => session.run({ x: Float32Array.of(1, 2), i: BigInt64Array.of(BigInt(rows - n)) });
  expect((await run(2))["y"].shape).toEqual([2]);
  await expect(run(3)).rejects.toThrow(/reshape/);
});
