/**
 * Steps of a `tokenizer.json` that the peer `@huggingface/tokenizers` does otherwise than Hugging Face's original, said with
 * steps that it does the same.
 */
import { gpt2Expression } from "../../formats/decoder/word-cuts.ts";
import type { Json } from "../../formats/folder.ts";

/** One step, or those of a sequence of sequences. */
export function stepsOf(step: unknown, list: string): Json[] {
  const { [list]: inner } = (step ?? {}) as Json;
  if (Array.isArray(inner)) return inner.flatMap((s) => stepsOf(s, list));
  return step ? [step as Json] : [];
}

/** The original takes Unicode's spaces; JavaScript's `\s` takes U+FEFF, which is none, and leaves out U+0085. */
const space = "\\p{White_Space}";
/** Also signs of ASCII that Unicode calls symbols. */
const mark = "\\p{P}\\u0021-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u007E";
/** What Rust calls `\w`. */
const letter = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200C\\u200D";

/** Words are what matches; the rest is left out. */
const words = (Regex: string): Json => ({ type: "Split", pattern: { Regex }, behavior: "Removed", invert: true });

/** Where texts are cut at punctuation, by what becomes of it. The peer takes several marks for one, as `Contiguous` has it. */
const punctuation: Readonly<Record<string, string>> = {
  Removed: `[^${mark}]+`,
  Isolated: `[${mark}]|[^${mark}]+`,
  MergedWithPrevious: `[^${mark}]*[${mark}]|[^${mark}]+`,
  MergedWithNext: `[${mark}]?[^${mark}]+|[${mark}]`,
  Contiguous: `[${mark}]+|[^${mark}]+`,
};

function ownWords(step: Json): Json[] {
  switch (step["type"]) {
    // The peer cuts the words inside of that step. Not with a space before each word, which would come before each piece.
    case "ByteLevel":
      return step["use_regex"] !== false && step["add_prefix_space"] !== true
        ? [
            { type: "Split", pattern: { Regex: gpt2Expression }, behavior: "Isolated", invert: false },
            { ...step, use_regex: false },
          ]
        : [step];
    case "BertPreTokenizer":
      return [words(`[^${space}${mark}]+|[${mark}]`)];
    case "Punctuation": {
      const cut = punctuation[String(step["behavior"] ?? "Isolated")];
      return cut ? [words(cut)] : [step];
    }
    case "WhitespaceSplit":
      return [words(`[^${space}]+`)];
    case "Whitespace":
      return [words(`[${letter}]+|[^${letter}${space}]+`)];
    default:
      return [step];
  }
}

const replaced = (Regex: string, content: string): Json => ({ type: "Replace", pattern: { Regex }, content });

/** Rules of machine translation: control characters go, other spaces and marks of none become spaces. */
const nmt: readonly Json[] = [
  replaced("[\\x01-\\x08\\x0B\\x0E-\\x1F\\x7F\\x8F\\x9F]", ""),
  replaced("[\\x09\\x0A\\x0C\\x0D\\u1680\\u200B-\\u200F\\u2028\\u2029\\u2581\\uFEFF\\uFFFD]", " "),
];

/** Han characters of two UTF-16 units, of which the peer sees each alone. As in the original, U+2B820 to U+2B91F are none. */
const wideHan =
  "[\\u{20000}-\\u{2A6DF}\\u{2A700}-\\u{2B73F}\\u{2B740}-\\u{2B81F}\\u{2B920}-\\u{2CEAF}\\u{2F800}-\\u{2FA1F}]";
const spacesAroundHan: readonly Json[] = [replaced(`(?=${wideHan})`, " "), replaced(`(?<=${wideHan})`, " ")];
/** The original lowers each character alone; JavaScript makes a "ς" of the one at a word's end. */
const sigma = replaced("Σ", "σ");

function ownNormal(step: Json): readonly Json[] {
  switch (step["type"]) {
    case "Nmt":
      return nmt;
    case "Lowercase":
      return [sigma, step];
    case "BertNormalizer":
      return [...(step["handle_chinese_chars"] ? spacesAroundHan : []), ...(step["lowercase"] ? [sigma] : []), step];
    default:
      return [step];
  }
}

/** The source with steps that the peer does as the original. */
export function withOwnSteps(source: Json): Json {
  const { pre_tokenizer: cuts, normalizer } = source;
  const normalizers = stepsOf(normalizer, "normalizers").flatMap(ownNormal);
  const pretokenizers = stepsOf(cuts, "pretokenizers").flatMap(ownWords);
  return {
    ...source,
    ...(normalizer ? { normalizer: { type: "Sequence", normalizers } } : {}),
    ...(cuts ? { pre_tokenizer: { type: "Sequence", pretokenizers } } : {}),
  };
}

/** What of the peer has to be reached to keep words whole. */
export interface PeerParts {
  readonly splitter_normalized: Splitter;
  readonly splitter_unnormalized: Splitter;
  /** By what is found in texts. */
  readonly added_tokens_map: ReadonlyMap<string, { single_word?: boolean }>;
  readonly model: { readonly tokens_to_ids: Map<string, number> };
}

/** Finds added tokens in a text: runs of plain text, and the tokens between them. */
interface Splitter {
  split(text: string): string[];
}

const endsInWord = new RegExp(`[${letter}]$`, "u");
const beginsWithWord = new RegExp(`^[${letter}]`, "u");

/**
 * Added tokens that are words of their own (`single_word`) stay text within a word, where the peer finds them anywhere.
 * @param vocabulary of the model, without what was added
 */
export function keepWordsWhole(peer: PeerParts, vocabulary: object): void {
  const alone = [...peer.added_tokens_map].filter(([, token]) => token.single_word);
  if (alone.length === 0) return;
  // The peer's model would find them as pieces of a word, too.
  if (!Array.isArray(vocabulary))
    for (const [text] of alone) if (!Object.hasOwn(vocabulary, text)) peer.model.tokens_to_ids.delete(text);
  // What stands alone between two others is taken for a token nevertheless: the peer looks once more.
  for (const splitter of [peer.splitter_normalized, peer.splitter_unnormalized]) {
    const split = splitter.split.bind(splitter);
    splitter.split = (text) => {
      const parts: string[] = [];
      let [at, plain] = [0, false];
      for (const part of split(text)) {
        const token = peer.added_tokens_map.get(part);
        const end = at + part.length;
        // A character is two units at most.
        const isWithin = () =>
          endsInWord.test(text.slice(Math.max(0, at - 2), at)) || beginsWithWord.test(text.slice(end, end + 2));
        const isPlain = !token || (token.single_word === true && isWithin());
        if (isPlain && plain) parts[parts.length - 1] += part;
        else parts.push(part);
        [at, plain] = [end, isPlain];
      }
      return parts;
    };
  }
}
