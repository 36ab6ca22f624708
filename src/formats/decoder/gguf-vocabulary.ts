/** The vocabularies inside GGUF files, read and written. */
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { GgufValue } from "../gguf/index.ts";
import type { Strings } from "../string-list.ts";
import type { Metadata } from "./metadata.ts";
import type {
  ByteLevelVocabulary,
  PieceKind,
  SentencePieceVocabulary,
  UnigramVocabulary,
  Vocabulary,
} from "./vocabulary.ts";

/** By their numbers in `tokenizer.ggml.token_type`. */
const kinds: readonly (PieceKind | undefined)[] = [undefined, "normal", "unknown", "control", "user", "unused", "byte"];

/** Names of tokens that end an answer, besides those that the metadata names: mostly the end of a turn in chats. */
const endNames = new Set(
  "<|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|eom_id|> <|end_of_text|> <end_of_utterance> <|return|> <|call|>".split(
    " ",
  ),
);
/** Those that texts may hold as well, as Gemma's do the HTML tag: they end an answer just as control tokens. */
const controlEndNames = new Set("</s> <EOT> _<EOT> [EOT] [EOS]".split(" "));

/** The only special tokens of Phi-3 that leave white space behind them. No metadata says it: llama.cpp goes by the name, too. */
const phi3Keeps = ["<unk>", "<s>", "<|endoftext|>"];

/** Where texts get the first token, unless the file says otherwise. */
const beginning = new Set(
  "llama-bpe llama-v3 llama3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 tekken chameleon".split(" "),
);

/** Of each piece. A copy in bytes, that holds nothing of the file. */
function kindsOf(types: ArrayLike<number> | undefined): (id: number) => PieceKind {
  if (!types) return () => "normal";
  // Not `Uint8Array.from`, whose objects on the way are more than the vocabulary.
  const all = new Uint8Array(types.length);
  for (let id = 0; id < all.length; id++) all[id] = types[id] in kinds ? types[id] : 0;
  return (id) => kinds[all[id]] ?? "normal";
}

/** Undefined where the file has no vocabulary. Throws UnsupportedOpError for a kind of vocabulary that is not known. */
export function ggufVocabulary(meta: Metadata): Vocabulary | undefined {
  const model = meta.text("tokenizer.ggml.model");
  const pieces = meta.texts("tokenizer.ggml.tokens");
  if (model === undefined || model === "none" || !pieces) return undefined;
  const kindOf = kindsOf(meta.numbers("tokenizer.ggml.token_type"));
  const named = (key: string): number | undefined => meta.number(`tokenizer.ggml.${key}_token_id`);
  const ends = [named("eos"), named("eot"), named("eom"), ...endsByName(pieces, kindOf)];
  const end = new Set(ends.filter((id) => id !== undefined));
  const common = { pieces, kinds: { length: pieces.length, at: kindOf }, begin: named("bos"), end };
  if (model === "llama" || model === "t5") {
    const scores = meta.numbers("tokenizer.ggml.scores");
    if (!scores || scores.length !== pieces.length) throw new FormatError("the vocabulary has no scores");
    const scored = {
      ...common,
      scores,
      unknown: named("unknown"),
      addBegin: meta.flag("tokenizer.ggml.add_bos_token") ?? model === "llama",
      addEnd: meta.flag("tokenizer.ggml.add_eos_token") ?? model === "t5",
      addSpace: meta.flag("tokenizer.ggml.add_space_prefix") ?? true,
    };
    const isPhi3 = meta.architecture === "phi3" || /phi[- ]?3/i.test(meta.text("general.name") ?? "");
    if (model === "llama") return { kind: "sentencepiece", ...scored, trimsBut: isPhi3 ? phi3Keeps : undefined };
    const rules = meta.numbers("tokenizer.ggml.precompiled_charsmap") as Uint8Array | Int8Array | undefined;
    return {
      kind: "unigram",
      ...scored,
      pieces: [...pieces],
      kinds: Array.from(pieces, (_, id) => kindOf(id)),
      charsmap: rules && new Uint8Array(rules.buffer, rules.byteOffset, rules.byteLength),
      collapseSpaces: meta.flag("tokenizer.ggml.remove_extra_whitespaces") ?? true,
    };
  }
  // Words stand there with "▁" in front, what continues them without "##".
  if (model === "bert") {
    const words = Array.from(pieces, (piece, id) => {
      if (kindOf(id) !== "normal" || /^\[.+\]$/.test(piece)) return piece;
      return piece.startsWith("▁") ? piece.slice(1) : `##${piece}`;
    });
    const lowercase = !words.some((word, id) => kindOf(id) === "normal" && /^(##)?[A-Z]/.test(word));
    return { kind: "wordPiece", pieces: words, lowercase };
  }
  if (model === "gpt2") {
    const merges = meta.texts("tokenizer.ggml.merges");
    if (!merges) throw new FormatError("the vocabulary has no merges");
    const pattern = meta.text("tokenizer.ggml.pre") ?? guessedPattern(meta, pieces);
    const addBegin = meta.flag("tokenizer.ggml.add_bos_token") ?? beginning.has(pattern);
    const addEnd = meta.flag("tokenizer.ggml.add_eos_token") ?? false;
    return { kind: "byteLevel", ...common, merges, pattern, addBegin, addEnd };
  }
  throw new UnsupportedOpError(`vocabularies of kind "${model}" are not supported (llama, t5, bert, gpt2 are)`, {
    missing: [model],
  });
}

function endsByName(pieces: Strings, kindOf: (id: number) => PieceKind): Iterable<number> {
  const ends = new Map<string, number>();
  for (let id = 0; id < pieces.length; id++) {
    const kind = kindOf(id);
    if (kind === "normal") continue;
    const name = pieces.at(id)!;
    if (endNames.has(name) || (kind === "control" && controlEndNames.has(name))) ends.set(name, id);
  }
  // Where an answer has several messages, as in OpenAI's Harmony, this one only ends a message.
  if (ends.has("<|return|>") && ends.has("<|call|>")) ends.delete("<|end|>");
  return ends.values();
}

/** Files from before there was a name for how words are cut. */
function guessedPattern(meta: Metadata, pieces: Strings): string {
  if (meta.architecture === "gpt2") return "gpt-2";
  if ([...pieces].includes("<|begin_of_text|>")) return "llama-bpe";
  console.warn(
    'The file does not say how words are cut ("tokenizer.ggml.pre"): taken as "default". Tokens may differ from those that the model was trained with.',
  );
  return "default";
}

/** The metadata that `ggufVocabulary` reads. Numbers of tokens are meant as u32, scores as f32. */
export function vocabularyMetadata(
  v: SentencePieceVocabulary | UnigramVocabulary | ByteLevelVocabulary,
): Map<string, GgufValue> {
  const scored = v.kind === "byteLevel" ? undefined : v;
  const unigram = v.kind === "unigram" ? v : undefined;
  const spaced = (piece: string, i: number): string =>
    scored && v.kinds.at(i) === "normal" ? piece.replaceAll(" ", "▁") : piece;
  const entries: [string, GgufValue | undefined][] = [
    ["model", { sentencepiece: "llama", unigram: "t5", byteLevel: "gpt2" }[v.kind]],
    ["pre", v.kind === "byteLevel" ? v.pattern : "default"],
    ["tokens", Array.from(v.pieces, spaced)],
    ["token_type", Int32Array.from({ length: v.kinds.length }, (_, i) => kinds.indexOf(v.kinds.at(i)))],
    ["scores", scored && Float32Array.from(scored.scores)],
    ["merges", v.kind === "byteLevel" ? [...v.merges] : undefined],
    ["bos_token_id", v.begin],
    ...[...v.end].slice(0, 3).map((id, i): [string, number] => [`${["eos", "eot", "eom"][i]}_token_id`, id]),
    ["unknown_token_id", scored?.unknown],
    ["add_bos_token", v.addBegin ?? v.kind === "sentencepiece"],
    ["add_space_prefix", scored && (scored.addSpace ?? true)],
    ["precompiled_charsmap", unigram?.charsmap],
    ["remove_extra_whitespaces", unigram && (unigram.collapseSpaces ?? true)],
    ["add_eos_token", unigram && (unigram.addEnd ?? false)],
  ];
  return new Map(entries.flatMap(([key, value]) => (value === undefined ? [] : [[`tokenizer.ggml.${key}`, value]])));
}
