/** SentencePiece's unigram model, against SentencePiece itself (compiled to WebAssembly), on vocabularies of its own trainer. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { ggufVocabulary, vocabularyMetadata } from "../../src/formats/decoder/gguf-vocabulary.ts";
import { Metadata } from "../../src/formats/decoder/metadata.ts";
import type { UnigramVocabulary } from "../../src/formats/decoder/vocabulary.ts";
import type { Json } from "../../src/formats/folder.ts";
import { CharsMap } from "../../src/tasks/tokenizers/charsmap.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import { openTokenizer } from "../../src/tasks/tokenizers/open.ts";
import { decode, type Tokenizer } from "../../src/tasks/tokenizers/tokenizer.ts";
import { UnigramTokenizer } from "../../src/tasks/tokenizers/unigram.ts";
import { FormatError } from "../../src/tensor/errors.ts";
import { readUnigramModel } from "../goldens/sentencepiece-model.ts";
import { weightsOf } from "../packages.ts";
import { texts, wellFormed } from "./texts.ts";

interface Processor {
  load(path: string): Promise<void>;
  encodeIds(text: string): number[];
}

const fileOf = (name: string): string => fileURLToPath(new URL(`../goldens/${name}.model`, import.meta.url));
const models = ["unigram-rules", "unigram-bytes"];
/** Through the metadata of a GGUF file. */
function fromGguf(v: UnigramVocabulary): Promise<Tokenizer> {
  const metadata = vocabularyMetadata(v).set("general.architecture", "bert");
  return openTokenizer(ggufVocabulary(new Metadata({ metadata }, "test"))!);
}

const original = await weightsOf("@agnai/sentencepiece-js", "1.1.1");
describe.skipIf(!original)("SentencePiece", { timeout: 60_000 }, () => {
  test.each(models)("gives the same ids with %s", async (name) => {
    const { SentencePieceProcessor } = createRequire(import.meta.url)(join(original!, "dist/index.js"));
    const theirs: Processor = new SentencePieceProcessor();
    await theirs.load(fileOf(name));
    const ours = await fromGguf(readUnigramModel(fileOf(name)));
    const more = [
      "ﬁ½ﾊﾟ㌔",
      "e\u0301 n\u0303 c\u0327",
      "<extra_0>",
      "a<tool\u2581call>b",
      "<s><mask></s>",
      "\u0001 \u0001",
      "▁ ▁",
    ];
    const all = [...more, ...[11, 12].flatMap(texts)].map(wellFormed);
    let unknown = 0;
    for (const text of all) {
      const want = theirs.encodeIds(text);
      const got = ours.encode(text);
      if (got.join() !== want.join()) expect(got, JSON.stringify(text)).toEqual(want);
      if (want.includes(0)) unknown++;
    }
    expect(all.length).toBeGreaterThan(2400);
    // Where there are bytes nothing is unknown.
    if (name.endsWith("bytes")) expect(unknown).toBe(0);
    else expect(unknown).toBeGreaterThan(100);
  });
});

/** As XLM-RoBERTa and T5 have it. */
function tokenizerJson(v: UnigramVocabulary): Json {
  const special = (id: string): Json => ({ SpecialToken: { id, type_id: 0 } });
  return {
    added_tokens: v.pieces.flatMap((content, id) =>
      v.kinds[id] === "control" || v.kinds[id] === "unknown"
        ? [{ id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }]
        : [],
    ),
    normalizer: { type: "Precompiled", precompiled_charsmap: Buffer.from(v.charsmap!).toString("base64") },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Metaspace", replacement: "▁", prepend_scheme: "always" }],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [special("<s>"), { Sequence: { id: "A", type_id: 0 } }, special("</s>")],
      pair: [],
      special_tokens: Object.fromEntries(
        ["<s>", "</s>"].map((id) => [id, { id, ids: [v.pieces.indexOf(id)], tokens: [id] }]),
      ),
    },
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
    model: { type: "Unigram", unk_id: v.unknown, vocab: v.pieces.map((piece, id) => [piece, v.scores[id]]) },
  };
}

describe("tokenizer.json", () => {
  const model = readUnigramModel(fileOf("unigram-rules"));

  test("has its rules applied, not those of Unicode", async () => {
    const t = await HuggingFaceTokenizer.open(tokenizerJson(model));
    const ours = await fromGguf(model);
    const [begin, end] = [model.begin!, [...model.end][0]];
    // The rules know the ligature, and not the circled digit, which NFKC would change too.
    expect(t.encode("ﬁle")).toEqual([begin, ...ours.encode("file"), end]);
    expect(t.encode("①", { begin: false })).toEqual(ours.encode("①"));
    expect(ours.encode("①")).toContain(model.unknown);
    expect(ours.encode("1")).not.toContain(model.unknown);
  });

  test("gives the vocabulary's ids", { timeout: 60_000 }, async () => {
    const t = await HuggingFaceTokenizer.open(tokenizerJson(model));
    const ours = await fromGguf(model);
    // Names of tokens are taken for what they say; a "▁" and some white space are no spaces to one of both.
    const plain = texts(15)
      .filter((text) => !/[<▁\u0085\ufeff]/.test(text))
      .map(wellFormed);
    for (const text of plain) expect(t.encode(text, { begin: false }), JSON.stringify(text)).toEqual(ours.encode(text));
    expect(plain.length).toBeGreaterThan(500);
  });
});

describe("unigram", () => {
  test("gives back texts that no rule changes", async () => {
    const ours = await fromGguf(readUnigramModel(fileOf("unigram-bytes")));
    for (const text of texts(13).map(wellFormed))
      expect(decode(ours, ours.encode(text))).toBe(text.replaceAll("▁", " "));
    const rules = await fromGguf(readUnigramModel(fileOf("unigram-rules")));
    expect(decode(rules, rules.encode("  the ﬁle\tis  read "))).toBe("the file is read");
  });

  const v: UnigramVocabulary = {
    kind: "unigram",
    pieces: ["<s>", "</s>", "<unk>", "▁", "a", "b", "ab", "▁a", "<x>", "b<x>"],
    scores: [0, 0, 0, -3, -2, -2, -3.5, -4, 0, 0],
    kinds: ["control", "control", "unknown", ..."nnnnn".split("").map(() => "normal" as const), "user", "unused"],
    begin: 0,
    end: [1],
    unknown: 2,
  };
  const ids = (text: string, more: Partial<UnigramVocabulary> = {}, options = {}) =>
    new UnigramTokenizer({ ...v, ...more }).encode(text, options);

  test("takes the likeliest cut by hand", () => {
    // "▁" + "ab" is -6.5, "▁a" + "b" -6, "▁" + "a" + "b" -7.
    expect(ids("ab")).toEqual([0, 7, 5]);
    expect(ids("ab", { addSpace: false })).toEqual([0, 6]);
    expect(ids("ab", { addSpace: false, addBegin: false, addEnd: true })).toEqual([6, 1]);
    expect(ids("ab", { addEnd: true }, { begin: false })).toEqual([7, 5]);
  });

  test("unknown characters side by side are one token, user pieces stand, unused ones don't", () => {
    expect(ids("a日本b", { addSpace: false, addBegin: false })).toEqual([4, 2, 5]);
    expect(ids("ab<x>", { addSpace: false, addBegin: false })).toEqual([6, 8]);
    expect(ids("  a  ", { addBegin: false })).toEqual([7]);
    expect(ids("  ", { addBegin: false })).toEqual([]);
    expect(ids(" a ", { addBegin: false, collapseSpaces: false })).toEqual([3, 7, 3]);
  });

  test("control tokens only where the caller allows them", () => {
    expect(ids("a</s>", { addSpace: false, addBegin: false })).toEqual([4, 2]);
    expect(ids("a</s>", { addSpace: false, addBegin: false }, { special: true })).toEqual([4, 1]);
  });

  test("a charsmap that does not fit is refused", () => {
    for (const blob of [[], [1, 0], [255, 255, 0, 0, 1], [3, 0, 0, 0, 1, 2, 3], [0, 0, 0, 0]])
      expect(() => new CharsMap(Uint8Array.from(blob))).toThrow(FormatError);
  });
});
