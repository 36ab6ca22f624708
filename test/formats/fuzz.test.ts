/**
 * Hostile model files: bytes changed anywhere, mostly before the weights, and files in order whose metadata lies. Whatever comes, it
 * ends in a typed error or a model that runs, soon, and asks for no more memory than the file is worth.
 */
import { describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { readDecoder } from "../../src/formats/decoder/read.ts";
import { type GgufValue, readGguf, writeGguf } from "../../src/formats/gguf/index.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { type ByteSource, bytesSource } from "../../src/formats/source.ts";
import { ForwardpassError, InputError, load } from "../../src/index.ts";
import { openTokenizer } from "../../src/tasks/tokenizers/open.ts";
import { readWeights } from "../models/all-weights.ts";
import { type Random, randomFrom } from "../random.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { tinyLlama2c } from "../tasks/tiny-llama2c.ts";

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)];
const below = (random: Random, n: number): number => Math.floor(random() * n);

/** One to four edits among the first `end` bytes: values set, pieces removed, doubled or cut off. */
function mutate(random: Random, valid: Uint8Array, end: number): Uint8Array {
  let bytes = valid.slice();
  for (let n = 1 + below(random, 4); n > 0; n--) {
    const at = below(random, Math.min(end, bytes.length));
    const what = random();
    if (what < 0.6) bytes[at] = pick(random, [0, 1, 2, 13, 127, 128, 255, below(random, 256)]);
    else if (what < 0.75)
      for (let i = 0; i < 8 && at + i < bytes.length; i++) bytes[at + i] = below(random, 4) ? 0 : 255;
    else if (what < 0.85) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(random, 8))]);
    else if (what < 0.95)
      bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - below(random, 16)))]);
    else bytes = bytes.slice(0, at);
  }
  return Uint8Array.from(bytes);
}

/** More than a tiny model takes in any way. */
const memoryLimit = 32 << 20;

/** Reads a decoder as far as it goes; true if nothing was wrong with it. */
async function survives(source: ByteSource, run: boolean): Promise<boolean> {
  const before = process.memoryUsage().arrayBuffers;
  try {
    const file = await readDecoder(source);
    await readWeights(file);
    if (file.vocabulary) (await openTokenizer(file.vocabulary)).encode("hello 123");
    if (run) {
      using model = await load(source, { device: "cpu", memoryLimit });
      await model.run({ tokens: Int32Array.of(1, 2, 3) });
    }
    return true;
  } catch (e) {
    if (!(e instanceof ForwardpassError)) throw e;
    return false;
  } finally {
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * memoryLimit);
  }
}

/** Runs and reports the seed of what went wrong. */
async function each(count: number, work: (random: Random, i: number) => Promise<boolean>): Promise<number> {
  let rejected = 0;
  for (let seed = 1; seed <= count; seed++) {
    try {
      if (!(await work(randomFrom(seed), seed))) rejected++;
    } catch (e) {
      throw new Error(`seed ${seed}: ${(e as Error).message}`, { cause: e });
    }
  }
  return rejected;
}

const timeout = 300_000;

const numbers = [0, 1, 2, 3, 7, -1, 0.5, 33, 255, 65536, 2 ** 31, 2 ** 40, 2 ** 53, 1e300, -1e300];
const lies: readonly GgufValue[] = [
  ...numbers,
  "",
  "llama",
  "gpt2",
  "yarn",
  true,
  2n ** 63n,
  [],
  ["a"],
  [1, 2].map(String),
  Float32Array.of(1e30),
  Int32Array.of(),
  [[true]],
];

describe("GGUF", () => {
  const valid = tinyGguf();

  test("10,000 files with changed bytes", { timeout }, async () => {
    const dataStart = Math.min(...[...(await readGguf(bytesSource(valid))).tensors.values()].map((t) => t.byteOffset));
    // Mostly the header; in every tenth file the weights too.
    const rejected = await each(10_000, (random, i) =>
      survives(bytesSource(mutate(random, valid, i % 10 ? dataStart : valid.length)), i % 20 === 0),
    );
    expect(rejected).toBeGreaterThan(2000);
    expect(rejected).toBeLessThan(10_000);
  });

  test("2,000 files whose metadata lies", { timeout }, async () => {
    const file = await readGguf(bytesSource(valid));
    const tensors = new Map(
      await Promise.all([...file.tensors].map(async ([name, t]) => [name, { ...t, bytes: await t.bytes() }] as const)),
    );
    const keys = [...file.metadata.keys()];
    const more = [
      "rope.scaling.type",
      "rope.scaling.factor",
      "rope.dimension_count",
      "rope.freq_base",
      "attention.sliding_window",
    ];
    const extra = [...more, "attention.key_length", "attn_logit_softcapping", "final_logit_softcapping"].map(
      (k) => `llama.${k}`,
    );
    const rejected = await each(2000, async (random, i) => {
      const metadata = new Map(file.metadata);
      const changed = new Map(tensors);
      for (let n = 1 + below(random, 2); n > 0; n--) {
        const key = pick(random, [...keys, ...extra]);
        if (random() < 0.15) metadata.delete(key);
        else metadata.set(key, pick(random, lies));
      }
      if (random() < 0.2) {
        const [a, b] = [pick(random, [...changed.keys()]), pick(random, [...changed.keys()])];
        changed.set(a, tensors.get(b)!);
      }
      const bytes = writeGguf({ metadata, tensors: changed });
      const fine = await survives(bytesSource(bytes), i % 2 === 0);
      if (i % 10 === 0)
        await convert(bytes, { to: "safetensors" }).catch((e) => {
          if (!(e instanceof ForwardpassError)) throw e;
        });
      return fine;
    });
    expect(rejected).toBeGreaterThan(500);
    expect(rejected).toBeLessThan(2000);
  });
});

describe("llama2.c", () => {
  test("10,000 files with changed bytes", { timeout }, async () => {
    const valid = tinyLlama2c();
    // Nearly all of the file is weights, in which nothing can be wrong.
    const rejected = await each(10_000, (random, i) =>
      survives(bytesSource(mutate(random, valid, 28 + below(random, 40))), i % 20 === 0),
    );
    expect(rejected).toBeGreaterThan(2000);
    expect(rejected).toBeLessThan(10_000);
  });
});

describe("safetensors", () => {
  const config = {
    model_type: "llama",
    vocab_size: 20,
    hidden_size: 8,
    intermediate_size: 12,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    num_hidden_layers: 1,
    max_position_embeddings: 32,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    rope_scaling: { rope_type: "linear", factor: 2 },
    sliding_window: 5,
    head_dim: 4,
    hidden_act: "silu",
  };
  const shapes: Record<string, number[]> = {
    "model.embed_tokens.weight": [20, 8],
    "model.norm.weight": [8],
    "model.layers.0.input_layernorm.weight": [8],
    "model.layers.0.post_attention_layernorm.weight": [8],
    "model.layers.0.self_attn.q_proj.weight": [8, 8],
    "model.layers.0.self_attn.k_proj.weight": [4, 8],
    "model.layers.0.self_attn.v_proj.weight": [4, 8],
    "model.layers.0.self_attn.o_proj.weight": [8, 8],
    "model.layers.0.mlp.gate_proj.weight": [12, 8],
    "model.layers.0.mlp.up_proj.weight": [12, 8],
    "model.layers.0.mlp.down_proj.weight": [8, 12],
  };
  const valid = writeSafetensors(
    new Map(
      Object.entries(shapes).map(([name, shape]) => {
        const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1);
        return [name, { dtype: "f32" as const, shape, data }];
      }),
    ),
  );
  const withConfig = (bytes: Uint8Array, json: string): ByteSource => ({
    ...bytesSource(bytes, "model.safetensors"),
    async sibling(name) {
      if (name !== "config.json") throw new InputError(`there is no ${name}`, { notFound: true });
      return bytesSource(new TextEncoder().encode(json), name);
    },
  });

  test("10,000 files with changed bytes", { timeout }, async () => {
    const json = JSON.stringify(config);
    expect(await survives(withConfig(valid, json), true)).toBe(true);
    const headerEnd = 8 + Number(new DataView(valid.buffer).getBigUint64(0, true));
    const rejected = await each(10_000, (random, i) =>
      survives(withConfig(mutate(random, valid, headerEnd), json), i % 20 === 0),
    );
    expect(rejected).toBeGreaterThan(2000);
  });

  test("2,000 configurations that lie", { timeout }, async () => {
    const values = [
      ...numbers,
      null,
      "",
      "x",
      true,
      [],
      {},
      [1],
      { rope_type: "yarn", factor: 1e9 },
      { type: "longrope" },
      { rope_type: "llama3" },
      { type: "dynamic", factor: 2 },
    ];
    const keys = [
      ...Object.keys(config),
      "layer_types",
      "query_pre_attn_scalar",
      "partial_rotary_factor",
      "no_rope_layers",
      "residual_multiplier",
      "attention_multiplier",
      "rope_parameters",
      "rope_local_base_freq",
    ];
    const types = [
      "llama",
      "mistral",
      "qwen2",
      "qwen3",
      "phi3",
      "gemma",
      "gemma2",
      "gemma3_text",
      "gemma3",
      "gpt2",
      "smollm3",
      "granite",
      "olmo3",
    ];
    const rejected = await each(2000, (random) => {
      const changed: Record<string, unknown> = {
        ...config,
        model_type: random() < 0.3 ? pick(random, types) : "llama",
      };
      for (let n = 1 + below(random, 2); n > 0; n--) changed[pick(random, keys)] = pick(random, values);
      return survives(withConfig(valid, JSON.stringify(changed)), true);
    });
    expect(rejected).toBeGreaterThan(500);
    expect(rejected).toBeLessThan(2000);
  });
});
