/** Lowerings that rewrite: einsum as matmul, and the softmax of old opsets. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { load } from "../../src/index.ts";
import { einsum } from "../../src/ops/einsum.ts";
import { softmax } from "../../src/ops/softmax.ts";
import { type HostTensor, reshaped } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { evaluate } from "../ops/evaluate.ts";
import { type AttributeSpec, encodeModel } from "./encode.ts";

async function run(
  type: string,
  inputs: readonly HostTensor[],
  attributes: Record<string, AttributeSpec>,
  { opset = 17, free = false } = {},
): Promise<HostTensor> {
  const ports = inputs.map((t, i) => ({
    name: `x${i}`,
    dtype: t.dtype,
    shape: t.shape.map((d, k) => (free ? `x${i}_${k}` : d)),
  }));
  const node = { type, inputs: ports.map((p) => p.name), outputs: ["y"], attributes };
  const model = await load(encodeModel({ opset, nodes: [node], inputs: ports, outputs: [{ name: "y" }] }), {
    device: "cpu",
  });
  const { y } = await model.run(Object.fromEntries(inputs.map((t, i) => [`x${i}`, t])));
  model.dispose();
  return y;
}

function expectClose(got: HostTensor, want: HostTensor): void {
  expect(got.shape).toEqual(want.shape);
  (got.data as Float32Array).forEach((v, i) => {
    expect(v).toBeCloseTo(want.data[i] as number, 4);
  });
}

/** Two terms over few letters, without repeats, and an output that takes some of their letters in any order. */
const products = fc
  .tuple(
    fc.shuffledSubarray([..."abcde"], { minLength: 0, maxLength: 4 }),
    fc.shuffledSubarray([..."abcde"], { minLength: 0, maxLength: 4 }),
    fc.infiniteStream(fc.nat()),
    fc.boolean(),
  )
  .map(([a, b, random, explicit]) => {
    const letters = [...new Set([...a, ...b])].filter(() => random.next().value % 3 > 0);
    const order = letters.map((c) => [random.next().value, c] as const).sort((x, y) => x[0] - y[0]);
    return { a, b, equation: `${a.join("")},${b.join("")}${explicit ? `->${order.map((o) => o[1]).join("")}` : ""}` };
  });

test("a product of two operands is einsum, as a matmul", async () => {
  const sizes: Record<string, number> = { a: 2, b: 3, c: 4, d: 1, e: 5 };
  await fc.assert(
    fc.asyncProperty(products, fc.integer(), fc.boolean(), async ({ a, b, equation }, seed, free) => {
      const inputs = [a, b].map((term, i) =>
        tensorFrom(
          seed + i,
          "f32",
          term.map((c) => sizes[c]),
        ),
      );
      const want = evaluate(einsum, inputs, { equation });
      expectClose(await run("Einsum", inputs, { equation: { string: equation } }, { free }), want);
    }),
    { numRuns: 60 },
  );
});

test("before opset 13 softmax is over everything from its axis on", async () => {
  const x = tensorFrom(1, "f32", [2, 3, 4]);
  for (const free of [false, true])
    for (const [axis, rows] of [
      [0, [1, 24]],
      [1, [2, 12]],
      [2, [6, 4]],
      [-1, [6, 4]],
      [-2, [2, 12]],
    ] as const) {
      const want = reshaped(evaluate(softmax, [reshaped(x, rows)]), x.shape);
      expectClose(await run("Softmax", [x], { axis: { int: axis } }, { opset: 11, free }), want);
    }
});
