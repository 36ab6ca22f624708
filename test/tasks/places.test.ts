/** Where tokens stand in a text. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { piecesOf } from "../../src/tasks/language/pieces.ts";
import { QuestionAnswerer } from "../../src/tasks/question-answering.ts";
import { TokenClassifier } from "../../src/tasks/token-classification.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import type { Tokenizer } from "../../src/tasks/tokenizers/tokenizer.ts";
import { wordPieceJson } from "../../src/tasks/tokenizers/word-piece.ts";
import { byteLevel, sentencePiece } from "./vocabularies.ts";

describe("places of tokens", () => {
  const places = async (text: string, pieces: string[], lowercase = true) => {
    const t = await HuggingFaceTokenizer.open(wordPieceJson({ pieces, lowercase }));
    return piecesOf(t, text).map((p) => [pieces[p.id], text.slice(p.start, p.end), p.continues]);
  };
  const vocabulary = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "caf",
    "##e",
    "paris",
    ".",
    "#",
    "日",
    "本",
    "u",
    "s",
  ];

  test("accents, capitals, punctuation and unknown words", async () => {
    expect(await places(" Café  PARIS. ☃ x", vocabulary)).toEqual([
      ["caf", "Caf", false],
      ["##e", "é", true],
      ["paris", "PARIS", false],
      [".", ".", false],
      ["[UNK]", "☃", false],
      ["[UNK]", "x", false],
    ]);
    expect(await places("☃.u.s.", vocabulary)).toEqual([
      ["[UNK]", "☃", false],
      [".", ".", false],
      ["u", "u", false],
      [".", ".", false],
      ["s", "s", false],
      [".", ".", false],
    ]);
  });

  test("a capital sigma at a word's end", async () => {
    expect(await places("ΛΟΓΟΣ λόγος", [...vocabulary, "λογ", "##οσ", "##ος"])).toEqual([
      ["λογ", "ΛΟΓ", false],
      ["##οσ", "ΟΣ", true],
      ["λογ", "λόγ", false],
      ["##ος", "ος", true],
    ]);
  });

  test("marks are of the piece before them, and of no other", async () => {
    expect(await places("#\ufe0f\u20e3 x", vocabulary)).toEqual([
      ["#", "#\ufe0f\u20e3", false],
      ["[UNK]", "", false],
      ["[UNK]", "x", false],
    ]);
    const [, unknown] = await places("日\u0301☃", vocabulary);
    expect(unknown[1]).toBe("☃");
  });

  test("scripts without spaces, and signs that look like continuations", async () => {
    expect(await places("日本", vocabulary)).toEqual([
      ["日", "日", false],
      ["本", "本", false],
    ]);
    expect((await places("###", vocabulary)).map((p) => p[1])).toEqual(["#", "#", "#"]);
  });

  test("neighbours that are unknown have a word or a character each, where they are as many", async () => {
    const spans = async (text: string) => {
      const t = await HuggingFaceTokenizer.open(wordPieceJson({ pieces: vocabulary, lowercase: true }));
      return piecesOf(t, text).map((p) => [p.start, p.end]);
    };
    // Offsets of tokenizers 0.23.2 for BERT's steps and this vocabulary, in UTF-16 units.
    expect(await spans("龘靐齉")).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    expect(await spans("日龘靐本 𠮷齉.")).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [5, 7],
      [7, 8],
      [8, 9],
    ]);
    expect(await spans("x𠮷paris𠮷𠮷.")).toEqual([
      [0, 1],
      [1, 3],
      [3, 8],
      [8, 10],
      [10, 12],
      [12, 13],
    ]);
    expect(await spans("  !?paris")).toEqual([
      [2, 3],
      [3, 4],
      [4, 9],
    ]);
    expect((await places("龘xy靐", vocabulary)).map((p) => p[1])).toEqual(["龘", "xy", "靐"]);
  });

  test("vowel signs that are pieces, and letters that are several", async () => {
    const special = vocabulary.slice(0, 5);
    const hindi = [...special, "दि", "##ल", "##्", "##ली", "में", "र", "##ा", "##म"];
    expect(await places("दिल्ली में राम", hindi, false)).toEqual([
      ["दि", "दि", false],
      ["##ल", "ल्", true],
      ["##्", "्", true],
      ["##ली", "ली", true],
      ["में", "में", false],
      ["र", "रा", false],
      ["##ा", "ा", true],
      ["##म", "म", true],
    ]);
    expect(await places("x กีร", [...special, "ก", "##ี", "##ร"], false)).toEqual([
      ["[UNK]", "x", false],
      ["ก", "กี", false],
      ["##ี", "ี", true],
      ["##ร", "ร", true],
    ]);
    // Taken apart by the tokenizer: all that is left of the letter is its place.
    const hangul = [...special, ..."한".normalize("NFD")].map((c, i) => (i > 5 ? `##${c}` : c));
    expect((await places("한 한", hangul)).map((p) => p.slice(1))).toEqual(
      [false, true, true, false, true, true].map((continues) => ["한", continues]),
    );
    // Accents that the tokenizer drops belong to the letter before them.
    expect((await places("cafe\u0301 paris", vocabulary)).map((p) => p[1])).toEqual(["caf", "e\u0301", "paris"]);
  });

  test("pieces that are not in the text reach to the next one, and go on with their word", () => {
    const pieces = ["c", "##oe", "##ur", "x"];
    const ids = new Map([
      ["cœur x", [0, 1, 2, 3]],
      ["cœur", [0, 1, 2]],
      [" x", [3]],
    ]);
    const t = { encode: (text: string) => ids.get(text), bytes: (id: number) => new TextEncoder().encode(pieces[id]) };
    expect(piecesOf(t as never, "cœur x")).toEqual([
      { id: 0, start: 0, end: 1, continues: false },
      { id: 1, start: 1, end: 2, continues: true },
      { id: 2, start: 2, end: 4, continues: true },
      { id: 3, start: 5, end: 6, continues: false },
    ]);
  });
});

describe("tokens of a text with its spaces", async () => {
  const letter = fc.constantFrom(..."aHe.é日\u0301", "the", "ing", "हि", "👍🏽", "[MASK]", "\ud800", "$&");
  const space = fc.constantFrom(" ", "  ", "\n", "\t", "\r\n\r\n", "\u00a0", "\u3000 ");
  const text = fc.array(fc.oneof(letter, letter, space)).map((parts) => parts.join(""));
  const pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "h", "##e", ".", "the", "##ing", "日", "ह", "##ि"];
  const tokenizers: [name: string, Tokenizer, exact: boolean][] = [
    ["GPT-2's", byteLevel("gpt-2"), true],
    ["Llama's, of which some reach across words", byteLevel("llama-bpe", [".\n", "\n\n"]), true],
    ["SentencePiece's", sentencePiece(), true],
    ["word pieces", await HuggingFaceTokenizer.open(wordPieceJson({ pieces, lowercase: true })), false],
  ];

  test.each(tokenizers)("%s are those of the whole text, each in its place", (_, tokenizer, exact) => {
    fc.assert(
      fc.property(text, (given) => {
        const placed = piecesOf(tokenizer, given);
        expect(placed.map((p) => p.id)).toEqual(tokenizer.encode(given, { begin: false }));
        const said = new Set<number>();
        for (const { start, end } of placed) {
          expect([start, end], given).toEqual([start, Math.min(Math.max(start, end), given.length)]);
          expect(given.slice(start, end)).toBe(given.slice(start, end).trim());
          for (let i = start; i < end; i++) said.add(i);
        }
        if (exact) for (let i = 0; i < given.length; i++) expect(said.has(i) || given[i].trim() === "").toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test("a long run of spaces takes no longer than it is long", () => {
    const [, tokenizer] = tokenizers[3];
    const spaces = " ".repeat(100_000);
    const begun = performance.now();
    const placed = piecesOf(tokenizer, `${spaces}the he${spaces}`).filter((p) => p.start < p.end);
    expect(performance.now() - begun).toBeLessThan(5_000);
    expect([placed[0].start, placed.at(-1)!.end]).toEqual([100_000, 100_006]);
  });

  test("space is read, and is no word and no answer", async () => {
    const tokenizer = Object.assign(byteLevel("gpt-2"), {
      pair: (a: string, b: string) => ({ ids: tokenizer.encode(`${a}\0${b}\0`), types: [] }),
    });
    const seen: (readonly number[])[] = [];
    /** All tokens alike: the likeliest answer is the first that is one. */
    const runner = (width: number) => ({
      tokenizer,
      maxTokens: 512,
      run: async (texts: readonly { ids: readonly number[] }[]) =>
        texts.map(({ ids }) => {
          seen.push(ids);
          // Neither "O" nor "no answer".
          return Float32Array.from({ length: ids.length * width }, (_, i) => (i < 2 ? -9 : i % width));
        }),
    });
    const given = "\n\tthe  he\n";
    const labels = ["O", "X"];
    const entities = await new TokenClassifier(runner(2) as never, labels).classify(given);
    expect(entities.map((e) => e.text)).toEqual(["the", "he"]);
    expect(seen).toEqual([tokenizer.encode(given)]);
    const answer = await new QuestionAnswerer(runner(2) as never).answer("in", given);
    expect(answer).toMatchObject({ text: "the", start: 2, end: 5 });
    expect(seen[1]).toEqual(tokenizer.encode(`in\0${given}\0`));
  });
});
