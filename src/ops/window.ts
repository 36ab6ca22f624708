/**
 * Sliding windows over the spatial axes of [batch, channels, ...spatial] tensors, any number of them: what convolutions
 * and poolings share. Semantics of ONNX Conv-22 and MaxPool-22.
 */
import type { Shape } from "../tensor/shape.ts";
import { sizeOf, stridesOf } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";

/** Padding by rule: `same*` keeps ceil(input / stride) positions, an odd pixel goes to the named side. */
export type AutoPad = "notset" | "sameUpper" | "sameLower" | "valid";

export interface WindowAttrs {
  /** Step between windows, one per spatial axis. Default 1. */
  strides?: readonly number[];
  /** Distance between taps of the kernel. Default 1. */
  dilations?: readonly number[];
  /** Elements added: begin of every spatial axis, then end of every one. Default 0; not used with autoPad. */
  pads?: readonly number[];
  autoPad?: AutoPad;
}

/** Where every window lies. All arrays have one entry per spatial axis. */
export interface Window {
  readonly input: readonly number[];
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padBegin: readonly number[];
  readonly padEnd: readonly number[];
  readonly output: readonly number[];
}

/** Extent of the kernel along each axis, holes included. */
export const kernelExtent = (kernel: readonly number[], dilations: readonly number[]): number[] =>
  kernel.map((k, i) => (k - 1) * dilations[i] + 1);

/** A list of one number per spatial axis, checked; `least` for each where there is none. */
export function perAxis(
  op: string,
  name: string,
  values: readonly number[] | undefined,
  rank: number,
  least: number,
): readonly number[] {
  if (values === undefined) return new Array<number>(rank).fill(least);
  if (values.length !== rank || !values.every((v) => Number.isInteger(v) && v >= least))
    shapeError(op, `${name} [${values}] must be ${rank} whole numbers of at least ${least}`);
  return values;
}

/**
 * The windows of `kernel` over `input` (spatial dimensions only).
 * @param ceil round the number of windows up; windows that would start in the end padding are dropped
 * @throws ShapeError for attributes that don't fit, or a kernel larger than the padded input
 */
export function resolveWindow(op: string, input: Shape, kernel: Shape, attrs: WindowAttrs, ceil = false): Window {
  const rank = input.length;
  if (kernel.length !== rank) shapeError(op, `kernel [${kernel}] and input [${input}] differ in spatial axes`);
  perAxis(op, "kernel", kernel, rank, 1);
  const strides = perAxis(op, "strides", attrs.strides, rank, 1);
  const dilations = perAxis(op, "dilations", attrs.dilations, rank, 1);
  const extent = kernelExtent(kernel, dilations);
  const autoPad = attrs.autoPad ?? "notset";
  let padBegin: readonly number[] = new Array<number>(rank).fill(0);
  let padEnd = padBegin;
  let output: number[];
  if (autoPad === "sameUpper" || autoPad === "sameLower") {
    output = input.map((n, i) => Math.ceil(n / strides[i]));
    const total = input.map((n, i) => Math.max(0, (output[i] - 1) * strides[i] + extent[i] - n));
    const smaller = total.map((t) => Math.floor(t / 2));
    const larger = total.map((t) => Math.ceil(t / 2));
    [padBegin, padEnd] = autoPad === "sameUpper" ? [smaller, larger] : [larger, smaller];
  } else {
    if (autoPad === "notset") {
      const pads = perAxis(op, "pads", attrs.pads, 2 * rank, 0);
      padBegin = pads.slice(0, rank);
      padEnd = pads.slice(rank);
    }
    output = input.map((n, i) => {
      const room = n + padBegin[i] + padEnd[i] - extent[i];
      const steps = room / strides[i];
      const count = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
      return ceil && (count - 1) * strides[i] >= n + padBegin[i] ? count - 1 : count;
    });
  }
  if (output.some((n) => n < 0 || (n === 0 && !input.includes(0))))
    shapeError(op, `kernel [${kernel}] with dilations [${dilations}] is larger than the padded input [${input}]`);
  return { input, kernel, strides, dilations, padBegin, padEnd, output };
}

/** In `tapOffsets`: the tap falls on explicit padding. */
export const onPadding = -1;
/** The tap falls beyond the padding, which only rounding up allows. */
export const beyondPadding = -2;

/**
 * For every window (row-major) and every tap (row-major): the offset of the input element inside one channel, or
 * `onPadding`, or `beyondPadding`.
 */
export function tapOffsets(w: Window): Int32Array {
  const outs = sizeOf(w.output);
  const taps = sizeOf(w.kernel);
  const table = new Int32Array(outs * taps);
  const inputStrides = stridesOf(w.input);
  const outputStrides = stridesOf(w.output);
  const tapStrides = stridesOf(w.kernel);
  for (let o = 0; o < outs; o++)
    for (let t = 0; t < taps; t++) {
      let at = 0;
      for (let d = 0; d < w.input.length && at !== beyondPadding; d++) {
        const window = Math.floor(o / outputStrides[d]) % w.output[d];
        const tap = Math.floor(t / tapStrides[d]) % w.kernel[d];
        const i = window * w.strides[d] + tap * w.dilations[d] - w.padBegin[d];
        if (i >= w.input[d] + w.padEnd[d]) at = beyondPadding;
        else if (i < 0 || i >= w.input[d]) at = onPadding;
        else if (at >= 0) at += i * inputStrides[d];
      }
      table[o * taps + t] = at;
    }
  return table;
}
