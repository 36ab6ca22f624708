import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { tokenizerJsonOf } from "../../src/formats/convert/tokenizer-json.ts";
import { ggufVocabulary } from "../../src/formats/decoder/gguf-vocabulary.ts";
import { Metadata } from "../../src/formats/decoder/metadata.ts";
import type { ByteLevelVocabulary, PieceKind, SentencePieceVocabulary } from "../../src/formats/decoder/vocabulary.ts";
import type { GgufValue } from "../../src/formats/gguf/index.ts";
import { StopStrings } from "../../src/tasks/language/stop.ts";
import { ByteLevelTokenizer } from "../../src/tasks/tokenizers/byte-level.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import { MergeQueue } from "../../src/tasks/tokenizers/merge.ts";
import { openTokenizer } from "../../src/tasks/tokenizers/open.ts";
import { SentencePieceTokenizer } from "../../src/tasks/tokenizers/sentencepiece.ts";
import { decode, TextStream } from "../../src/tasks/tokenizers/tokenizer.ts";
import { splitWords } from "../../src/tasks/tokenizers/words.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { byteLevel, byteLevelPieces, sentencePiece } from "./vocabularies.ts";

/** Text that tokenizers stumble over. */
const texts = [
  "Hello, world! It's 2024.",
  "  indented\n\n\tcode { return x[0]; }  ",
  "日本語と中文、한국어",
  "\u{1F469}\u200D\u{1F469}\u200D\u{1F467} emoji \u{1F1E9}\u{1F1EA}",
  "a\u0300 combining",
  "\r\n",
  "",
];

test.each([
  [{ prepend_scheme: "never" }, " a b"],
  [{ prepend_scheme: "always" }, "a b"],
  [{ prepend_scheme: "first" }, "a b"],
  [{ add_prefix_space: false }, " a b"],
  [{}, "a b"],
])("a text of a Metaspace decoder with %j begins with its space where that was not put there", async (scheme, want) => {
  const step = { type: "Metaspace", replacement: "▁", ...scheme };
  const vocab = { "<unk>": 0, "▁": 1, a: 2, b: 3, "▁a": 4, "▁b": 5 };
  const model = {
    type: "BPE",
    vocab,
    merges: [
      ["▁", "a"],
      ["▁", "b"],
    ],
    unk_token: "<unk>",
  };
  const source = { added_tokens: [], normalizer: null, pre_tokenizer: step, post_processor: null, model };
  for (const decoder of [step, { type: "Sequence", decoders: [step, { type: "Fuse" }] }]) {
    const tokenizer = await HuggingFaceTokenizer.open({ ...source, decoder });
    expect(decode(tokenizer, [4, 5])).toBe(want);
  }
});

test.each([
  ["Metaspace", { type: "Metaspace", replacement: "▁", prepend_scheme: "never" }, "a  b"],
  ["Replace", { type: "Replace", pattern: { String: "▁" }, content: " " }, "a  b"],
  ["ByteLevel", { type: "ByteLevel" }, "a▁▁b"],
])("added tokens of a %s decoder have spaces where pieces have them", async (_, step, want) => {
  const model = { type: "BPE", vocab: { a: 0, b: 1, "▁▁": 2, "s▁": 3 }, merges: [] };
  const added = (id: number, content: string, special: boolean) => ({ id, content, special, normalized: false });
  const added_tokens = [added(2, "▁▁", false), added(3, "s▁", true)];
  const source = { added_tokens, normalizer: null, pre_tokenizer: null, post_processor: null, model };
  const tokenizer = await HuggingFaceTokenizer.open({
    ...source,
    decoder: { type: "Sequence", decoders: [step, { type: "Fuse" }] },
  });
  expect(decode(tokenizer, [0, 2, 1, 3])).toBe(want);
  expect(tokenizer.specialName(3)).toBe("s▁");
});

describe("merging", () => {
  test("is what repeated merging of the best pair gives", () => {
    const naive = (symbols: string[], rank: (a: string, b: string) => number | undefined): string[] => {
      const s = [...symbols];
      for (;;) {
        let best = -1;
        for (let i = 0; i + 1 < s.length; i++) {
          const r = rank(s[i], s[i + 1]);
          if (r !== undefined && (best < 0 || r < rank(s[best], s[best + 1])!)) best = i;
        }
        if (best < 0) return s;
        s.splice(best, 2, s[best] + s[best + 1]);
      }
    };
    const words = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 40 });
    fc.assert(
      fc.property(
        words,
        fc.array(fc.tuple(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 2, maxLength: 5 }), fc.nat(4)), {
          maxLength: 20,
        }),
        (symbols, entries) => {
          const ranks = new Map(entries);
          const rank = (a: string, b: string): number | undefined => ranks.get(a + b);
          expect(new MergeQueue([...symbols], rank).merged()).toEqual(naive(symbols, rank));
        },
      ),
    );
  });
});

describe("SentencePiece", () => {
  const t = sentencePiece();

  test("prefers scores, falls back to bytes, puts a space in front", () => {
    const names = (text: string) => t.encode(text).map((id) => id);
    expect(names("ab")).toEqual([1, ...t.encode("ab", { begin: false })]);
    expect(decode(t, t.encode("ab b"))).toBe("ab b");
    // "ß" is no piece: its two bytes.
    expect(t.encode("ß", { begin: false }).slice(1)).toEqual([3 + 0xc3, 3 + 0x9f]);
  });

  test("gives back any text", () => {
    for (const text of texts) expect(decode(t, t.encode(text))).toBe(text);
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => decode(t, t.encode(text)) === text));
  });

  test("takes special tokens only where it may", () => {
    expect(t.encode("<s>", { begin: false, special: true })).toEqual([1]);
    expect(t.encode("<s>", { begin: false })).not.toContain(1);
    expect(t.specialName(2)).toBe("</s>");
    expect(decode(t, [1, 2])).toBe("");
  });

  test("a written \u2581 is a space, and a text begins anew after a special token", () => {
    expect(t.encode("a\u2581b")).toEqual(t.encode("a b"));
    expect(t.encode("a</s>b", { special: true })).toEqual([...t.encode("a"), 2, ...t.encode("b", { begin: false })]);
  });

  test("pieces that users define are found as they are, spaces too", () => {
    const spaces = new SentencePieceTokenizer({
      pieces: ["<unk>", "a", "\u2581a", "\u2581\u2581", "\u2581"],
      scores: [0, -1, -2, -3, -4],
      kinds: ["unknown", "normal", "normal", "user", "normal"] satisfies PieceKind[],
      end: [],
      unknown: 0,
      addSpace: false,
    });
    expect(spaces.encode("a   a")).toEqual([1, 3, 2]);
    expect(decode(spaces, [1, 3, 2])).toBe("a   a");
  });

  test("Phi-3's special tokens take the white space behind them, as in its tokenizer.json", async () => {
    const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
    const marks = ["<unk>", "<s>", "</s>", "<|user|>", "<|end|>", "<|endoftext|>"];
    const tokens = [...marks, ...bytes, "▁", "a", "▁a"];
    const kind = [2, 3, 4, 3, 3, 3];
    const read = (entries: Record<string, GgufValue>) => {
      const metadata = new Map<string, GgufValue>([
        ...Object.entries(entries),
        ["tokenizer.ggml.model", "llama"],
        ["tokenizer.ggml.tokens", tokens],
        ["tokenizer.ggml.token_type", Int32Array.from(tokens, (t, i) => kind[i] ?? (t.startsWith("<") ? 6 : 1))],
        ["tokenizer.ggml.scores", Float32Array.from(tokens, (_, i) => -i)],
        ["tokenizer.ggml.unknown_token_id", 0],
      ]);
      return ggufVocabulary(new Metadata({ metadata }, "test")) as SentencePieceVocabulary;
    };
    const pieces = (v: SentencePieceVocabulary, text: string): string[] =>
      new SentencePieceTokenizer(v).encode(text, { special: true }).map((id) => tokens[id]);
    const named = (name: string) => read({ "general.architecture": "llama", "general.name": name });
    const phi3 = read({ "general.architecture": "phi3" });
    const chat = "<|user|>\n a<|end|> \n<|user|>";
    for (const v of [phi3, named("Phi-3-mini"), named("Phi 3 Mini"), named("phi3")])
      expect(pieces(v, chat)).toEqual(["<|user|>", "▁a", "<|end|>", "<|user|>"]);
    expect(pieces(named("Llama 3"), chat)).toHaveLength(9);
    const json = await openTokenizer(tokenizerJsonOf(phi3));
    for (const text of [chat, "a</s>  a", ...marks.map((mark) => `a${mark} \na${mark}\t`)])
      expect(pieces(phi3, text)).toEqual(json.encode(text).map((id) => tokens[id]));
    // Also where the caller asks for no special tokens.
    expect(new SentencePieceTokenizer(phi3).encode("</s> a").map((id) => tokens[id])).toEqual(["</s>", "▁a"]);
  });

  test("an unknown kind of piece has no text", () => {
    const kinds: PieceKind[] = ["unknown", "unused", "normal"];
    const odd = new SentencePieceTokenizer({
      pieces: ["<unk>", "x", "y"],
      scores: [0, 0, 0],
      kinds,
      end: [],
      unknown: 0,
    });
    expect(odd.encode("xy", { begin: false })).toEqual([0, 0, 2]);
    expect(odd.bytes(99)).toEqual(new Uint8Array(0));
  });
});

describe("byte-level BPE", () => {
  test("cuts words as their patterns say", () => {
    const text = "I'LL don't 12345  x\n\n y";
    expect(splitWords(text, "gpt-2")).toEqual(["I", "'", "LL", " don", "'t", " 12345", " ", " x", "\n\n", " y"]);
    expect(splitWords(text, "llama-bpe")).toEqual([
      "I",
      "'LL",
      " don",
      "'t",
      " ",
      "123",
      "45",
      " ",
      " x",
      "\n\n",
      " y",
    ]);
    expect(splitWords("a 12", "qwen2")).toEqual(["a", " ", "1", "2"]);
    expect(splitWords("a12 b", "smollm")).toEqual(["a", "1", "2", " b"]);
    // Unicode's white space: U+0085 is, U+FEFF is not.
    expect(splitWords("a\u0085!\ufeff!", "gpt-2")).toEqual(["a", "\u0085", "!\ufeff!"]);
    expect(splitWords("e\u0301", "qwen2")).toEqual(["\u00e9"]);
    expect(splitWords("camelCase HTMLPage isn't", "gpt-4o")).toEqual(["camel", "Case", " HTMLPage", " isn't"]);
    expect(splitWords("camelCase isn't 12", "tekken")).toEqual(["camel", "Case", " isn", "'t", " ", "1", "2"]);
    expect(splitWords("x+=12345 `a`", "falcon")).toEqual(["x", "+=", "123", "45", " ", "`", "a", "`"]);
    expect(splitWords("x +12345`a`", "default")).toEqual(["x", " ", "+", "123", "45", "`", "a", "`"]);
    expect(splitWords("int a2\n = 日本x", "deepseek-coder")).toEqual(["int", " a", "2", "\n", " =", " ", "日本", "x"]);
    expect(() => byteLevel("unheard of")).toThrow(/"unheard of" is not known.*tokenizer\.json.*known: .*llama-bpe, /s);
    expect(() => byteLevel("unheard of")).toThrow(InputError);
  });

  test.each([
    ["bloom", "one, two 3", ["one", ",", " two", " 3"]],
    ["viking", "x 12", ["x", " ", "1", "2"]],
    ["superbpe", "of the 1234567", ["of the ", "1", "234", "567"]],
    ["afmoe", "日本語 12345", ["日本語", " ", "12", "345"]],
    ["kimi-k2", "see 漢字Case a/\n b", ["see", " ", "漢字", "Case", " a", "/\n", " b"]],
    ["youtu", "한국，x 12", ["한국", "，", "x", " ", "1", "2"]],
    ["chameleon", "IMGIMGABZ a.\tb  c", ["IMGIMGABZ", " a", ".", "\t", "b", "  ", "c"]],
    ["qwen35", "हिन्दी a1", ["हिन्दी", " a", "1"]],
    ["seed-coder", "a ();\n\nb", ["a", " ();", "\n\n", "b"]],
    ["bailingmoe", "I'M a ();\n\nb", ["I", "'M", " a", " ();\n\n", "b"]],
    ["exaone-moe", "to be 12", ["to be", " ", "1", "2"]],
    ["deepseek-llm", "x+= 12 日本", ["x", "+=", " ", "12", " ", "日本"]],
    ["laguna", "a. \n\n b", ["a", ".", " ", "\n\n", " b"]],
    ["minicpm5", "a1234", ["a", "123", "4"]],
    ["stablelm2", "a 12", ["a", " ", "1", "2"]],
    ["minimax-m2", "camelCase 1234", ["camel", "Case", " ", "123", "4"]],
    ["mellum", "a 12", ["a", " 12"]],
  ])("%s cuts as llama.cpp does", (name, text, words) => {
    expect(splitWords(text, name)).toEqual(words);
  });

  test("a file that does not say how words are cut is guessed or warned of", () => {
    const read = (architecture: string, more: object = {}, pieces = ["a", "b"]) => {
      const entries = { "general.architecture": architecture, "tokenizer.ggml.model": "gpt2", ...more };
      const lists = { "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.merges": ["a b"] };
      const metadata = new Map<string, GgufValue>(Object.entries({ ...entries, ...lists }));
      return ggufVocabulary(new Metadata({ metadata }, "test")) as ByteLevelVocabulary;
    };
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    expect(read("gpt2").pattern).toBe("gpt-2");
    expect(read("llama", {}, ["a", "<|begin_of_text|>"])).toMatchObject({ pattern: "llama-bpe", addBegin: true });
    expect(read("llama", { "tokenizer.ggml.pre": "qwen2" })).toMatchObject({ pattern: "qwen2", addBegin: false });
    expect(read("llama", { "tokenizer.ggml.pre": "tekken", "tokenizer.ggml.add_bos_token": false }).addBegin).toBe(
      false,
    );
    expect(warn).not.toHaveBeenCalled();
    expect(read("llama").pattern).toBe("default");
    expect(warn).toHaveBeenCalledWith(expect.stringMatching(/how words are cut/));
    warn.mockRestore();
  });

  describe("answers end with", () => {
    const end = (names: Record<string, number>) => {
      const tokens = Object.keys(names);
      const entries = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": Int32Array.from(Object.values(names)),
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 0,
      };
      const metadata = new Map<string, GgufValue>(Object.entries(entries));
      const v = ggufVocabulary(new Metadata({ metadata }, "test")) as ByteLevelVocabulary;
      return Array.from(v.end, (id) => tokens[id]);
    };
    const [normal, control, user] = [1, 3, 4];

    test("the ends of turns by their names", () => {
      const names = "<|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|eom_id|> <|end_of_text|>".split(" ");
      for (const kind of [control, user])
        for (const name of [...names, "<end_of_utterance>", "<|return|>", "<|call|>"])
          expect(end({ "<eos>": control, [name]: kind })).toEqual(["<eos>", name]);
      expect(end({ "<eos>": control, "<|im_end|>": normal })).toEqual(["<eos>"]);
    });

    test.each(["</s>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"])("%s, but not where it is a tag in texts", (name) => {
      expect(end({ "<eos>": control, [name]: control })).toEqual(["<eos>", name]);
      expect(end({ "<eos>": control, [name]: user })).toEqual(["<eos>"]);
      expect(end({ [name]: user })).toEqual([name]);
    });

    test("the end of all messages where there are several", () => {
      const calls = { "<|return|>": control, "<|call|>": control };
      expect(end({ ...calls, "<|end|>": control })).toEqual(["<|return|>", "<|call|>"]);
      // Unless the file names it.
      expect(end({ "<|end|>": control, ...calls })).toEqual(["<|end|>", "<|return|>", "<|call|>"]);
    });
  });

  test("gives back any text", () => {
    const t = byteLevel("gpt-2");
    for (const text of texts) expect(decode(t, t.encode(text))).toBe(text);
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => decode(t, t.encode(text)) === text));
  });

  test("specials by name, user tokens in any text", () => {
    const t = byteLevel("gpt-2");
    const [end, tool] = [t.size - 2, t.size - 1];
    expect(t.encode("a<|end|>b", { special: true })).toContain(end);
    expect(t.encode("a<|end|>b")).not.toContain(end);
    expect(t.encode("a<tool>b")).toContain(tool);
    expect(decode(t, [end, tool])).toBe("<tool>");
    expect(byteLevelPieces.length).toBe(256);
  });

  test("a word that is a piece is not merged, where the pattern says so", () => {
    const v = { pieces: ["a", "b", "c", "ab", "abc"], kinds: new Array<PieceKind>(5).fill("normal"), merges: ["a b"] };
    const ids = (pattern: string): number[] => new ByteLevelTokenizer({ ...v, pattern, end: [] }).encode("abc");
    expect([ids("smaug-bpe"), ids("llama-bpe")]).toEqual([[3, 2], [4]]);
  });

  test("marks stand around texts where the file says so", () => {
    const entries = {
      "general.architecture": "bert",
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "roberta-bpe",
      "tokenizer.ggml.tokens": ["<s>", "<pad>", "</s>", "a", "b"],
      "tokenizer.ggml.token_type": Int32Array.of(3, 3, 3, 1, 1),
      "tokenizer.ggml.merges": ["a b"],
      "tokenizer.ggml.bos_token_id": 0,
      "tokenizer.ggml.eos_token_id": 2,
    };
    const read = (more: object) => {
      const metadata = new Map<string, GgufValue>(Object.entries({ ...entries, ...more }));
      return new ByteLevelTokenizer(ggufVocabulary(new Metadata({ metadata }, "test")) as ByteLevelVocabulary);
    };
    // As llama.cpp: no marks unless the file says so.
    expect(read({}).encode("ab")).toEqual([3, 4]);
    expect(read({ "tokenizer.ggml.add_eos_token": false }).encode("ab")).toEqual([3, 4]);
    const both = read({ "tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.add_eos_token": true });
    expect(both.encode("ab")).toEqual([0, 3, 4, 2]);
    expect(both.encode("")).toEqual([0, 2]);
    expect(both.encode("ab", { begin: false })).toEqual([3, 4]);
  });

  test("works without a vocabulary for some bytes", () => {
    const t = new ByteLevelTokenizer({
      pieces: ["a"],
      kinds: ["normal"] satisfies PieceKind[],
      merges: [],
      pattern: "default",
      end: [],
    });
    expect(t.encode("ab")).toEqual([0]);
  });
});

test.each([
  ["SentencePiece", sentencePiece()],
  ["byte-level BPE", byteLevel("gpt-2")],
] as const)("%s takes texts only", (_, t) => {
  for (const wrong of [undefined, null, 5, ["a"], {}])
    expect(() => t.encode(wrong as never)).toThrow(new InputError(`encode: takes a text, got ${typeof wrong}`));
});

describe("streams", () => {
  const t = byteLevel("gpt-2");

  test("never give half a character, in any cut", () => {
    const stream = new TextStream(t, true);
    const bytes = [..."\u{1F600}é日"].flatMap((c) => [...new TextEncoder().encode(c)]);
    const pieces = bytes.map((b) => stream.push(t.encode("a").length && byteToken(b)));
    expect(pieces.filter((p) => p !== "")).toEqual(["\u{1F600}", "é", "日"]);
    expect(stream.end()).toBe("");
  });

  test("broken UTF-8 becomes a replacement character, once it is known to be", () => {
    const stream = new TextStream(t, true);
    expect(stream.push(byteToken(0xe6))).toBe("");
    expect(stream.push(byteToken(0x41))).toBe("\ufffdA");
    expect(stream.push(byteToken(0xf0))).toBe("");
    expect(stream.end()).toBe("\ufffd");
  });

  /** The vocabulary begins with the 256 bytes in their order. */
  const byteToken = (b: number): number => b;

  test("stop strings are held back as long as they may come", () => {
    const run = (pieces: string[], ...stops: string[]) => {
      const s = new StopStrings(stops);
      const out: string[] = [];
      for (const p of pieces) {
        const { text, stopped } = s.push(p);
        out.push(text);
        if (stopped) return { text: out.join(""), stopped };
      }
      return { text: out.join("") + s.end(), stopped: false };
    };
    expect(run(["ab", "c", "d"], "cd")).toEqual({ text: "ab", stopped: true });
    expect(run(["ab", "c", "e"], "cd")).toEqual({ text: "abce", stopped: false });
    expect(run(["x<", "<<", "END"], "<<END")).toEqual({ text: "x<", stopped: true });
    expect(run(["aab"], "b", "aa")).toEqual({ text: "", stopped: true });
    expect(run(["no", " end", "<"], "<|")).toEqual({ text: "no end<", stopped: false });
  });
});
