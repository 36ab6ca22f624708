import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectFloat, sameDType, shapeError, valuesOf } from "./check.ts";
import { bin } from "./dft.ts";
import { defineOp, type Operand } from "./op.ts";

export interface StftAttrs {
  /** Only the bins up to the middle of the spectrum. Default true. */
  onesided?: boolean;
}

type Given = Operand | HostTensor | undefined;

export interface StftPlan {
  readonly step: number;
  readonly length: number;
  readonly frames: number;
  readonly bins: number;
  /** 1: real, 2: real and imaginary parts. */
  readonly parts: number;
}

function scalar(name: string, t: Operand | HostTensor): number {
  const list = valuesOf("stft", name, "data" in t ? { ...t, value: t } : t);
  if (list.length !== 1 || !Number.isInteger(list[0]) || list[0] < 1)
    shapeError("stft", `${name} must be one positive whole number, got [${list}]`);
  return list[0];
}

/** Shared by the shape rule, the reference and the kernels. */
export function planStft(
  x: TensorType,
  frameStep: Operand | HostTensor,
  window: TensorType | undefined,
  frameLength: Given,
  { onesided = true }: StftAttrs,
): StftPlan {
  const parts = x.shape[2];
  if (x.shape.length !== 3 || (parts !== 1 && parts !== 2))
    shapeError("stft", "takes a signal [batch, length, 1 (real) or 2 (complex)]", x);
  if (onesided && parts === 2) shapeError("stft", "a one-sided transform takes a real signal", x);
  if (window && window.shape.length !== 1) shapeError("stft", "takes a window of rank 1", window);
  const step = scalar("frameStep", frameStep);
  const length = frameLength ? scalar("frameLength", frameLength) : (window?.shape[0] ?? x.shape[1]);
  if (window && window.shape[0] !== length) shapeError("stft", `the frames' length is ${length}, the window's`, window);
  if (length > x.shape[1] || length < 1) shapeError("stft", `frames of ${length} in a shorter signal`, x);
  const frames = Math.floor((x.shape[1] - length) / step) + 1;
  return { step, length, frames, bins: onesided ? Math.floor(length / 2) + 1 : length, parts };
}

/**
 * The Fourier transforms of overlapping windowed frames: x [batch, length, 1 or 2] to [batch, frames, bins, 2], a frame
 * every `frameStep` elements. Without a window all weights are 1.
 * @throws ShapeError where window and frame length differ, or the signal is shorter than a frame
 */
export const stft = /* @__PURE__ */ defineOp({
  name: "stft",
  inputs: ["x", "frameStep", "window?", "frameLength?"],
  host: ["frameStep", "frameLength"],
  infer([x, frameStep, window, frameLength], attrs: StftAttrs) {
    expectFloat("stft", x);
    sameDType("stft", x, window);
    const { frames, bins } = planStft(x, frameStep, window, frameLength, attrs);
    return { dtype: x.dtype, shape: [x.shape[0], frames, bins, 2] };
  },
  reference([x, frameStep, window, frameLength], attrs, [y]) {
    const { step, length, frames, bins, parts } = planStft(x, frameStep, window, frameLength, attrs);
    const src = toF64(x);
    const weights = window ? toF64(window) : new Float64Array(length).fill(1);
    const out = new Float64Array(sizeOf(y.shape));
    const re = new Float64Array(length);
    const im = new Float64Array(length);
    for (let b = 0, to = 0; b < x.shape[0]; b++)
      for (let f = 0; f < frames; f++) {
        for (let t = 0; t < length; t++) {
          const at = (b * x.shape[1] + f * step + t) * parts;
          re[t] = src[at] * weights[t];
          im[t] = parts === 2 ? src[at + 1] * weights[t] : 0;
        }
        for (let k = 0; k < bins; k++) [out[to++], out[to++]] = bin(re, im, k, false);
      }
    fromF64(out, y);
  },
});
