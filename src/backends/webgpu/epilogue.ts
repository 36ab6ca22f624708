/** What products do to a sum before they store it: act(alpha sum + beta bias + residual). */
import type { Activation } from "../../ops/activation.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { activated } from "./activations.ts";
import type { Binding } from "./step.ts";
import { type GpuTarget, type Scalar, type Storage, storageOf } from "./target.ts";
import { type Lanes, literal, loaded, read, stored, typeName, write } from "./wgsl.ts";

export interface Epilogue {
  readonly alpha?: number;
  readonly beta?: number;
  /** Input 2, one element for each step of these strides over rows and columns. */
  readonly bias?: { readonly type: TensorType; readonly row: number; readonly column: number };
  /** Input 3, shaped like the result. */
  readonly residual?: TensorType;
  readonly activation?: Activation;
}

export interface EpilogueCode {
  /** Of the bias, the residual and the result `y`. */
  readonly bindings: readonly Binding[];
  /** Statements that store a sum (one, or four with `lanes` 4) at element `at` of the result. */
  store(sum: string, at: string, row: string, column: string): string;
}

/** @param lanes 4: rows of the result are whole vectors */
export function epilogueCode(
  target: GpuTarget,
  y: TensorType,
  { alpha = 1, beta = 1, bias, residual, activation }: Epilogue,
  lanes: Lanes,
): EpilogueCode | undefined {
  const result = storageOf(target, y.dtype);
  const biased = bias && storageOf(target, bias.type.dtype);
  if (!result || (bias && !biased)) return undefined;
  const T = typeName(result.scalar, lanes);
  const bindings = [write("y", { output: 0 }, typeName(result.element, lanes))];
  if (bias) bindings.push(read("bias", { input: 2 }, biased!.element));
  if (residual) bindings.push(read("residual", { input: 3 }, typeName(result.element, lanes)));
  return {
    bindings,
    store(sum, at, row, column) {
      const index = lanes === 4 ? `(${at}) / 4u` : at;
      const terms = [factor(alpha, result.scalar) + sum];
      if (bias) terms.push(factor(beta, result.scalar) + biasAt(bias, biased!, lanes, T, row, column));
      if (residual) terms.push(loaded(result, lanes, `residual[${index}]`));
      return `let total = ${terms.join(" + ")}; y[${index}] = ${stored(result, lanes, activated(activation, "total"))};`;
    },
  };
}

const factor = (v: number, scalar: Scalar): string =>
  v === 1 ? "" : scalar === "f32" ? `${literal(v)} * ` : `${scalar}(${Math.trunc(v)}) * `;

function biasAt(
  { row, column }: NonNullable<Epilogue["bias"]>,
  storage: Storage,
  lanes: Lanes,
  T: string,
  r: string,
  c: string,
): string {
  const element = (offset: string) => loaded(storage, 1, `bias[${r} * ${row}u + (${c}${offset}) * ${column}u]`);
  if (lanes === 1 || column === 0) return lanes === 1 ? element("") : `${T}(${element("")})`;
  return `${T}(${[" + 0u", " + 1u", " + 2u", " + 3u"].map(element).join(", ")})`;
}
