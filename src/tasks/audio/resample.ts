/** Sound at another rate. */

/** Zero crossings of the filter on each side: what is beyond the new range is 60 dB down. */
const crossings = 16;

/**
 * Band-limited interpolation: a sinc, cut off at the lower of the two rates, in a Hann window.
 * @param from samples a second of `samples`; `to` those of the result
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return samples;
  const cutoff = Math.min(1, to / from);
  const reach = crossings / cutoff;
  const out = new Float32Array(Math.round((samples.length * to) / from));
  for (let i = 0; i < out.length; i++) {
    const centre = (i * from) / to;
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(samples.length - 1, Math.floor(centre + reach));
    let sum = 0;
    for (let j = first; j <= last; j++) sum += samples[j] * kernel((j - centre) * cutoff);
    out[i] = sum * cutoff;
  }
  return out;
}

function kernel(x: number): number {
  if (x === 0) return 1;
  const sinc = Math.sin(Math.PI * x) / (Math.PI * x);
  return sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / crossings));
}
