import { fromF64, toF64 } from "../tensor/convert.ts";
import { normalizeAxis, sizeBetween, sizeOf, stridesOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectFloat, shapeError, valuesOf } from "./check.ts";
import { defineOp, type Operand } from "./op.ts";

export interface DftAttrs {
  /** Default false. */
  inverse?: boolean;
  /** Only the bins up to the middle of the spectrum of a real signal: given out (forward), or taken (inverse). */
  onesided?: boolean;
}

type Given = Operand | HostTensor | undefined;

/** What a transform works on. Shared by the shape rule, the reference and the kernels. */
export interface DftPlan {
  readonly axis: number;
  /** Length of the transform. */
  readonly length: number;
  /** Elements along the axis of the input and of the output. */
  readonly input: number;
  readonly output: number;
  /** 1: real, 2: real and imaginary parts. */
  readonly parts: number;
  readonly outputParts: number;
  readonly shape: readonly number[];
}

function scalar(name: string, t: Given, fallback: number): number {
  if (!t) return fallback;
  const list = valuesOf("dft", name, "data" in t ? { ...t, value: t } : t);
  if (list.length !== 1) shapeError("dft", `${name} must be a single number`, t);
  return list[0];
}

export function planDft(
  x: TensorType,
  dftLength: Given,
  axisInput: Given,
  { inverse = false, onesided = false }: DftAttrs,
): DftPlan {
  const rank = x.shape.length;
  const parts = x.shape[rank - 1];
  if (rank < 2 || (parts !== 1 && parts !== 2)) shapeError("dft", "takes [..., n, 1 (real) or 2 (complex)]", x);
  const axis = normalizeAxis("dft", scalar("axis", axisInput, -2), rank);
  if (axis === rank - 1) shapeError("dft", "the last axis holds the parts of complex numbers", x);
  if (onesided && !inverse && parts !== 1) shapeError("dft", "a one-sided transform takes real input", x);
  if (onesided && inverse && parts !== 2)
    shapeError("dft", "the inverse of a one-sided transform takes complex input", x);
  const input = x.shape[axis];
  const length = scalar("dftLength", dftLength, onesided && inverse ? 2 * (input - 1) : input);
  if (!Number.isInteger(length) || length < 1) shapeError("dft", `the length must be positive, got ${length}`, x);
  const output = onesided && !inverse ? Math.floor(length / 2) + 1 : length;
  const outputParts = onesided && inverse ? 1 : 2;
  const shape = [...x.shape];
  shape[axis] = output;
  shape[rank - 1] = outputParts;
  return { axis, length, input, output, parts, outputParts, shape };
}

/**
 * The discrete Fourier transform along `axis` (default -2): x [..., 1] real or [..., 2] complex, cut or padded with
 * zeros to `dftLength`. The inverse divides by the length. O(n^2) here; kernels are O(n log n).
 * @throws ShapeError for a last axis that is neither 1 nor 2, and where `onesided` doesn't go with it
 */
export const dft = /* @__PURE__ */ defineOp({
  name: "dft",
  inputs: ["x", "dftLength?", "axis?"],
  host: ["dftLength", "axis"],
  infer([x, dftLength, axis], attrs: DftAttrs) {
    expectFloat("dft", x);
    return { dtype: x.dtype, shape: planDft(x, dftLength, axis, attrs).shape };
  },
  reference([x, dftLength, axisInput], attrs, [y]) {
    const { axis, length, input, output, parts, outputParts } = planDft(x, dftLength, axisInput, attrs);
    const { inverse = false, onesided = false } = attrs;
    const src = toF64(x);
    const out = new Float64Array(sizeOf(y.shape));
    const step = stridesOf(x.shape)[axis];
    const outStep = stridesOf(y.shape)[axis];
    const outer = sizeBetween(x.shape, 0, axis);
    const inner = sizeBetween(x.shape, axis + 1, x.shape.length - 1);
    const re = new Float64Array(length);
    const im = new Float64Array(length);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const from = o * input * step + i * parts;
        re.fill(0);
        im.fill(0);
        const given = Math.min(input, onesided && inverse ? Math.floor(length / 2) + 1 : length);
        for (let k = 0; k < given; k++) {
          re[k] = src[from + k * step];
          if (parts === 2) im[k] = src[from + k * step + 1];
        }
        if (onesided && inverse) completeSpectrum(re, im);
        const to = o * output * outStep + i * outputParts;
        for (let k = 0; k < output; k++) {
          const [a, b] = bin(re, im, k, inverse);
          out[to + k * outStep] = a;
          if (outputParts === 2) out[to + k * outStep + 1] = b;
        }
      }
    fromF64(out, y);
  },
});

/** The upper half of a real signal's spectrum: X[n - k] is the conjugate of X[k]. */
export function completeSpectrum(re: Float64Array, im: Float64Array): void {
  const n = re.length;
  im[0] = 0;
  if (n % 2 === 0) im[n / 2] = 0;
  for (let k = 1; k < n - k; k++) {
    re[n - k] = re[k];
    im[n - k] = -im[k];
  }
}

/** Bin k of the transform of re + i im, by definition. */
export function bin(re: Float64Array, im: Float64Array, k: number, inverse: boolean): [number, number] {
  const n = re.length;
  const turn = ((inverse ? 2 : -2) * Math.PI) / n;
  let a = 0;
  let b = 0;
  for (let t = 0; t < n; t++) {
    // The product is reduced first: large angles lose digits.
    const angle = turn * ((k * t) % n);
    const cos = Math.cos(angle);
    const sin = Math.sin(angle);
    a += re[t] * cos - im[t] * sin;
    b += re[t] * sin + im[t] * cos;
  }
  return inverse ? [a / n, b / n] : [a, b];
}
