/** Tables of rotary position embeddings (https://arxiv.org/abs/2104.09864) with the usual ways of stretching them. */
import { InputError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

export interface RopeConfig {
  /** Elements of a head that are rotated: even, the first ones. */
  readonly dim: number;
  /** Angles of pair i turn by base^(-2i / dim) from one position to the next. */
  readonly base: number;
  /** Pairs are neighbours (2i, 2i + 1), not (i, i + dim / 2). */
  readonly interleaved: boolean;
  readonly scaling?: RopeScaling;
}

export type RopeScaling =
  /** Positions are divided by `factor` (https://arxiv.org/abs/2306.15595). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between blended. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequency: number;
      readonly highFrequency: number;
      readonly originalContext: number;
    }
  /** YaRN (https://arxiv.org/abs/2309.00071). */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      /** Rotations over the original context above which a pair is kept, and below which it is stretched. */
      readonly betaFast?: number;
      readonly betaSlow?: number;
      /** What cos and sin are multiplied by. Default 0.1 ln(factor) + 1. */
      readonly magnitude?: number;
      /** A divisor for each pair, besides. */
      readonly factors?: ArrayLike<number>;
      /** See below. */
      readonly longFactors?: ArrayLike<number>;
    }
  /**
   * Dynamic NTK scaling, as Hugging Face has it: the base grows with the text beyond the original context. Position p is
   * turned as it is when p + 1 tokens were seen, which is what decoding token by token does there.
   */
  | { readonly kind: "dynamic"; readonly factor: number; readonly originalContext: number }
  /** A divisor for each pair (LongRoPE, and GGUF's `rope_freqs`). */
  | {
      readonly kind: "factors";
      readonly factors: ArrayLike<number>;
      readonly magnitude?: number;
      /**
       * Those of texts longer than `originalContext`. All tokens of a text are turned by the same ones: between two that are
       * not, distances would mean nothing.
       */
      readonly longFactors?: ArrayLike<number>;
      readonly originalContext?: number;
    };

/**
 * Radians per position of each pair, and what cos and sin are multiplied by. The text's `length` matters to `dynamic` and
 * `longFactors`.
 */
export function ropeFrequencies(
  { dim, base, scaling }: RopeConfig,
  length = 0,
): { frequencies: Float64Array; magnitude: number } {
  const plain = Float64Array.from({ length: dim / 2 }, (_, i) => base ** ((-2 * i) / dim));
  if (!scaling) return { frequencies: plain, magnitude: 1 };
  switch (scaling.kind) {
    case "linear":
      return { frequencies: plain.map((f) => f / scaling.factor), magnitude: 1 };
    case "llama3":
      return { frequencies: plain.map((f) => llama3(f, scaling)), magnitude: 1 };
    case "dynamic": {
      const { factor, originalContext } = scaling;
      const stretch = (factor * Math.max(length, originalContext)) / originalContext - (factor - 1);
      return ropeFrequencies({ dim, base: base * stretch ** (dim / (dim - 2)), interleaved: false });
    }
    case "factors":
      return { frequencies: divided(plain, scaling, length), magnitude: scaling.magnitude ?? 1 };
    case "yarn": {
      const { factor, originalContext, betaFast = 32, betaSlow = 1 } = scaling;
      /** The pair that turns `rotations` times over the original context. */
      const pairOf = (rotations: number): number =>
        (dim * Math.log(originalContext / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
      const low = Math.max(Math.floor(pairOf(betaFast)), 0);
      const high = Math.min(Math.ceil(pairOf(betaSlow)), dim - 1);
      const frequencies = divided(plain, scaling, length).map((f, i) => {
        const stretched = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
        return (f / factor) * stretched + f * (1 - stretched);
      });
      return { frequencies, magnitude: scaling.magnitude ?? (factor > 1 ? 0.1 * Math.log(factor) + 1 : 1) };
    }
    default:
      throw new InputError(`rope: no scaling is called ${JSON.stringify((scaling as RopeScaling).kind)}`);
  }
}

function divided(
  frequencies: Float64Array,
  { factors: short, longFactors, originalContext = Infinity }: Extract<RopeScaling, { kind: "yarn" | "factors" }>,
  length: number,
): Float64Array {
  const factors = length > originalContext ? (longFactors ?? short) : short;
  if (!factors) return frequencies;
  if (factors.length !== frequencies.length)
    throw new InputError(`rope: ${factors.length} factors for ${frequencies.length} pairs`);
  return frequencies.map((f, i) => f / factors[i]);
}

function llama3(f: number, s: Extract<RopeScaling, { kind: "llama3" }>): number {
  const wavelength = (2 * Math.PI) / f;
  if (wavelength < s.originalContext / s.highFrequency) return f;
  if (wavelength > s.originalContext / s.lowFrequency) return f / s.factor;
  const smooth = (s.originalContext / wavelength - s.lowFrequency) / (s.highFrequency - s.lowFrequency);
  return ((1 - smooth) * f) / s.factor + smooth * f;
}

/** The length beyond which texts in a context are turned by other factors. Infinity where none are. */
export function longFrom(rope: RopeConfig | undefined, contextLength: number): number {
  const scaling = rope?.scaling;
  const others = (scaling?.kind === "yarn" || scaling?.kind === "factors") && scaling.longFactors;
  const from = Math.floor((others && scaling.originalContext) || Infinity);
  return from < contextLength ? from : Infinity;
}

/**
 * cos and sin, f32 [positions, dim / 2]. Where texts of so many positions may be long ones, their rows come
 * behind `longFrom` rows for short ones.
 */
export function ropeTables(config: RopeConfig, positions: number): { cos: HostTensor; sin: HostTensor } {
  const half = config.dim / 2;
  const { scaling } = config;
  const changesFrom = scaling?.kind === "dynamic" ? scaling.originalContext : Infinity;
  const short = longFrom(config, positions);
  const rows = positions + (short < Infinity ? short : 0);
  const [cos, sin] = [new Float32Array(rows * half), new Float32Array(rows * half)];
  let { frequencies, magnitude } = ropeFrequencies(config);
  for (let row = 0; row < rows; row++) {
    const p = row < short ? row : row - short;
    if (p >= changesFrom) ({ frequencies, magnitude } = ropeFrequencies(config, p + 1));
    if (row === short) ({ frequencies, magnitude } = ropeFrequencies(config, positions));
    for (let i = 0; i < half; i++) {
      const angle = p * frequencies[i];
      const at = row * half + i;
      // As long as this isn't compiled, each product of doubles is an object.
      cos[at] = magnitude === 1 ? Math.cos(angle) : Math.cos(angle) * magnitude;
      sin[at] = magnitude === 1 ? Math.sin(angle) : Math.sin(angle) * magnitude;
    }
  }
  const table = (data: Float32Array): HostTensor => ({ dtype: "f32", shape: [rows, half], data });
  return { cos: table(cos), sin: table(sin) };
}
