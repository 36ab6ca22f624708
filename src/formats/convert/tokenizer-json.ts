/** Vocabularies in a `tokenizer.json` and as GGUF files have them, both ways: BPE on bytes, or SentencePiece's on characters. */
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import type {
  ByteLevelVocabulary,
  DecoderVocabulary,
  PieceKind,
  SentencePieceVocabulary,
  TokenizerJson,
} from "../decoder/vocabulary.ts";
import { type WordCut, wordCuts } from "../decoder/word-cuts.ts";
import type { Json } from "../folder.ts";
import { isObject } from "../is-object.ts";

interface Bpe {
  readonly type?: string;
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
  readonly unk_token?: string | null;
}
interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
}

const cuts: Readonly<Record<string, WordCut>> = wordCuts;

const fail = (message: string): never => {
  throw new FormatError(`tokenizer.json: ${message}`);
};

/** No vocabulary has more: what is made for every number up to the largest has to end. */
const maxTokens = 2 ** 24;
const isId = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 0 && (v as number) < maxTokens;

/** The list of objects, empty where it is missing. @throws FormatError for anything else */
function objectsOf(value: unknown, name: string): readonly Json[] {
  const list = value ?? [];
  return Array.isArray(list) && list.every(isObject) ? list : fail(`${name} is no list of objects`);
}

/** @throws FormatError unless numbers and merges are what they should be */
function bpeOf(model: Bpe): Bpe {
  if (!isObject(model.vocab)) fail("model.vocab is no object of tokens and their numbers");
  for (const [piece, id] of Object.entries(model.vocab))
    if (!isId(id)) fail(`token ${JSON.stringify(piece)} has the number ${JSON.stringify(id)}`);
  if (!Array.isArray(model.merges)) fail("model.merges is no list");
  const bad = model.merges.findIndex(
    (m) =>
      typeof m !== "string" && !(Array.isArray(m) && m.length === 2 && m.every((part) => typeof part === "string")),
  );
  if (bad >= 0) fail(`merge ${bad} is ${JSON.stringify(model.merges[bad])}, not two pieces`);
  return model;
}

/** @throws FormatError for an entry without number or text */
function addedTokens(source: Json): readonly AddedToken[] {
  const added = objectsOf(source["added_tokens"], "added_tokens");
  const bad = added.find((t) => !isId(t["id"]) || typeof t["content"] !== "string");
  if (bad) fail(`${JSON.stringify(bad)} is no added token with id and content`);
  return added as unknown as readonly AddedToken[];
}

/** @throws UnsupportedOpError for tokenizers of another kind, FormatError for what is none */
export function vocabularyOf(json: TokenizerJson): SentencePieceVocabulary | ByteLevelVocabulary {
  const found = json.source["model"] as Bpe | null | undefined;
  if (typeof (found?.vocab ?? undefined) !== "object") throw new FormatError("tokenizer.json has no vocabulary");
  const model = found!;
  if (model.type !== undefined && model.type !== "BPE")
    throw new UnsupportedOpError(`tokenizers of type ${model.type} cannot be written to GGUF (BPE can)`, {
      missing: [model.type],
    });
  const merges = bpeOf(model).merges.map((m) => (typeof m === "string" ? m : m.join(" ")));
  const pieces: string[] = [];
  for (const [piece, id] of Object.entries(model.vocab)) pieces[id] = piece;
  const added = addedTokens(json.source);
  for (const { id, content } of added) pieces[id] = content;
  const kinds = Array.from(pieces, (piece): PieceKind => {
    if (piece === undefined) return "unused";
    return model.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(piece) ? "byte" : "normal";
  });
  for (const { id, special } of added) kinds[id] = special ? "control" : "user";
  // Numbers that no token has get a name that no text contains.
  for (let id = 0; id < pieces.length; id++) pieces[id] ??= `[unused${id}]`;

  const idOf = (name: string): number | undefined =>
    added.find((t) => t.content === name)?.id ?? (Object.hasOwn(model.vocab, name) ? model.vocab[name] : undefined);
  const begin = json.begin === undefined ? undefined : idOf(json.begin);
  const ends = json.end.map((end) => (typeof end === "number" ? end : idOf(end)));
  const end = new Set(ends.filter((id) => id !== undefined));
  const common = { pieces, kinds, begin, end, addBegin: begin !== undefined && beginsTexts(json, json.begin!) };
  const cut = JSON.stringify(json.source["pre_tokenizer"] ?? null);
  if (cut.includes('"ByteLevel"')) return { kind: "byteLevel", ...common, merges, pattern: patternOf(json.source) };
  const normalizer = JSON.stringify(json.source["normalizer"] ?? null);
  if (!model.byte_fallback || !(normalizer + cut).includes("\u2581"))
    throw new UnsupportedOpError("this BPE works neither on bytes nor on SentencePiece's characters", {
      missing: ["BPE"],
    });
  const unknown = typeof model.unk_token === "string" ? idOf(model.unk_token) : undefined;
  if (unknown !== undefined) kinds[unknown] = "unknown";
  return {
    kind: "sentencepiece",
    ...common,
    scores: scoresOf(pieces, merges),
    unknown,
    addSpace: normalizer.includes('"Prepend"') || /"prepend_scheme":"(first|always)"/.test(cut),
  };
}

/** Names of tokens that take the white space around them. */
export const trimming = ({ source }: TokenizerJson): string[] =>
  addedTokens(source)
    .filter((t) => t.lstrip || t.rstrip)
    .map((t) => t.content);

/** SentencePiece merges to the piece with the best score first, which is the order of the merges. */
function scoresOf(pieces: readonly string[], merges: readonly string[]): Float32Array {
  const ranks = new Map<string, number>();
  merges.forEach((merge, rank) => {
    const piece = merge.replace(" ", "");
    if (!ranks.has(piece)) ranks.set(piece, rank);
  });
  return Float32Array.from(pieces, (piece) => -(ranks.get(piece) ?? merges.length));
}

/** Whether texts get the first token: the template of the post-processor begins with it. */
function beginsTexts({ source, config }: TokenizerJson, begin: string): boolean {
  if (typeof config["add_bos_token"] === "boolean") return config["add_bos_token"];
  const last = source["post_processor"] as Json | null | undefined;
  const processors = objectsOf(last?.["type"] === "Sequence" ? last["processors"] : last && [last], "post_processor");
  const template = processors.find((p) => p["type"] === "TemplateProcessing")?.["single"] as Json[] | undefined;
  return (template?.[0]?.["SpecialToken"] as { id?: string } | undefined)?.id === begin;
}

/** @throws UnsupportedOpError where words are cut in a way that GGUF has no name for here, FormatError for what is none */
function patternOf(source: Json): string {
  const cutter = source["pre_tokenizer"] as Json;
  const parts = objectsOf(cutter["type"] === "Sequence" ? cutter["pretokenizers"] : [cutter], "pre_tokenizer");
  const [first] = parts;
  if (!first) return fail("pre_tokenizer is a sequence of none");
  const byWords = parts.at(-1)!["use_regex"] !== false;
  if (parts.length === 1 && byWords) return "gpt-2";
  if (parts.length === 2 && first["type"] === "Digits" && first["individual_digits"] === true && byWords)
    return "smollm";
  const expressions = parts.slice(0, -1).map((part) => (part["pattern"] as { Regex?: string } | undefined)?.Regex);
  const composed = (source["normalizer"] as Json | null | undefined)?.["type"] === "NFC";
  const wholeWords = (source["model"] as Bpe).ignore_merges === true;
  const known = Object.keys(cuts).find((name) => {
    const p = cuts[name];
    const same = p.expressions.length === expressions.length && p.expressions.every((e, i) => e === expressions[i]);
    return same && !p.composed === !composed && !p.wholeWords === !wholeWords;
  });
  if (known === undefined || byWords)
    throw new UnsupportedOpError(`this way to cut words cannot be written to GGUF: ${JSON.stringify(cutter)}`, {
      missing: ["pre_tokenizer"],
    });
  return known;
}

type GgufVocabulary = Exclude<DecoderVocabulary, TokenizerJson>;

/**
 * The files of a Hugging Face folder for a vocabulary.
 * @throws UnsupportedOpError where words are cut in a way that is not known here
 */
export function tokenizerJsonOf(v: GgufVocabulary): TokenizerJson {
  if (v.kind === "unigram")
    throw new UnsupportedOpError("unigram vocabularies cannot be written to tokenizer.json; leave the tokenizer out", {
      missing: ["t5"],
    });
  const [end, ...others] = v.end;
  const nameOf = (id: number | undefined): string | undefined => (id === undefined ? undefined : v.pieces.at(id));
  const begin = nameOf(v.begin);
  const special = (kind: PieceKind | undefined): boolean => kind === "control" || kind === "unknown";
  const added = [...v.pieces].flatMap((content, id) =>
    special(v.kinds.at(id)) || v.kinds.at(id) === "user"
      ? [
          {
            id,
            content,
            special: special(v.kinds.at(id)),
            single_word: false,
            lstrip: false,
            rstrip: v.kind === "sentencepiece" && v.trimsBut?.includes(content) === false,
            normalized: false,
          },
        ]
      : [],
  );
  const template = (name: string): Json => ({
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: name, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { [name]: { id: name, ids: [v.begin], tokens: [name] } },
  });
  const addBegin = begin !== undefined && (v.addBegin ?? v.kind === "sentencepiece");
  return {
    kind: "tokenizer.json",
    source: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      ...(v.kind === "sentencepiece" ? sentencePieceParts(v) : byteLevelParts(v)),
      post_processor: addBegin ? template(begin) : null,
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: begin ?? null,
      eos_token: nameOf(end) ?? null,
      add_bos_token: addBegin,
    },
    begin,
    end: [...(end === undefined ? [] : [v.pieces.at(end)!]), ...[end, ...others].filter((id) => id !== undefined)],
  };
}

function byteLevelParts(v: ByteLevelVocabulary): Json {
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const known = Object.hasOwn(cuts, v.pattern) ? cuts[v.pattern] : undefined;
  const byPattern = (): Json => {
    if (v.pattern === "gpt-2") return bytes;
    if (v.pattern === "smollm")
      return { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, bytes] };
    if (!known)
      throw new UnsupportedOpError(`the pre-tokenizer "${v.pattern}" cannot be written to tokenizer.json`, {
        missing: [v.pattern],
      });
    const splits = known.expressions.map((Regex) => ({
      type: "Split",
      pattern: { Regex },
      behavior: "Isolated",
      invert: false,
    }));
    return { type: "Sequence", pretokenizers: [...splits, { ...bytes, use_regex: false }] };
  };
  const vocab = Object.fromEntries(Array.from(v.pieces, (piece, id) => [piece, id]));
  return {
    normalizer: known?.composed ? { type: "NFC" } : null,
    pre_tokenizer: byPattern(),
    decoder: bytes,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      byte_fallback: false,
      ignore_merges: known?.wholeWords === true,
      vocab,
      merges: [...v.merges],
    },
  };
}

function sentencePieceParts(v: SentencePieceVocabulary): Json {
  const pieces = Array.from(v.pieces, (piece, id) =>
    v.kinds.at(id) === "normal" ? piece.replaceAll(" ", "▁") : piece,
  );
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const addSpace = v.addSpace ?? true;
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    normalizer: addSpace ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spaces] } : spaces,
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addSpace ? [strip] : []),
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: v.unknown === undefined ? null : pieces[v.unknown],
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: mergesOf(pieces, v),
    },
  };
}

/** Every way to make a piece of two, those with the best score first. */
function mergesOf(pieces: readonly string[], { kinds, scores }: SentencePieceVocabulary): string[] {
  const ids = new Map<string, number>();
  pieces.forEach((piece, id) => {
    if (kinds.at(id) === "normal" && !ids.has(piece)) ids.set(piece, id);
  });
  const merges: { text: string; score: number; left: number; right: number }[] = [];
  for (const [piece, id] of ids) {
    const characters = Array.from(piece);
    for (let n = 1; n < characters.length; n++) {
      const parts = [characters.slice(0, n).join(""), characters.slice(n).join("")];
      const [left, right] = parts.map((p) => ids.get(p));
      if (left !== undefined && right !== undefined)
        merges.push({ text: parts.join(" "), score: scores[id], left, right });
    }
  }
  return merges.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right).map((m) => m.text);
}
