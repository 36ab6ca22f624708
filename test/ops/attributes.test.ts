import { expect, test } from "vitest";
import { conv, graph, InputError, relu, softmax, tensor } from "../../src/index.ts";
import * as operators from "../../src/ops/index.ts";
import type { AnyOp } from "../../src/ops/op.ts";

const x = tensor(new Float32Array(16), { shape: [1, 1, 4, 4] });
const w = tensor(new Float32Array(4), { shape: [1, 1, 2, 2] });

test("an attribute that an operator doesn't have is refused where it is written", () => {
  const strides = 'conv: unknown option "stride"; did you mean "strides"? There are: groups, kernelShape, strides, ';
  expect(() => conv(x, w, { stride: [2, 2] } as object)).toThrow(InputError);
  expect(() => conv(x, w, { stride: [2, 2] } as object)).toThrow(strides);
  expect(() => softmax(x, { axes: -1 } as object)).toThrow('softmax: unknown option "axes"');
  expect(() => relu(x, { alpha: 0.1 } as never)).toThrow(new InputError('relu: has no attributes, got "alpha"'));
  const wrong = () => graph(({ input }) => ({ y: softmax(input("x", "f32", [2]), { dim: 0 } as object) }));
  expect(wrong).toThrow('softmax: unknown option "dim"');
});

test("attributes may be undefined", async () => {
  expect(await softmax(tensor([1, 1]), { axis: undefined, axes: undefined } as object).data()).toEqual(
    Float32Array.of(0.5, 0.5),
  );
  expect(() => relu(x, {} as never)).not.toThrow();
});

test("operators are called what they are exported as: the table goes by that", () => {
  const named = Object.entries(operators).filter(([, op]) => typeof op === "function" && "op" in op);
  expect(named.length).toBeGreaterThan(200);
  for (const [name, op] of named) expect((op as unknown as AnyOp).op.name).toBe(name);
});
