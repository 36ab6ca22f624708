/** ModernBERT in folders and GGUF files, against the naive implementation. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { GgufValue } from "../../src/formats/gguf/index.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { fillMask } from "../../src/tasks/fill-mask.ts";
import { openTextRunner } from "../../src/tasks/language/text-runner.ts";
import { UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import type { Matrices } from "../goldens/decoder.ts";
import { NaiveEncoder } from "../goldens/encoder.ts";
import { randomWeights, type Shapes } from "../models/tiny-encoders.ts";
import { wordPieceMetadata } from "./bert-gguf.ts";
import { cls, folderOf, mask, separator, words } from "./encoder-folders.ts";
import { merge, written } from "./gguf-files.ts";

const options = { device: "wasm", threads: 1 } as const;
const [width, hidden, heads, positions, epsilon] = [16, 24, 2, 12, 1e-5];
const windows = [undefined, 1, 1, undefined];
const ropeOf = (base: number) => ({ dim: width / heads, base, interleaved: false });
const localRope = ropeOf(10_000);

const shapes: Shapes = {
  "embeddings.tok_embeddings.weight": [words.length, width],
  "embeddings.norm.weight": [width],
  "final_norm.weight": [width],
  "head.dense.weight": [width, width],
  "head.norm.weight": [width],
  "decoder.bias": [words.length],
};
for (const n of windows.keys()) {
  const name = `layers.${n}`;
  for (const part of ["query", "key", "value", "Wo"]) shapes[`${name}.attn.${part}.weight`] = [width, width];
  if (n > 0) shapes[`${name}.attn_norm.weight`] = [width];
  shapes[`${name}.mlp_norm.weight`] = [width];
  for (const part of ["gate", "up"]) shapes[`${name}.mlp.${part}.weight`] = [hidden, width];
  shapes[`${name}.mlp.Wo.weight`] = [width, hidden];
}
const plain = randomWeights(shapes);
/** As files have them. */
const weights = new Map(plain);
for (const n of windows.keys()) {
  const of = (part: string) => `layers.${n}.${part}.weight`;
  merge(weights, ["attn.query", "attn.key", "attn.value"].map(of), of("attn.Wqkv"));
  merge(weights, ["mlp.gate", "mlp.up"].map(of), of("mlp.Wi"));
}
const naive = new NaiveEncoder(
  { heads, layers: windows.length, epsilon, activation: "gelu", rope: ropeOf(160_000) },
  plain as unknown as Matrices,
);
const ids = [cls, 5, 6, 10, 7, 12, separator];
const text = "The cats sat.";
const states = naive.modernBert(ids, windows, localRope);
const mean = Float64Array.from({ length: width }, (_, j) => states.reduce((sum, s) => sum + s[j] / states.length, 0));
const close = (got: ArrayLike<number>, want: ArrayLike<number>): void => {
  expect(got.length).toBe(want.length);
  expect(Math.max(...Array.from(got, (v, j) => Math.abs(v - want[j])))).toBeLessThan(2e-4);
};

const json = {
  model_type: "modernbert",
  vocab_size: words.length,
  hidden_size: width,
  intermediate_size: hidden,
  num_hidden_layers: windows.length,
  num_attention_heads: heads,
  max_position_embeddings: positions,
  norm_eps: epsilon,
  local_attention: 2,
  global_attn_every_n_layers: 3,
  global_rope_theta: 160_000,
  local_rope_theta: 10_000,
};
/** With this configuration, and these weights besides. */
async function saved(more: object = {}, besides: ReadonlyMap<string, HostTensor> = new Map()): Promise<string> {
  const path = await folderOf("bert", { "config.json": { ...json, ...more } });
  const named = [...weights, ...besides].map(([name, t]): [string, HostTensor] => [
    /^(head|decoder|classifier)\./.test(name) ? name : `model.${name}`,
    t,
  ]);
  await writeFile(join(path, "model.safetensors"), writeSafetensors(new Map(named)));
  return path;
}

describe("folders", () => {
  const ofTransformers5 = {
    global_attn_every_n_layers: undefined,
    layer_types: windows.map((w) => (w === undefined ? "full_attention" : "sliding_attention")),
    global_rope_theta: undefined,
    local_rope_theta: undefined,
    rope_parameters: {
      full_attention: { rope_theta: 160_000, rope_type: "default" },
      sliding_attention: { rope_theta: 10_000, rope_type: "default" },
    },
  };
  test.each([
    ["older configurations", {}],
    ["those of transformers 5", ofTransformers5],
  ])("vectors, by %s", async (_, more) => {
    using model = await embeddings(await saved(more), { ...options, normalize: false });
    const [first] = await model.embed([text, "the mat ."]);
    close(first, mean);
  });

  test("words for gaps", async () => {
    using model = await fillMask(await saved(), options);
    const [[best]] = await model.fill("The [MASK] sat.", { count: 1 });
    const seen = naive.modernBert([cls, 5, mask, 7, 12, separator], windows, localRope);
    const judged = naive.modernHead(seen[2]);
    const table = plain.get("embeddings.tok_embeddings.weight")!.data as Float32Array;
    const bias = plain.get("decoder.bias")!.data as Float32Array;
    const logits = Array.from(bias, (b, i) => judged.reduce((sum, v, j) => sum + v * table[i * width + j], b));
    expect(best.token).toBe(logits.indexOf(Math.max(...logits)));
    const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
    expect(best.probability).toBeCloseTo(Math.exp(Math.max(...logits)) / total, 4);
  });

  const classifier = randomWeights({ "classifier.weight": [2, width], "classifier.bias": [2] });
  const judge = new NaiveEncoder(
    { heads, layers: 0, epsilon, activation: "gelu" },
    new Map([...plain, ...classifier]) as unknown as Matrices,
  );
  const logitsOf = (state: Float64Array): Float64Array => judge.linear("classifier", judge.modernHead(state));

  test.each([
    ["cls", states[0]],
    ["mean", mean],
  ])("classes of texts that are filled up, by %s", async (classifier_pooling, pooled) => {
    const runner = await openTextRunner(await saved({ classifier_pooling }, classifier), "classes", options);
    using _ = runner.session;
    const [logits] = await runner.run([{ ids }, { ids: [cls, 5, separator] }]);
    close(logits, logitsOf(pooled));
  });

  test("classes of tokens, and answers", async () => {
    const tokens = await openTextRunner(await saved({}, classifier), "tokens", options);
    const answers = { architectures: ["ModernBertForQuestionAnswering"] };
    const span = await openTextRunner(await saved(answers, classifier), "span", options);
    for (const runner of [tokens, span]) {
      const [logits] = await runner.run([{ ids }]);
      close(
        logits,
        states.flatMap((s) => [...logitsOf(s)]),
      );
      runner.session.dispose();
    }
  });

  test.each([
    [{ classifier_pooling: "max" }, new Map()],
    [{ layer_types: ["full_attention", "full_attention", "full_attention", "linear_attention"] }, new Map()],
    [{}, randomWeights({ "layers.0.attn.gate.weight": [2, 2] })],
  ])("what is not known is refused: %j", async (more, besides) => {
    await expect(embeddings(await saved(more, besides), options)).rejects.toThrow(UnsupportedOpError);
  });
});

describe("GGUF files", () => {
  const ggufName = (name: string): string =>
    name
      .replace("embeddings.tok_embeddings", "token_embd")
      .replace("embeddings.norm", "token_embd_norm")
      .replace("layers.", "blk.")
      .replace("attn.Wqkv", "attn_qkv")
      .replace("attn.Wo", "attn_output")
      .replace("mlp_norm", "ffn_norm")
      .replace("mlp.Wi", "ffn_up")
      .replace("mlp.Wo", "ffn_down")
      .replace("final_norm", "output_norm");
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", "modern-bert"],
    ["modern-bert.context_length", positions],
    ["modern-bert.embedding_length", width],
    ["modern-bert.feed_forward_length", hidden],
    ["modern-bert.block_count", windows.length],
    ["modern-bert.attention.head_count", heads],
    ["modern-bert.attention.layer_norm_epsilon", epsilon],
    ["modern-bert.attention.sliding_window", 2],
    ["modern-bert.rope.freq_base", 160_000],
    ["modern-bert.rope.freq_base_swa", 10_000],
    ["modern-bert.pooling_type", 1],
    ...Object.entries(wordPieceMetadata(words)),
  ]);
  const tensors = new Map(
    [...weights].filter(([name]) => !/^(head|decoder)/.test(name)).map(([name, t]) => [ggufName(name), t]),
  );

  test.each([[undefined], [windows.map((w) => w !== undefined)], [3]])("vectors, windows by %j", async (pattern) => {
    const own = new Map(metadata);
    if (pattern !== undefined) own.set("modern-bert.attention.sliding_window_pattern", pattern);
    using model = await embeddings(written(own, tensors), { ...options, normalize: false });
    close(await model.embed(text), mean);
  });
});
