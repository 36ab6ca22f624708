/** Nomic's BERT, with rotary positions and gated layers, in the layouts that there are of it, against the naive implementation. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import type { Matrices } from "../goldens/decoder.ts";
import { NaiveEncoder } from "../goldens/encoder.ts";
import { bertWeights, randomWeights } from "../models/tiny-encoders.ts";
import { bertGguf, bertMetadata, wordPieceMetadata } from "./bert-gguf.ts";
import { cls, config, folderOf, separator, shape, words } from "./encoder-folders.ts";
import { merge } from "./gguf-files.ts";

const options = { device: "wasm", threads: 1, normalize: false } as const;
const rope = { dim: shape.width / shape.heads, base: 1000, interleaved: false };
const own = { ...config, activation: "silu", rope } as const;
const { width, hidden } = shape;
const gates = Object.fromEntries([0, 1].map((n) => [`encoder.layer.${n}.intermediate.gate.weight`, [hidden, width]]));
const weights = new Map(
  [...randomWeights({ ...bertWeights(config, 1), ...gates })].filter(
    ([name]) => /^(embeddings|encoder)/.test(name) && !/position_embeddings|(dense|query|key|value)\.bias$/.test(name),
  ),
);
const states = new NaiveEncoder(own, weights as unknown as Matrices).bert([cls, 5, 6, 10, 7, 12, separator]);
const mean = Array.from({ length: width }, (_, j) => states.reduce((sum, s) => sum + s[j] / states.length, 0));
const text = "The cats sat.";

async function expectMean(model: Parameters<typeof embeddings>[0]): Promise<void> {
  using encoder = await embeddings(model, options);
  const got = await encoder.embed([text, "the mat ."]);
  expect(Math.max(...got[0].map((v, j) => Math.abs(v - mean[j])))).toBeLessThan(1e-4);
}

/** Queries, keys and values as one matrix. */
function merged(): Map<string, HostTensor> {
  const all = new Map(weights);
  for (const n of [0, 1]) {
    const name = (part: string) => `encoder.layer.${n}.attention.self.${part}.weight`;
    merge(all, ["query", "key", "value"].map(name), name("qkv"));
  }
  return all;
}

async function saved(json: object, named: (name: string) => string, all: ReadonlyMap<string, HostTensor>) {
  const path = await folderOf("bert", {
    "config.json": { model_type: "nomic_bert", vocab_size: words.length, ...json },
  });
  await writeFile(join(path, "model.safetensors"), writeSafetensors(new Map([...all].map(([n, t]) => [named(n), t]))));
  return path;
}

const ofTransformers = {
  hidden_size: width,
  num_attention_heads: shape.heads,
  intermediate_size: hidden,
  num_hidden_layers: shape.layers,
  max_position_embeddings: 12,
  layer_norm_eps: config.epsilon,
  hidden_act: "silu",
  rope_parameters: { rope_theta: 1000, rope_type: "default" },
};
const ofItsOwn = {
  n_embd: width,
  n_head: shape.heads,
  n_inner: hidden,
  n_layer: shape.layers,
  n_positions: 12,
  layer_norm_epsilon: config.epsilon,
  activation_function: "swiglu",
  rotary_emb_base: 1000,
  rotary_emb_fraction: 1,
  prenorm: false,
};
const itsNames = (name: string): string =>
  name
    .replace("embeddings.LayerNorm", "emb_ln")
    .replace("encoder.layer.", "encoder.layers.")
    .replace("attention.self.qkv", "attn.Wqkv")
    .replace("attention.output.dense", "attn.out_proj")
    .replace("attention.output.LayerNorm", "norm1")
    .replace("intermediate.dense", "mlp.fc11")
    .replace("intermediate.gate", "mlp.fc12")
    .replace("output.dense", "mlp.fc2")
    .replace("output.LayerNorm", "norm2");

test("as its own code names it", async () => {
  await expectMean(await saved(ofItsOwn, itsNames, merged()));
});

test("as transformers does", async () => {
  const named = (name: string): string =>
    name
      .replace(/^encoder\.layer/, "nomic_bert.layers")
      .replace("attention.self.query", "self_attn.q_proj")
      .replace("attention.self.key", "self_attn.k_proj")
      .replace("attention.self.value", "self_attn.v_proj")
      .replace("attention.output.dense", "self_attn.o_proj")
      .replace("attention.output.LayerNorm", "post_attention_layernorm")
      .replace("intermediate.dense", "mlp.up_proj")
      .replace("intermediate.gate", "mlp.gate_proj")
      .replace("output.dense", "mlp.down_proj")
      .replace("output.LayerNorm", "post_mlp_layernorm");
  await expectMean(await saved(ofTransformers, named, weights));
});

test("as a GGUF file", async () => {
  const metadata = bertMetadata({ ...own, positions: 12 }, { ...wordPieceMetadata(words), "bert.pooling_type": 1 });
  const named = new Map(
    [...metadata].map(([key, value]) => [
      key.replace(/^bert/, "nomic-bert"),
      value === "bert" && key === "general.architecture" ? "nomic-bert" : value,
    ]),
  );
  named.set("nomic-bert.rope.freq_base", 1000);
  await expectMean(bertGguf(named, merged()));
  named.set("nomic-bert.rope.scaling.type", "yarn");
  await expect(embeddings(bertGguf(named, merged()), options)).rejects.toThrow(UnsupportedOpError);
});

test.each([
  ["prenorm", true],
  ["rotary_scaling_factor", 2],
  ["moe_every_n_layers", 2],
  ["activation_function", "geglu"],
])("%s of %s is refused", async (key, value) => {
  const path = await saved({ ...ofItsOwn, [key]: value }, itsNames, merged());
  await expect(embeddings(path, options)).rejects.toThrow(UnsupportedOpError);
});
