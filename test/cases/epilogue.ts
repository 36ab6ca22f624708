/** Generated epilogues of products and convolutions. */
import fc from "fast-check";
import type { Activation } from "../../src/ops/activation.ts";

/** One of each kind of activation that products are fused with, or none. */
export const activation: fc.Arbitrary<Activation | undefined> = fc.constantFrom(
  undefined,
  { kind: "relu" },
  { kind: "clip", min: -1, max: 2.5 },
  { kind: "clip", min: 0.5, max: -0.25 },
  { kind: "leakyRelu", alpha: 0.1 },
  { kind: "sigmoid" },
  { kind: "tanh" },
  { kind: "silu" },
  { kind: "gelu" },
  { kind: "hardSwish" },
);

/** A dimension: mostly small, sometimes past any tile. */
export const extent = (large: number): fc.Arbitrary<number> =>
  fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 9 }) }, fc.integer({ min: 1, max: large }));
