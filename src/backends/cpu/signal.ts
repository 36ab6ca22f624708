/**
 * Fourier transforms of f32 signals through fft.ts, in float64 inside.
 * - complex: one transform for each row.
 * - real: two rows in one transform, one as real and one as imaginary part, told apart by symmetry: half the work.
 */
import { completeSpectrum, dft, planDft } from "../../ops/dft.ts";
import { planStft, stft } from "../../ops/stft.ts";
import { sizeBetween, stridesOf } from "../../tensor/shape.ts";
import { type HostStep, type Kernel, kernel } from "../backend.ts";
import { planFft } from "./fft.ts";

const dftComplex = kernel<HostStep, typeof dft>(dft, "cpu/dft/complex", (inputs, [y], attrs) => {
  const [x, dftLength, axisInput] = inputs;
  if (x.dtype !== "f32") return undefined;
  const plan = planDft(x, dftLength?.constant, axisInput?.constant, attrs);
  const { axis, length, input, output, parts, outputParts } = plan;
  const { inverse = false, onesided = false } = attrs;
  const completes = inverse && onesided;
  const given = Math.min(input, completes ? Math.floor(length / 2) + 1 : length);
  const step = stridesOf(x.shape)[axis];
  const outStep = stridesOf(y.shape)[axis];
  const outer = sizeBetween(x.shape, 0, axis);
  const inner = sizeBetween(x.shape, axis + 1, x.shape.length - 1);
  const fft = planFft(length);
  const re = new Float64Array(length);
  const im = new Float64Array(length);
  const scale = inverse ? 1 / length : 1;
  return {
    run([src], [dst]) {
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) {
          let from = o * input * step + i * parts;
          re.fill(0);
          im.fill(0);
          for (let k = 0; k < given; k++, from += step) {
            re[k] = src[from] as number;
            if (parts === 2) im[k] = src[from + 1] as number;
          }
          if (completes) completeSpectrum(re, im);
          if (inverse) fft(im, re);
          else fft(re, im);
          let to = o * output * outStep + i * outputParts;
          for (let k = 0; k < output; k++, to += outStep) {
            dst[to] = re[k] * scale;
            if (outputParts === 2) dst[to + 1] = im[k] * scale;
          }
        }
    },
  };
});

/**
 * Transforms two real rows at once: `load` fills them in (the second stays zero where there is none), `store` gets bin k
 * of either.
 */
function realPairs(
  rows: number,
  length: number,
  bins: number,
): (
  load: (row: number, into: Float64Array) => void,
  dst: Float32Array,
  at: (row: number) => number,
  step: number,
) => void {
  const fft = planFft(length);
  const re = new Float64Array(length);
  const im = new Float64Array(length);
  return (load, dst, at, step) => {
    for (let row = 0; row < rows; row += 2) {
      const second = row + 1 < rows;
      load(row, re);
      if (second) load(row + 1, im);
      else im.fill(0);
      fft(re, im);
      // Z = A + iB with A[-k] and B[-k] the conjugates of A[k] and B[k].
      let a = at(row);
      let b = second ? at(row + 1) : a;
      for (let k = 0; k < bins; k++, a += step, b += step) {
        const mirror = k === 0 ? 0 : length - k;
        if (second) {
          dst[b] = (im[k] + im[mirror]) / 2;
          dst[b + 1] = (re[mirror] - re[k]) / 2;
        }
        dst[a] = (re[k] + re[mirror]) / 2;
        dst[a + 1] = (im[k] - im[mirror]) / 2;
      }
    }
  };
}

const dftReal = kernel<HostStep, typeof dft>(dft, "cpu/dft/real", (inputs, [y], attrs) => {
  const [x, dftLength, axisInput] = inputs;
  if (x.dtype !== "f32" || attrs.inverse) return undefined;
  const { axis, length, input, output, parts } = planDft(x, dftLength?.constant, axisInput?.constant, attrs);
  if (parts !== 1) return undefined;
  const step = stridesOf(x.shape)[axis];
  const outStep = stridesOf(y.shape)[axis];
  const inner = sizeBetween(x.shape, axis + 1, x.shape.length - 1);
  const rows = sizeBetween(x.shape, 0, axis) * inner;
  const given = Math.min(input, length);
  const transform = realPairs(rows, length, output);
  return {
    run([src], [dst]) {
      transform(
        (row, into) => {
          const o = Math.floor(row / inner);
          let from = o * input * step + (row - o * inner);
          for (let k = 0; k < given; k++, from += step) into[k] = src[from] as number;
          into.fill(0, given);
        },
        dst as Float32Array,
        (row) => {
          const o = Math.floor(row / inner);
          return o * output * outStep + 2 * (row - o * inner);
        },
        outStep,
      );
    },
  };
});

const stftReal = kernel<HostStep, typeof stft>(stft, "cpu/stft/real", (inputs, _, attrs) => {
  const [x, frameStep, window, frameLength] = inputs;
  if (x.dtype !== "f32") return undefined;
  const { step, length, frames, bins, parts } = planStft(x, frameStep.constant!, window, frameLength?.constant, attrs);
  if (parts !== 1) return undefined;
  const transform = realPairs(x.shape[0] * frames, length, bins);
  return {
    run([src, , weights], [dst]) {
      transform(
        (row, into) => {
          const batch = Math.floor(row / frames);
          const from = batch * x.shape[1] + (row - batch * frames) * step;
          if (weights) for (let t = 0; t < length; t++) into[t] = (src[from + t] as number) * (weights[t] as number);
          else for (let t = 0; t < length; t++) into[t] = src[from + t] as number;
        },
        dst as Float32Array,
        (row) => row * bins * 2,
        2,
      );
    },
  };
});

export const signalKernels: Kernel<HostStep>[] = [dftReal, dftComplex, stftReal];
