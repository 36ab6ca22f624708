/** Names of weights in Hugging Face's models and in GGUF files, both ways. */

export interface Names {
  /** What all names begin with but the output projection's. */
  readonly prefix: string;
  /** `layers` in `model.layers.0.mlp.up_proj.weight`. */
  readonly layers: string;
  /** Outside of layers, theirs: GGUF's. */
  readonly outer: Readonly<Record<string, string>>;
  /** Inside of a layer. */
  readonly inner: Readonly<Record<string, string>>;
}

const llamaInner = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
};
export const llamaNames: Names = {
  prefix: "model.",
  layers: "layers",
  outer: { embed_tokens: "token_embd", norm: "output_norm", lm_head: "output" },
  inner: llamaInner,
};
/** Merged matrices. */
export const phi3Names: Names = {
  ...llamaNames,
  inner: {
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    input_layernorm: "attn_norm",
    post_attention_layernorm: "ffn_norm",
  },
};
/** Norms around each half of a layer: the second of Llama's names means another one. */
export const gemma2Names: Names = {
  ...llamaNames,
  inner: {
    ...llamaInner,
    post_attention_layernorm: "post_attention_norm",
    pre_feedforward_layernorm: "ffn_norm",
    post_feedforward_layernorm: "post_ffw_norm",
  },
};
const { input_layernorm: _, ...olmo2Inner } = llamaInner;
/** Norms behind each half of a layer. */
export const olmo2Names: Names = {
  ...llamaNames,
  inner: {
    ...olmo2Inner,
    post_attention_layernorm: "post_attention_norm",
    post_feedforward_layernorm: "post_ffw_norm",
  },
};
export const gpt2Names: Names = {
  prefix: "transformer.",
  layers: "h",
  outer: { wte: "token_embd", wpe: "position_embd", ln_f: "output_norm", lm_head: "output" },
  inner: {
    ln_1: "attn_norm",
    ln_2: "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
  },
};

/** Hugging Face's name of a weight. Undefined where the model has no such part. */
export function huggingFaceName(name: string, { prefix, layers, outer, inner }: Names): string | undefined {
  const theirs = (table: Readonly<Record<string, string>>, part: string): string | undefined =>
    Object.keys(table).find((k) => table[k] === part);
  const [, n, part, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const path = theirs(n === undefined ? outer : inner, part);
  if (path === undefined) return undefined;
  if (n !== undefined) return `${prefix}${layers}.${n}.${path}.${kind}`;
  return path === "lm_head" ? `${path}.${kind}` : `${prefix}${path}.${kind}`;
}

/** Tensors that add nothing to a decoder: tables and masks that older files keep, and parts that see pictures. */
export const hasNoEffect = (name: string): boolean =>
  /(^|\.)(rotary_emb\w*\.\w+|position_ids|h\.\d+\.attn\.(masked_)?bias)$/.test(name) ||
  /(^|\.)(vision_tower|multi_modal_projector)\./.test(name);

/** GGUF's name of a weight, undefined for tensors that are none of the model's. */
export function ggufName(name: string, { prefix, layers, outer, inner }: Names): string | undefined {
  const own = (name.startsWith(prefix) ? name.slice(prefix.length) : name).replace(/^language_model\.(model\.)?/, "");
  const [, path, kind] = /^(.*)\.(weight|bias)$/.exec(own) ?? [];
  if (path === undefined) return undefined;
  if (Object.hasOwn(outer, path)) return `${outer[path]}.${kind}`;
  const [, group, n, part] = /^(\w+)\.(\d+)\.(.*)$/.exec(path) ?? [];
  return group === layers && Object.hasOwn(inner, part) ? `blk.${n}.${inner[part]}.${kind}` : undefined;
}
