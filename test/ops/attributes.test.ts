import { expect, test } from "vitest";
import * as ops from "../../src/index.ts";
import { conv, graph, InputError, relu, softmax, tensor } from "../../src/index.ts";
import * as operators from "../../src/ops/index.ts";
import type { AnyOp, AttrsOf } from "../../src/ops/op.ts";

const x = tensor(new Float32Array(16), { shape: [1, 1, 4, 4] });
const w = tensor(new Float32Array(4), { shape: [1, 1, 2, 2] });

/** One step of one unit. */
const lstm = (attrs: AttrsOf<typeof ops.lstm>) => {
  const gates = tensor(new Float32Array(4), { shape: [1, 4, 1] });
  return ops.lstm(tensor([[[1]]]), gates, gates, undefined, undefined, undefined, undefined, undefined, attrs);
};

test("an attribute that an operator doesn't have is refused where it is written", () => {
  const strides = 'conv: unknown option "stride"; did you mean "strides"? There are: groups, kernelShape, strides, ';
  expect(() => conv(x, w, { stride: [2, 2] } as object)).toThrow(InputError);
  expect(() => conv(x, w, { stride: [2, 2] } as object)).toThrow(strides);
  expect(() => softmax(x, { axes: -1 } as object)).toThrow('softmax: unknown option "axes"');
  expect(() => relu(x, { alpha: 0.1 } as never)).toThrow(new InputError('relu: has no attributes, got "alpha"'));
  const wrong = () => graph(({ input }) => ({ y: softmax(input("x", "f32", [2]), { dim: 0 } as object) }));
  expect(wrong).toThrow('softmax: unknown option "dim"');
});

test.each<[string, () => unknown, string]>([
  [
    "a word that there is none of",
    () => ops.normalizer(x, { norm: "l2" as never }),
    'norm takes MAX, L1, L2, got "l2"',
  ],
  [
    "one of several",
    () => ops.resize(x, undefined, x, { mode: "bilinear" as never }),
    "mode takes nearest, linear, cubic",
  ],
  ["one that is required", () => ops.bitShift(x, x, { direction: "LEFT" as never }), "direction takes left, right"],
  ["an activation's name", () => conv(x, w, { activation: "relu" as never }), 'conv: "relu" is no activation'],
  ["an activation that is none", () => ops.gemm(x, x, { activation: { kind: "foo" } as never }), "is no activation"],
  ["an activation without its number", () => conv(x, w, { activation: { kind: "elu" } as never }), "is no activation"],
  ["a cell's activations", () => ops.rnn(x, x, x, { activations: ["tanh" as never] }), 'rnn: "tanh" is no activation'],
  [
    "a cell's number of activations",
    () => lstm({ activations: [{ kind: "tanh" }] }),
    "lstm: takes 3 activations, got 1",
  ],
  ["what is missing", () => ops.maxPool(x, {} as never), "maxPool: kernelShape is missing"],
  ["all that is missing", () => (ops.einsum as (x: unknown) => unknown)(x), "einsum: equation is missing"],
])("%s is refused where it is written", (_, call, message) => {
  expect(call).toThrow(InputError);
  expect(call).toThrow(message);
});

test("activations that there are are taken", async () => {
  for (const activation of [{ kind: "clip", min: -Infinity, max: 6 }, { kind: "gelu" }] as const)
    expect((await conv(x, w, { activation }).data()).length).toBe(9);
  const cell = [{ kind: "affine", alpha: 1, beta: 0 }] as const;
  expect(() => ops.rnn(tensor([[[1]]]), tensor([[[1]]]), tensor([[[1]]]), { activations: cell })).not.toThrow();
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
