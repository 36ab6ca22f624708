import { fromF64, toF64 } from "../tensor/convert.ts";
import type { DType } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { dtypeError, shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";

export interface MelWeightMatrixAttrs {
  /** Default f32. */
  dtype?: DType;
}

const mel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
const hertz = (m: number): number => 700 * (10 ** (m / 2595) - 1);

/**
 * Triangular filters [dftLength / 2 + 1, numMelBins] with peaks of 1: a spectrogram [frames, bins] times this is a mel
 * spectrogram. As ONNX has it, the band edges divide the mel range in numMelBins + 2 steps, so that the last filter
 * ends one step before upperEdgeHertz.
 * @throws ShapeError for sizes that are not positive
 */
export const melWeightMatrix = /* @__PURE__ */ defineOp({
  name: "melWeightMatrix",
  inputs: ["numMelBins", "dftLength", "sampleRate", "lowerEdgeHertz", "upperEdgeHertz"],
  host: ["numMelBins", "dftLength", "sampleRate", "lowerEdgeHertz", "upperEdgeHertz"],
  infer([numMelBins, dftLength, sampleRate], { dtype = "f32" }: MelWeightMatrixAttrs) {
    const [bands] = valuesOf("melWeightMatrix", "numMelBins", numMelBins);
    const [length] = valuesOf("melWeightMatrix", "dftLength", dftLength);
    const [rate] = valuesOf("melWeightMatrix", "sampleRate", sampleRate);
    if (!(bands >= 0 && length >= 0 && rate > 0))
      shapeError("melWeightMatrix", `${bands} bands of ${length} samples at ${rate} Hz`);
    if (dtype === "string" || dtype === "bool") dtypeError("melWeightMatrix", `makes numbers, not ${dtype}`);
    return { dtype, shape: [Math.floor(length / 2) + 1, bands] };
  },
  reference(inputs, _, [y]) {
    const [, length, rate, low, high] = inputs.map((t: HostTensor) => toF64(t)[0]);
    const [bins, bands] = y.shape;
    const step = (mel(high) - mel(low)) / (bands + 2);
    const edges = Array.from({ length: bands + 2 }, (_, i) =>
      Math.floor(((length + 1) * hertz(i * step + mel(low))) / rate),
    );
    const out = new Float64Array(sizeOf(y.shape));
    for (let b = 0; b < bands; b++) {
      const [left, center, right] = edges.slice(b, b + 3);
      for (let j = Math.max(0, left); j <= Math.min(center, bins - 1); j++)
        out[j * bands + b] = left === center ? 1 : (j - left) / (center - left);
      for (let j = Math.max(0, center + 1); j < Math.min(right, bins); j++)
        out[j * bands + b] = (right - j) / (right - center);
    }
    fromF64(out, y);
  },
});
