/**
 * Constant matrices kept in fewer bits than f32 takes, in panels of eight columns side by side: 16-bit floats, and the
 * blocks of GGUF files. What products with them, and rows out of them, are made of.
 */
import type { Prepack } from "../../backend.ts";
import type { Func } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import type { Fma } from "./gemm-tile.ts";

/** Addresses: a panel, the first row of activations, results; `ldo`: bytes between rows of these. */
export const dotParams = { w: "i32", x: "i32", out: "i32", ldo: "i32" } as const;
export type DotFunction = Func<typeof dotParams, undefined>;

/**
 * One row of activations, and `groups` panels that follow one another, as their results do: up to `pairs` pairs in turn, see
 * row-walk.ts. How many, and which panels are together, changes no bit of a result.
 */
export const rowParams = { w: "i32", x: "i32", out: "i32", groups: "i32", pairs: "i32" } as const;
export type RowFunction = Func<typeof rowParams, undefined>;

/** Rows of activations that one pass over the weights serves: see the header of quantized-dot.ts. */
export const mostRowsOf = (fma: Fma): number => (fma > 4 ? 4 : 3);

/** Writes the f32 of the panel that lies at [w, end) to `out`: for each k its eight numbers, as kernels/gemm.ts wants them. */
export const panelParams = { w: "i32", end: "i32", out: "i32" } as const;
export type PanelFunction = Func<typeof panelParams, undefined>;

/** Panels that a product widens one by one. */
export interface StoredPanels {
  readonly name: string;
  /** Bytes of `unit` steps of k of a panel. */
  readonly bytes: number;
  readonly unit: number;
  /** Bytes from a panel's end to the next one. */
  readonly tail?: number;
  readonly widen: PanelFunction;
  /** What happens to activations first: each becomes a float again. */
  readonly round?: ActivationFunction;
}

/** Writes `count` activations at `x`, whole rows, in another form to `to`. */
export type ActivationFunction = Func<{ readonly x: "i32"; readonly to: "i32"; readonly count: "i32" }, undefined>;

export interface StoredMatrix {
  /** Columns of the panels, and their depth. */
  readonly n: number;
  readonly k: number;
  readonly prepack: Prepack;
  /** Bytes of a panel. */
  readonly groupBytes: number;
  /** Bytes of a row of activations, as `dot` wants them. */
  readonly activationBytes: number;
  /** From how many rows of activations on the product of floats is faster. */
  readonly manyRows: number;
  /** Prepares activations: those of one name make the same. Missing: they are taken as they are. */
  readonly activations?: { readonly name: string; emit(e: StepEmitter): ActivationFunction };
  /** Pairs of panels in turn for one row, where there are many. */
  readonly pairs: number;
  row(e: StepEmitter): RowFunction;
  /** For two rows and more. */
  dot(e: StepEmitter, rows: number): DotFunction;
  /** @param exact activations stay as they are: rows are not what `dot` makes of them */
  panels(e: StepEmitter, exact?: boolean): StoredPanels;
}
