/** Sound at another rate. */
import type { Work } from "../../graph/drive.ts";

/** Zero crossings of the filter on each side: what is beyond the new range is 60 dB down. */
const crossings = 16;
/** Weights that are kept at most: 16 MB. From whole rates to 16 kHz that is enough up to 62 kHz, and for all usual ones. */
const mostKept = 2 ** 21;
/** Products after which the work may be stopped: a few milliseconds also where the weights are not kept. */
const productsAtOnce = 2 ** 16;

/**
 * Band-limited interpolation: a sinc, cut off at the lower of the two rates, in a Hann window. Samples of the result lie at few
 * different places between two of the given ones (160 from 44100 to 16000 Hz): the weights of each are kept.
 * @param from samples a second of `samples`; `to` those of the result
 */
export function* resample(samples: Float32Array, from: number, to: number): Work<Float32Array> {
  if (from === to) return samples;
  const cutoff = Math.min(1, to / from);
  const before = Math.floor(crossings / cutoff);
  const taps = 2 * before + 2;
  const divisor = commonDivisor(from, to);
  const [step, places] = [from / divisor, to / divisor];
  const filter = (place: number, weights: Float64Array): Float64Array => {
    for (let k = 0; k < taps; k++) weights[k] = cutoff * kernel((k - before - place / places) * cutoff);
    return weights;
  };
  const kept: Float64Array[] | undefined = places * taps <= mostKept ? [] : undefined;
  const own = new Float64Array(taps);
  const out = new Float32Array(Math.round((samples.length * to) / from));
  const atOnce = Math.ceil(productsAtOnce / taps);
  for (let i = 0; i < out.length; i++) {
    if (i % atOnce === 0) yield;
    const sample = Math.floor((i * step) / places);
    const place = i * step - sample * places;
    const weights = kept ? (kept[place] ??= filter(place, new Float64Array(taps))) : filter(place, own);
    out[i] = weighted(samples, sample - before, weights);
  }
  return out;
}

/** A sum of products. Silence is around the samples. */
function weighted(samples: Float32Array, first: number, weights: Float64Array): number {
  const end = Math.min(weights.length, samples.length - first);
  let sum = 0;
  for (let k = Math.max(0, -first); k < end; k++) sum += samples[first + k] * weights[k];
  return sum;
}

/** By Euclid's algorithm, which is exact for broken numbers too. */
function commonDivisor(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b];
  return a;
}

function kernel(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= crossings) return 0;
  const sinc = Math.sin(Math.PI * x) / (Math.PI * x);
  return sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / crossings));
}
