/** What configurations of Nomic's BERT (https://arxiv.org/abs/2402.01613) say, those of its own code and those of transformers. */
import { activationOf } from "../../formats/activation.ts";
import { Fields } from "../../formats/decoder/config-fields.ts";
import { ropesOf } from "../../formats/decoder/huggingface-rope.ts";
import type { Json } from "../../formats/folder.ts";
import type { EncoderConfig } from "../../models/transformer/encoder.ts";
import { UnsupportedOpError } from "../../tensor/errors.ts";

/** Fields of its own code that change what is computed, where they are none of these. */
const neutral: Readonly<Record<string, readonly unknown[]>> = {
  prenorm: [false],
  parallel_block: [false],
  use_rms_norm: [false, null],
  causal: [false],
  rotary_emb_scale_base: [null],
  rotary_scaling_factor: [null],
  moe_every_n_layers: [0, null],
};

/** @throws UnsupportedOpError for what is computed otherwise; FormatError for numbers that are none */
export function nomicConfig(name: string, json: Json): Pick<EncoderConfig, "rope" | "activation"> {
  for (const [key, values] of Object.entries(neutral))
    if (json[key] !== undefined && !values.includes(json[key]))
      throw new UnsupportedOpError(`${name}: "${key}": ${json[key]} of Nomic's BERT is not supported`, {
        missing: [key],
      });
  const fields = new Fields(name, {
    rope_theta: json["rotary_emb_base"] ?? 1000,
    partial_rotary_factor: json["rotary_emb_fraction"],
    ...json,
  });
  const headDim = fields.need("hidden_size", "n_embd") / fields.need("num_attention_heads", "n_head");
  const { rope } = ropesOf(fields, headDim);
  // Its name of a gated layer's.
  const own = json["activation_function"] === "swiglu" ? "silu" : json["activation_function"];
  return {
    rope: { ...rope, interleaved: json["rotary_emb_interleaved"] === true },
    activation: activationOf(name, json["hidden_act"] ?? own ?? "silu"),
  };
}
