/** `load` recognises every format by its content. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import {
  compile,
  FormatError,
  graph,
  InputError,
  load,
  openDevice,
  relu,
  UnsupportedOpError,
} from "../../src/index.ts";
import { embeddings, textGeneration } from "../../src/tasks/index.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { NaiveDecoder } from "../goldens/decoder.ts";
import { build, text, variants } from "../models/tiny.ts";
import { encodeModel } from "../onnx/encode.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { tinyLlama2c } from "../tasks/tiny-llama2c.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-load-"));
afterAll(() => rm(folder, { recursive: true }));

async function checkpoint(name: string, json: object): Promise<string> {
  const path = await mkdtemp(join(folder, name));
  const { weights } = build(variants["mistral"]);
  const names: [RegExp, string][] = [
    [/^token_embd/, "model.embed_tokens"],
    [/^output_norm/, "model.norm"],
    [/^output\./, "lm_head."],
    [/attn_(q|k|v|output)\./, "self_attn.$1_proj."],
    [/output_proj/, "o_proj"],
    [/attn_norm/, "input_layernorm"],
    [/ffn_norm/, "post_attention_layernorm"],
    [/ffn_(gate|up|down)/, "mlp.$1_proj"],
    [/^blk/, "model.layers"],
  ];
  const renamed = [...weights].map(
    ([key, w]) => [names.reduce((n, [from, to]) => n.replace(from, to), key), w] as const,
  );
  await writeFile(join(path, "model.safetensors"), writeSafetensors(new Map(renamed) as Map<string, HostTensor>));
  await writeFile(join(path, "config.json"), JSON.stringify(json));
  return path;
}
const mistral = {
  model_type: "mistral",
  vocab_size: 50,
  hidden_size: 32,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 2,
  max_position_embeddings: 300,
  rms_norm_eps: 1e-5,
  sliding_window: 5,
};

const device = "cpu";
const tokens = text(9);

function expectLogits(got: HostTensor, variant: keyof typeof variants): void {
  const { config, weights } = build(variants[variant]);
  const naive = new NaiveDecoder(config, weights);
  const want = tokens.flatMap((t) => [...naive.next(t)]);
  expect(got.shape).toEqual([1, tokens.length, config.vocabSize]);
  expect(Math.max(...want.map((v, i) => Math.abs(v - (got.data[i] as number))))).toBeLessThan(2e-4);
}

describe("load", () => {
  test("ONNX", async () => {
    const bytes = encodeModel({
      nodes: [{ type: "Neg", inputs: ["x"], outputs: ["y"] }],
      inputs: [{ name: "x", dtype: "f32", shape: [2] }],
      outputs: [{ name: "y", dtype: "f32", shape: [2] }],
    });
    using model = await load(bytes, { device });
    expect((await model.run({ x: Float32Array.of(1, 2) }))["y"].data).toEqual(Float32Array.of(-1, -2));
  });

  test("GGUF says what it takes, and takes a bare array as a batch of one", async () => {
    using model = await load(tinyGguf(), { device });
    expect(model.inputs).toEqual([{ name: "tokens", dtype: "i32", shape: ["batch", "tokens"] }]);
    expect(model.outputs).toEqual([{ name: "logits", dtype: "f32", shape: ["batch", "tokens", 260] }]);
    const { logits } = await model.run({ tokens: Int32Array.of(1, 2, 3) });
    expect(logits.shape).toEqual([1, 3, 260]);
    const rows = { dtype: "i32", shape: [2, 2], data: Int32Array.of(9, 9, 1, 2) } as const;
    const two = (await model.run({ tokens: rows }))["logits"].data as Float32Array;
    const first = (logits.data as Float32Array).subarray(0, 2 * 260);
    expect(two.subarray(2 * 260).every((v, i) => Math.abs(v - first[i]) < 1e-4)).toBe(true);
    await expect(model.run({ tokens: new Int32Array(65) })).rejects.toThrow(/context|position|outside/);
  });

  test("llama2.c", async () => {
    using model = await load(new Blob([tinyLlama2c()]), { device });
    expectLogits((await model.run({ tokens: Int32Array.from(tokens) }))["logits"], "llama 2");
  });

  test("a folder with safetensors and config.json, or the file in it", async () => {
    const path = await checkpoint("mistral", mistral);
    for (const input of [path, join(path, "model.safetensors")]) {
      using model = await load(input, { device });
      expectLogits((await model.run({ tokens: Int32Array.from(tokens) }))["logits"], "mistral");
    }
  });

  test("safetensors without config.json: what is wrong with the file, else who reads it alone", async () => {
    const alone = join(await mkdtemp(join(folder, "alone")), "weights.safetensors");
    for (const open of [load, embeddings, textGeneration]) {
      await writeFile(
        alone,
        writeSafetensors(new Map([["a", { dtype: "f32", shape: [1], data: new Float32Array(1) }]])),
      );
      await expect(open(alone, { device })).rejects.toThrow(
        /weights\.safetensors: there is no config\.json beside it.*readSafetensors of "forwardpass\/safetensors"/,
      );
      const json = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}';
      await writeFile(alone, Uint8Array.from([json.length, ...new Array(7).fill(0), ...Buffer.from(json), 0, 0, 0, 0]));
      await expect(open(alone, { device })).rejects.toThrow(FormatError);
    }
  });

  test("what can't be loaded says why", async () => {
    await expect(load(new Uint8Array(0))).rejects.toThrow(FormatError);
    await expect(load(folder)).rejects.toThrow(InputError);
    const [page, cut] = [join(folder, "page.gguf"), join(folder, "cut.onnx")];
    // Some begin with what would be the tag of a model's field.
    for (const start of ["<!DOCTYPE html>", "Bad Gateway", '"Not found"', "root: yes\nfiles:", "2 files", ":)"]) {
      await writeFile(page, start);
      await expect(load(page)).rejects.toThrow(
        new FormatError(
          `${page}: neither ONNX, GGUF, safetensors nor llama2.c: it begins with ${JSON.stringify(start)}`,
          { offset: 0 },
        ),
      );
    }
    // A model without nodes whose graph comes first, and one that ends too early.
    (await load(Uint8Array.of(0x3a, 0x00, 0x08, 0x0a), { device })).dispose();
    await writeFile(cut, encodeModel({}).subarray(0, -1));
    await expect(load(cut)).rejects.toThrow(/cut\.onnx: a field of \d+ bytes reaches past the end of its message/);
    await expect(load(await checkpoint("odd", { model_type: "rwkv" }))).rejects.toThrow(UnsupportedOpError);
    // Weights without a configuration beside them.
    const bytes = writeSafetensors(new Map([["w", { dtype: "f32", shape: [1], data: Float32Array.of(1) }]]));
    await expect(load(bytes)).rejects.toThrow(/config\.json.*beside/);
  });

  test("stopped while it reads", async () => {
    await expect(load(tinyGguf(), { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  });
});

test("options of other names are refused before anything is read", async () => {
  const names =
    "device, threads, fallback, optimize, memoryLimit, verify, outputs, signal, onProgress, externalData, cache, offline, sha256, " +
    "token, hubUrl, registry, retries, retryDelay, headers, fetch";
  await expect(load("/no/such/model", { devise: "wasm" } as never)).rejects.toThrow(
    new InputError(`load: unknown option "devise"; did you mean "device"? There are: ${names}`),
  );
  await expect(load("/no/such/model", { shapes: {} } as never)).rejects.toThrow(
    new InputError(`load: unknown option "shapes". There are: ${names}`),
  );
  for (const wrong of [null, "wasm", ["wasm"]]) {
    const refused = load("/no/such/model", wrong as never);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/^load: (options are an object|unknown option "0")/);
  }
  await expect(load("/no/such/model", { signal: {} } as never)).rejects.toThrow("signal takes an AbortSignal");
  for (const others of [{}, { verify: true }])
    await expect(load("/no/such/model", { onProgress: 5, ...others } as never)).rejects.toThrow(
      new InputError("load: onProgress takes a function, got 5"),
    );
  // None of these is wrong.
  await expect(load("/no/such/model", { devise: undefined, threads: 1, retries: 0 } as never)).rejects.toThrow(
    "/no/such/model",
  );
});

test("compile: options of other names", async () => {
  const net = graph(({ input }) => ({ y: relu(input("x", "f32", [1])) }));
  const device = await openDevice("cpu");
  await expect(compile(net, { device, optimise: false } as never)).rejects.toThrow(
    new InputError(
      'compile: unknown option "optimise"; did you mean "optimize"? There are: device, optimize, ownsWeights, memoryLimit, plans, verify, outputs',
    ),
  );
  using session = await compile(net, { device, plans: 2, optimise: undefined } as never);
  expect((await session.run({ x: new Float32Array([-1]) })).y.data).toEqual(new Float32Array(1));
});
