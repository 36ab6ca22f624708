/** Steps of `tokenizer.json` that the peer has otherwise: what `tokenizers`, the original in Python and Rust, makes of texts. */
import { describe, expect, test } from "vitest";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";

interface Given {
  normalizer?: object | null;
  pre_tokenizer?: object;
  post_processor?: object;
  added_tokens?: { content: string }[];
}

/** With a piece for each character of the texts, and another for it within a word. */
async function tokenizerOf(texts: readonly string[], { added_tokens = [], ...steps }: Given) {
  const characters = [...new Set(texts.flatMap((text) => [...text])).add(" ")];
  const pieces = ["[UNK]", ...characters, ...characters.map((c) => `##${c}`)];
  const added = added_tokens.map((token, i) => ({ id: pieces.length + i, special: false, ...token }));
  const tokenizer = await HuggingFaceTokenizer.open({
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...steps,
    added_tokens: added,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    },
  });
  /** The words that a text is cut into; added tokens in brackets. */
  const wordsOf = (text: string): string[] => {
    const words: string[] = [];
    for (const id of tokenizer.encode(text)) {
      if (id >= pieces.length) words.push(`<${added[id - pieces.length].content}>`);
      else if (id > characters.length) words[words.length - 1] += pieces[id].slice(2);
      else words.push(pieces[id]);
    }
    return words;
  };
  return { tokenizer, wordsOf };
}

async function wordsOf(text: string, given: Given): Promise<string[]> {
  return (await tokenizerOf([text], given)).wordsOf(text);
}

describe("cuts", () => {
  test.each<[string, string[]]>([
    ["Isolated", ["#", "#", "a", ".", "b", "!", "!", " c", "_", "d", "¡", "e"]],
    ["Removed", ["a", "b", " c", "d", "e"]],
    ["MergedWithPrevious", ["#", "#", "a.", "b!", "!", " c_", "d¡", "e"]],
    ["MergedWithNext", ["#", "#a", ".b", "!", "! c", "_d", "¡e"]],
    ["Contiguous", ["##", "a", ".", "b", "!!", " c", "_", "d", "¡", "e"]],
  ])("punctuation, %s", async (behavior, words) => {
    const step = { type: "Punctuation", behavior };
    for (const pre_tokenizer of [step, { type: "Sequence", pretokenizers: [step] }])
      expect(await wordsOf("##a.b!! c_d¡e", { pre_tokenizer })).toEqual(words);
  });

  test("spaces are Unicode's", async () => {
    const text = "a\ufeffb\u0085c d-\u3000e";
    expect(await wordsOf(text, { pre_tokenizer: { type: "WhitespaceSplit" } })).toEqual(["a\ufeffb", "c", "d-", "e"]);
    const bert = { type: "BertPreTokenizer" };
    expect(await wordsOf(text, { pre_tokenizer: bert })).toEqual(["a\ufeffb", "c", "d", "-", "e"]);
  });

  test("letters are Unicode's", async () => {
    const words = ["Größe_1", ",", "n\u0303o", "\ufeff", "日本", "!?", "x\u200dy"];
    expect(
      await wordsOf("Größe_1, n\u0303o\ufeff\u0085日本!? x\u200dy", { pre_tokenizer: { type: "Whitespace" } }),
    ).toEqual(words);
  });
});

test("Nmt takes control characters out and makes spaces of others", async () => {
  const pre_tokenizer = { type: "WhitespaceSplit" };
  const text = "a\u0001b\u000b\u001f\u007f\u008f\u009fc\td\u200be\u200f\u2028f\u2581g\ufeffh\ufffdi\u0080j";
  const words = ["abc", "d", "e", "f", "g", "h", "i\u0080j"];
  const step = { type: "Nmt" };
  for (const normalizer of [step, { type: "Sequence", normalizers: [step, { type: "NFKC" }] }])
    expect(await wordsOf(text, { normalizer, pre_tokenizer })).toEqual(words);
  // Those beside them stay.
  const neighbours = [..."\u0000\u0080\u00a0\u2000\u200a\u2010\u2027\u202a\u2580\ufefe\ufffc"];
  const { tokenizer } = await tokenizerOf(neighbours, { normalizer: step });
  expect(neighbours.map((c) => tokenizer.encode(c)[0])).toEqual(neighbours.map((_, i) => i + 1));
});

test.each([{ type: "Lowercase" }, { type: "BertNormalizer", lowercase: true }])(
  "$type lowers each character alone",
  async (normalizer) => {
    const pre_tokenizer = { type: "WhitespaceSplit" };
    const { wordsOf } = await tokenizerOf(["λογοσς"], { normalizer, pre_tokenizer });
    expect(wordsOf("ΛΟΓΟΣ ΣΛΣ ΛΟγος")).toEqual(["λογοσ", "σλσ", "λογος"]);
  },
);

describe("Chinese characters of two units", () => {
  const wordsWith = (text: string, handle_chinese_chars: boolean) =>
    wordsOf(text, {
      normalizer: { type: "BertNormalizer", handle_chinese_chars },
      pre_tokenizer: { type: "BertPreTokenizer" },
    });

  test("are words, unless the file says otherwise", async () => {
    const text = "a𠮷b 𠮷𠮷中c";
    expect(await wordsWith(text, true)).toEqual(["a", "𠮷", "b", "𠮷", "𠮷", "中", "c"]);
    expect(await wordsWith(text, false)).toEqual(["a𠮷b", "𠮷𠮷中c"]);
  });

  test("are those that the original takes for such", async () => {
    const ends = [0x20000, 0x2a6df, 0x2a700, 0x2b73f, 0x2b740, 0x2b81f, 0x2b920, 0x2ceaf, 0x2f800, 0x2fa1f];
    const others = [0x1ffff, 0x2a6e0, 0x2b820, 0x2b91f, 0x2ceb0, 0x2f7ff, 0x2fa20, 0x30000];
    for (const c of ends.map((code) => String.fromCodePoint(code)))
      expect(await wordsWith(`a${c}a`, true)).toEqual(["a", c, "a"]);
    for (const c of others.map((code) => String.fromCodePoint(code)))
      expect(await wordsWith(`a${c}a`, true)).toEqual([`a${c}a`]);
  });
});

describe("added tokens that are words of their own", () => {
  const pre_tokenizer = { type: "WhitespaceSplit" };
  const texts: [string, string[]][] = [
    ["new", ["<new>"]],
    ["a new b", ["a", "<new>", "b"]],
    ["-new-", ["-", "<new>", "-"]],
    ["anew newb new_ 1new", ["anew", "newb", "new_", "1new"]],
    ["newnew new", ["newnew", "<new>"]],
    // A mark, a joiner and a letter of two units.
    ["new\u0301 new\u200d \u{10428}new", ["new\u0301", "new\u200d", "\u{10428}new"]],
    ["😀new😀", ["😀", "<new>", "😀"]],
    ["[x]new[x]", ["<[x]>", "<new>", "<[x]>"]],
  ];
  const other = { content: "[x]", normalized: false };

  test.each([
    ["as they are", false, null],
    ["in what is normalised", true, { type: "Lowercase" }],
  ])("are found %s", async (_, normalized, normalizer) => {
    const added_tokens = [{ content: "new", single_word: true, normalized }, other];
    const { wordsOf } = await tokenizerOf(
      texts.map(([t]) => t),
      { added_tokens, pre_tokenizer, normalizer },
    );
    for (const [text, words] of texts) expect([text, wordsOf(text)]).toEqual([text, words]);
  });

  test("others are found in words", async () => {
    const added_tokens = [{ content: "new", single_word: false, normalized: false }];
    expect(await wordsOf("anewb", { added_tokens, pre_tokenizer })).toEqual(["a", "<new>", "b"]);
  });
});

describe("types of pairs", () => {
  const added_tokens = [
    { content: "<s>", normalized: false },
    { content: "</s>", normalized: false },
  ];
  const roberta = { type: "RobertaProcessing", sep: ["</s>", 8], cls: ["<s>", 7], trim_offsets: true };
  const typesOf = async (post_processor: object) => {
    const { tokenizer } = await tokenizerOf(["ab"], { added_tokens, post_processor });
    return tokenizer.pair("a", "b");
  };

  test("RobertaProcessing has one", async () => {
    const ids = [7, 1, 8, 8, 2, 8];
    for (const steps of [roberta, { type: "Sequence", processors: [roberta] }])
      expect(await typesOf(steps)).toEqual({ ids, types: [0, 0, 0, 0, 0, 0] });
  });

  test("BertProcessing has two", async () => {
    expect((await typesOf({ ...roberta, type: "BertProcessing" })).types).toEqual([0, 0, 0, 1, 1]);
  });
});

describe("words that are not in a vocabulary of words", () => {
  const typed = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const pair = [typed("A", 0), typed("B", 1)];
  test.each([
    ["are the file's unknown token", ["<unk>"], {}, [0, 2, 1], [0, 2, 2], [0, 1, 1]],
    ["are so whatever the configuration says", ["<unk>"], { unk_token: "is" }, [0, 2, 1], [0, 2, 2], [0, 1, 1]],
    ["are none where there is no such token", [], {}, [0, 1], [0], [0]],
  ])("%s", async (_, more, config, ids, both, types) => {
    const vocab = Object.fromEntries(["who", "is", ...more].map((word, id) => [word, id]));
    const source = {
      normalizer: null,
      pre_tokenizer: { type: "Whitespace" },
      decoder: null,
      post_processor: { type: "TemplateProcessing", single: [typed("A", 0)], pair, special_tokens: {} },
      added_tokens: [],
      model: { type: "WordLevel", unk_token: "<unk>", vocab },
    };
    const tokenizer = await HuggingFaceTokenizer.open(source, config);
    expect(tokenizer.encode("who hello is")).toEqual(ids);
    expect(tokenizer.pair("who", "hello hello")).toEqual({ ids: both, types });
    expect(tokenizer.pair("who", "").ids).toEqual([0]);
  });
});
