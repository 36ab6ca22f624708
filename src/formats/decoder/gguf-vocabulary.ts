/** The vocabularies inside GGUF files, read and written. */
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { GgufValue } from "../gguf/index.ts";
import type { Metadata } from "./metadata.ts";
import type { ByteLevelVocabulary, PieceKind, SentencePieceVocabulary, Vocabulary } from "./vocabulary.ts";

/** By their numbers in `tokenizer.ggml.token_type`. */
const kinds: readonly (PieceKind | undefined)[] = [undefined, "normal", "unknown", "control", "user", "unused", "byte"];

/** Names of tokens that end an answer, besides the one that the metadata names: the end of a turn in chats. */
const endNames = new Set([
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|eom_id|>",
  "</s>",
]);

/** Undefined where the file has no vocabulary. Throws UnsupportedOpError for a kind of vocabulary that is not known. */
export function ggufVocabulary(meta: Metadata): Vocabulary | undefined {
  const model = meta.text("tokenizer.ggml.model");
  const pieces = meta.texts("tokenizer.ggml.tokens");
  if (model === undefined || model === "none" || !pieces) return undefined;
  const types = meta.numbers("tokenizer.ggml.token_type");
  const kindOf = (id: number): PieceKind => (types && kinds[types[id]]) ?? "normal";
  const pieceKinds = pieces.map((_, id) => kindOf(id));
  const named = (key: string): number | undefined => meta.number(`tokenizer.ggml.${key}_token_id`);
  const end = new Set([named("eos"), named("eot"), named("eom")].filter((id) => id !== undefined));
  pieces.forEach((piece, id) => {
    if (endNames.has(piece) && pieceKinds[id] !== "normal") end.add(id);
  });
  const common = { pieces, kinds: pieceKinds, begin: named("bos"), end };
  if (model === "llama") {
    const scores = meta.numbers("tokenizer.ggml.scores");
    if (!scores || scores.length !== pieces.length) throw new FormatError("the vocabulary has no scores");
    return {
      kind: "sentencepiece",
      ...common,
      scores,
      unknown: named("unknown"),
      addBegin: meta.flag("tokenizer.ggml.add_bos_token") ?? true,
      addSpace: meta.flag("tokenizer.ggml.add_space_prefix") ?? true,
    };
  }
  if (model === "gpt2") {
    const merges = meta.texts("tokenizer.ggml.merges");
    if (!merges) throw new FormatError("the vocabulary has no merges");
    return {
      kind: "byteLevel",
      ...common,
      merges,
      pattern: meta.text("tokenizer.ggml.pre") ?? "default",
      addBegin: meta.flag("tokenizer.ggml.add_bos_token") ?? false,
    };
  }
  throw new UnsupportedOpError(`vocabularies of kind "${model}" are not supported (llama, gpt2 are)`, {
    missing: [model],
  });
}

/** The metadata that `ggufVocabulary` reads. Numbers of tokens are meant as u32, scores as f32. */
export function vocabularyMetadata(v: SentencePieceVocabulary | ByteLevelVocabulary): Map<string, GgufValue> {
  const isSentencePiece = v.kind === "sentencepiece";
  const spaced = (piece: string, i: number): string =>
    isSentencePiece && v.kinds[i] === "normal" ? piece.replaceAll(" ", "▁") : piece;
  const entries: [string, GgufValue | undefined][] = [
    ["model", isSentencePiece ? "llama" : "gpt2"],
    ["pre", isSentencePiece ? "default" : v.pattern],
    ["tokens", v.pieces.map(spaced)],
    ["token_type", Int32Array.from(v.kinds, (kind) => kinds.indexOf(kind))],
    ["scores", isSentencePiece ? Float32Array.from(v.scores) : undefined],
    ["merges", isSentencePiece ? undefined : [...v.merges]],
    ["bos_token_id", v.begin],
    ...[...v.end].slice(0, 3).map((id, i): [string, number] => [`${["eos", "eot", "eom"][i]}_token_id`, id]),
    ["unknown_token_id", isSentencePiece ? v.unknown : undefined],
    ["add_bos_token", v.addBegin ?? isSentencePiece],
    ["add_space_prefix", isSentencePiece ? (v.addSpace ?? true) : undefined],
  ];
  return new Map(entries.flatMap(([key, value]) => (value === undefined ? [] : [[`tokenizer.ggml.${key}`, value]])));
}
