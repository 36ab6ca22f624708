/** Rotary positions as `config.json` gives them. */
import type { RopeConfig, RopeScaling } from "../../models/transformer/rope.ts";
import { UnsupportedOpError } from "../../tensor/errors.ts";
import type { Fields } from "./config-fields.ts";

/**
 * Of all layers, and of those with a window where theirs differ. Transformers 5 has one object, `rope_parameters`, for what were
 * fields of the configuration and `rope_scaling`, or one for each type of layer.
 * @throws FormatError for numbers that are missing or make no sense, UnsupportedOpError for a scaling that is not known
 */
export function ropesOf(config: Fields, headDim: number): { rope: RopeConfig; localRope?: RopeConfig } {
  const given = config.object("rope_parameters");
  const rope = ropeOf(config.object("rope_scaling") ?? given?.object("full_attention") ?? given);
  const local = given?.object("sliding_attention");
  const base = config.number("rope_local_base_freq");
  if (local) {
    const localRope = ropeOf(local, base);
    if (localRope.scaling?.kind === "factors")
      throw new UnsupportedOpError(`${config.file}: longrope in layers with a window is not supported`, {
        missing: ["rope_parameters.sliding_attention"],
      });
    return { rope, localRope };
  }
  return { rope, localRope: base ? { ...rope, base, scaling: undefined } : undefined };

  function ropeOf(own: Fields | undefined, usual = config.number("rope_theta")): RopeConfig {
    const number = (key: string): number | undefined => own?.number(key) ?? given?.number(key);
    const part = number("partial_rotary_factor") ?? config.number("partial_rotary_factor") ?? 1;
    const base = number("rope_theta") ?? usual ?? 10000;
    return { dim: Math.floor(headDim * part), base, interleaved: false, scaling: own && scalingOf(own, config) };
  }
}

function scalingOf(s: Fields, config: Fields): RopeScaling | undefined {
  const kind: unknown =
    s.json["rope_type"] ?? s.json["type"] ?? (s.json["factor"] === undefined ? "default" : undefined);
  const given = (): number | undefined =>
    s.positive("original_max_position_embeddings") ?? config.positive("original_max_position_embeddings");
  const original = (): number => given() ?? config.needPositive("max_position_embeddings");
  switch (kind) {
    case "default":
      return undefined;
    case "linear":
      return { kind, factor: s.needPositive("factor") };
    case "dynamic":
      return { kind, factor: s.needPositive("factor"), originalContext: original() };
    case "llama3": {
      const lowFrequency = s.needPositive("low_freq_factor");
      const highFrequency = s.needPositive("high_freq_factor");
      if (highFrequency <= lowFrequency) s.wrong("high_freq_factor", `above low_freq_factor, ${lowFrequency}`);
      return { kind, factor: s.needPositive("factor"), lowFrequency, highFrequency, originalContext: original() };
    }
    case "yarn":
      if (s.json["truncate"] === false)
        throw new UnsupportedOpError(`${s.file}: yarn with "truncate": false is not supported`, {
          missing: ["truncate"],
        });
      return {
        kind,
        factor: s.needPositive("factor"),
        originalContext: original(),
        betaFast: s.positive("beta_fast"),
        betaSlow: s.positive("beta_slow"),
        magnitude: yarnMagnitude(s),
      };
    case "longrope":
    case "su": {
      const originalContext = original();
      // Of the two, the one that is said: where it is the original context, `factor` does not count.
      const stretch = given()
        ? config.needPositive("max_position_embeddings") / originalContext
        : (s.positive("factor") ?? 1);
      const list = (key: string): number[] => {
        const factors = s.json[key];
        return Array.isArray(factors) ? factors : s.wrong(key, "a list of factors");
      };
      return {
        kind: "factors",
        factors: list("short_factor"),
        longFactors: list("long_factor"),
        originalContext,
        magnitude: s.positive("attention_factor") ?? longRopeMagnitude(stretch, originalContext),
      };
    }
    default:
      throw new UnsupportedOpError(`${s.file}: rope scaling ${JSON.stringify(kind)} is not known`, {
        missing: [String(kind)],
      });
  }
}

/** What LongRoPE multiplies cos and sin by. */
export const longRopeMagnitude = (stretch: number, originalContext: number): number =>
  stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(originalContext));

/**
 * What cos and sin are multiplied by where it is not YaRN's own: said as it is, or by two factors of its logarithm, of which only
 * the pair counts.
 */
function yarnMagnitude(s: Fields): number | undefined {
  const [own, all] = [s.number("mscale"), s.number("mscale_all_dim")];
  const given = s.positive("attention_factor");
  if (given !== undefined || !own || !all) return given;
  const log = Math.max(0, Math.log(s.needPositive("factor")));
  return (0.1 * own * log + 1) / (0.1 * all * log + 1);
}
