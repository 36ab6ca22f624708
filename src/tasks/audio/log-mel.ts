/** Log-mel spectrograms as Whisper hears them (https://arxiv.org/abs/2212.04356, section 2.2). */
import { graph } from "../../graph/define.ts";
import type { Graph } from "../../graph/ir.ts";
import { add, max, mul, sub } from "../../ops/binary.ts";
import { clip } from "../../ops/clip.ts";
import { matmul } from "../../ops/matmul.ts";
import { reduceMax } from "../../ops/reduce.ts";
import { transpose } from "../../ops/transpose.ts";
import { log } from "../../ops/unary.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

export interface MelConfig {
  /** Samples a second. */
  readonly rate: number;
  /** Samples of a window. */
  readonly window: number;
  /** Samples from one window to the next. */
  readonly hop: number;
  /** Mel bands. */
  readonly bands: number;
}

/**
 * Input: `frames` f32 [frames, window], see `framesOf`. Output: `mel` f32 [bands, frames], the logarithms of the power in
 * each band, from 80 dB below the loudest up, scaled to about -1 to 1. The Fourier transform is a product with its basis,
 * which holds the Hann window: engines are at their best with products.
 */
export function logMel(config: MelConfig): Graph {
  return graph(
    ({ input, weight }) => {
      const frames = input("frames", "f32", ["frames", config.window]);
      const { cos, sin } = fourierBasis(config.window);
      const [real, imaginary] = [matmul(frames, weight(cos)), matmul(frames, weight(sin))];
      const power = add(mul(real, real), mul(imaginary, imaginary));
      const bands = matmul(power, weight(melFilters(config)), undefined, undefined, { transposeB: true });
      const number = (v: number) => weight(hostTensor(Float32Array.of(v)));
      const levels = mul(log(clip(bands, number(1e-10), undefined)), number(Math.LOG10E));
      const loudest = reduceMax(levels, [0, 1]);
      const scaled = mul(add(max(levels, sub(loudest, number(8))), number(4)), number(0.25));
      return { mel: transpose(scaled, { perm: [1, 0] }) };
    },
    { name: "log-mel" },
  );
}

/** Windows centred on every `hop`-th of `length` samples; silence after the end, reflections before the beginning. */
export function framesOf(samples: Float32Array, length: number, { window, hop }: MelConfig): HostTensor {
  const count = Math.floor(length / hop);
  const data = new Float32Array(count * window);
  const at = (i: number): number => samples[i < 0 ? -i : i < length ? i : 2 * (length - 1) - i] ?? 0;
  for (let f = 0; f < count; f++) for (let i = 0; i < window; i++) data[f * window + i] = at(f * hop + i - window / 2);
  return { dtype: "f32", shape: [count, window], data };
}

/** Parts of e^(-2 pi i k n / window) times a Hann window, [window, window / 2 + 1]. */
function fourierBasis(window: number): { cos: HostTensor; sin: HostTensor } {
  const bins = window / 2 + 1;
  const table = (part: (angle: number) => number): HostTensor => {
    const data = new Float32Array(window * bins);
    for (let n = 0; n < window; n++) {
      const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / window);
      for (let k = 0; k < bins; k++) data[n * bins + k] = hann * part((2 * Math.PI * ((k * n) % window)) / window);
    }
    return { dtype: "f32", shape: [window, bins], data };
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** Slaney's mel scale: linear up to 1 kHz, logarithmic above. */
const stepHz = 200 / 3;
const breakHz = 1000;
const breakMel = breakHz / stepHz;
const logStep = Math.log(6.4) / 27;
const melOf = (hz: number): number => (hz < breakHz ? hz / stepHz : breakMel + Math.log(hz / breakHz) / logStep);
const hzOf = (mel: number): number => (mel < breakMel ? mel * stepHz : breakHz * Math.exp((mel - breakMel) * logStep));

/** Triangles of equal area over the bins of the transform, evenly spaced in mels: [bands, window / 2 + 1]. */
export function melFilters({ rate, window, bands }: MelConfig): HostTensor {
  const bins = window / 2 + 1;
  const top = melOf(rate / 2);
  const edges = Array.from({ length: bands + 2 }, (_, i) => hzOf((top * i) / (bands + 1)));
  const data = new Float32Array(bands * bins);
  for (let b = 0; b < bands; b++) {
    const [low, centre, high] = edges.slice(b, b + 3);
    for (let k = 0; k < bins; k++) {
      const hz = (k * rate) / window;
      const height = Math.min((hz - low) / (centre - low), (high - hz) / (high - centre));
      data[b * bins + k] = Math.max(0, height) * (2 / (high - low));
    }
  }
  return { dtype: "f32", shape: [bands, bins], data };
}
