import fc from "fast-check";
import { gru } from "../../src/ops/gru.ts";
import { lstm } from "../../src/ops/lstm.ts";
import type { CellActivation } from "../../src/ops/recurrent.ts";
import { rnn } from "../../src/ops/rnn.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { opCase, tensorFrom } from "./case.ts";

const cell = fc.constantFrom<CellActivation>(
  { kind: "sigmoid" },
  { kind: "tanh" },
  { kind: "relu" },
  { kind: "hardSigmoid", alpha: 0.2, beta: 0.5 },
  { kind: "softsign" },
  { kind: "affine", alpha: 0.5, beta: 0.1 },
  { kind: "scaledTanh", alpha: 0.9, beta: 0.7 },
);

const dim = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
/** Now and then one of them is large: more steps or samples than kernels take at once, more units than a tile has. */
const sizes = fc
  .tuple(
    fc.record({ seq: dim(6), batch: dim(4), input: dim(9), hidden: dim(11) }),
    fc.constantFrom({}, {}, {}, { seq: 130 }, { seq: 45, batch: 3 }, { batch: 13 }, { hidden: 37 }, { input: 70 }),
  )
  .map(([small, large]) => ({ ...small, ...large }));
const sometimes = fc.boolean();

/** Inputs that all cells have, for `gates` gates, and a maker for the others. */
const recurrent = (gates: number, functions: number) =>
  fc
    .record({
      seed: fc.integer(),
      dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64", "f16"),
      sizes,
      direction: fc.constantFrom(undefined, "forward" as const, "reverse" as const, "bidirectional" as const),
      batchFirst: sometimes,
      bias: sometimes,
      lengths: sometimes,
      state: sometimes,
      peepholes: fc.constantFrom(false, false, true),
      flag: sometimes,
      clip: fc.constantFrom(undefined, undefined, undefined, 0.4),
      activations: fc.oneof(
        { weight: 3, arbitrary: fc.constant(undefined) },
        fc.array(cell, { minLength: 2 * functions, maxLength: 2 * functions }),
      ),
    })
    .map((c) => {
      const { batchFirst } = c;
      const { seq, batch, input, hidden } = c.sizes;
      const directions = c.direction === "bidirectional" ? 2 : 1;
      // Weights shrink with the width, so that activations stay out of saturation.
      const make = (i: number, shape: number[], max = 1) => tensorFrom(c.seed + i, c.dtype, shape, { min: -max, max });
      const scale = 1.5 / Math.sqrt(Math.max(input, hidden));
      const states = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
      return {
        flag: c.flag,
        inputs: [
          make(0, batchFirst ? [batch, seq, input] : [seq, batch, input]),
          make(1, [directions, gates * hidden, input], scale),
          make(2, [directions, gates * hidden, hidden], scale),
          c.bias ? make(3, [directions, 2 * gates * hidden]) : undefined,
          c.lengths ? tensorFrom(c.seed + 4, "i32", [batch], { min: 0, max: seq }) : undefined,
          c.state ? make(5, states) : undefined,
        ],
        cellState: c.state ? make(6, states) : undefined,
        peepholes: c.peepholes ? make(7, [directions, 3 * hidden]) : undefined,
        attrs: {
          direction: c.direction,
          batchFirst,
          clip: c.clip,
          activations: c.activations?.slice(0, directions * functions),
        },
      };
    });

export const recurrentCases = {
  lstm: fc.tuple(recurrent(4, 3), sometimes).map(([{ inputs, cellState, peepholes, attrs, flag }, quantize]) =>
    opCase(lstm, [...inputs, cellState, peepholes], {
      ...attrs,
      inputForget: flag,
      quantizeState: quantize && inputs[0]?.dtype === "f32",
    }),
  ),
  gru: recurrent(3, 2).map(({ inputs, attrs, flag }) => opCase(gru, inputs, { ...attrs, linearBeforeReset: flag })),
  rnn: recurrent(1, 1).map(({ inputs, attrs }) => opCase(rnn, inputs, attrs)),
};
