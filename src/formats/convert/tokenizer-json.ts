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
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
}
interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly single_word?: boolean;
}

const cuts: Readonly<Record<string, WordCut>> = wordCuts;

const fail = (message: string): never => {
  throw new FormatError(`tokenizer.json: ${message}`);
};

const refuse = (what: string, step: unknown): never => {
  throw new UnsupportedOpError(
    `${what} cannot be written to GGUF: ${JSON.stringify(step)}; tokens would differ. Leave the tokenizer out to convert the weights alone`,
    { missing: [what] },
  );
};

/** No vocabulary has more: what is made for every number up to the largest has to end. */
const maxTokens = 2 ** 24;
const isId = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 0 && (v as number) < maxTokens;

/** The list of objects, empty where it is missing. @throws FormatError for anything else */
function objectsOf(value: unknown, name: string): readonly Json[] {
  const list = value ?? [];
  return Array.isArray(list) && list.every(isObject) ? list : fail(`${name} is no list of objects`);
}

const sequences = { normalizer: "normalizers", pre_tokenizer: "pretokenizers", post_processor: "processors" } as const;

/** What a text passes through there, one by one. @throws FormatError for what is no step */
function stepsOf(source: Json, part: keyof typeof sequences): readonly Json[] {
  const step = source[part] as Json | null | undefined;
  return objectsOf(step?.["type"] === "Sequence" ? step[sequences[part]] : step && [step], part);
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

/**
 * @param count tokens that the model has logits for: more than the tokenizer knows where it was made a round number
 * @throws UnsupportedOpError for tokenizers of another kind, FormatError for what is none
 */
export function vocabularyOf(json: TokenizerJson, count = 0): SentencePieceVocabulary | ByteLevelVocabulary {
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
  pieces.length = Math.max(pieces.length, count);
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
  for (const affix of ["continuing_subword_prefix", "end_of_word_suffix"] as const)
    if (model[affix]) refuse(affix, model[affix]);
  const { normalizer = null, pre_tokenizer: cut = null } = json.source;
  if (JSON.stringify(cut).includes('"ByteLevel"'))
    return { kind: "byteLevel", ...common, merges, pattern: patternOf(json.source) };
  if (!model.byte_fallback || !JSON.stringify([normalizer, cut]).includes(mark))
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
    addSpace: addsSpace(json.source),
  };
}

/** SentencePiece's sign for a space. */
const mark = "\u2581";
const patternIn = (step: Json): { readonly String?: string; readonly Regex?: string } => step["pattern"] ?? {};
const isPrepend = (step: Json): boolean => step["type"] === "Prepend" && step["prepend"] === mark;
const isReplace = (step: Json): boolean =>
  step["type"] === "Replace" && patternIn(step).String === " " && step["content"] === mark;
const isMetaspace = (step: Json): boolean => step["type"] === "Metaspace" && (step["replacement"] ?? mark) === mark;
const prepends = (metaspace: Json): boolean =>
  (metaspace["prepend_scheme"] ?? "always") !== "never" && metaspace["add_prefix_space"] !== false;

/** Whether texts get a space in front. @throws UnsupportedOpError for a step that vocabularies of SentencePiece don't have */
function addsSpace(source: Json): boolean {
  const normalizers = stepsOf(source, "normalizer");
  const other = normalizers.find((step) => !isPrepend(step) && !isReplace(step));
  if (other) refuse("normalizer", other);
  const cutters = stepsOf(source, "pre_tokenizer");
  // Gemma's cuts at spaces, of which none are left.
  const isIdle = (step: Json): boolean =>
    step["type"] === "Split" && patternIn(step).String === " " && normalizers.some(isReplace);
  const cutter = cutters.find((step) => !isMetaspace(step) && !isIdle(step));
  if (cutter) refuse("pre_tokenizer", cutter);
  return normalizers.some(isPrepend) || cutters.some((step) => isMetaspace(step) && prepends(step));
}

/** Whether the space that texts get is left out where they begin with one, or after a special token: readers of GGUF put it there. */
export const addsFewerSpaces = ({ source }: TokenizerJson): boolean =>
  !stepsOf(source, "normalizer").some(isPrepend) &&
  stepsOf(source, "pre_tokenizer").some((step) => isMetaspace(step) && prepends(step));

/** Names of tokens that take the white space around them. */
export const trimming = ({ source }: TokenizerJson): string[] =>
  addedTokens(source)
    .filter((t) => t.lstrip || t.rstrip)
    .map((t) => t.content);

/** Names of tokens that stay text within a word. */
export const wordsAlone = ({ source }: TokenizerJson): string[] =>
  addedTokens(source)
    .filter((t) => t.single_word)
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
  const template = stepsOf(source, "post_processor").find((p) => p["type"] === "TemplateProcessing")?.["single"] as
    | Json[]
    | undefined;
  return (template?.[0]?.["SpecialToken"] as { id?: string } | undefined)?.id === begin;
}

/** @throws UnsupportedOpError where words are cut in a way that GGUF has no name for here, FormatError for what is none */
function patternOf(source: Json): string {
  const parts = stepsOf(source, "pre_tokenizer");
  const last = parts.at(-1);
  if (!last) return fail("pre_tokenizer is a sequence of none");
  const normalizers = stepsOf(source, "normalizer");
  const other = normalizers.find((step) => step["type"] !== "NFC");
  if (other) refuse("normalizer", other);
  const splits = parts.slice(0, -1);
  const composed = normalizers.length > 0;
  const wholeWords = (source["model"] as Bpe).ignore_merges === true;
  const byWords = last["use_regex"] !== false;
  const nameOf = () => (byWords ? !composed && !wholeWords && gpt2Cut(splits) : cutOf(splits, composed, wholeWords));
  const known = last["type"] === "ByteLevel" && last["add_prefix_space"] !== true && nameOf();
  return known || refuse("pre_tokenizer", { normalizer: normalizers, pre_tokenizer: parts, ignore_merges: wholeWords });
}

/** The name of GPT-2's way to cut words, after what comes before it. */
function gpt2Cut(before: readonly Json[]): string | undefined {
  if (before.length === 0) return "gpt-2";
  const [{ type, individual_digits }] = before;
  return before.length === 1 && type === "Digits" && individual_digits === true ? "smollm" : undefined;
}

/** The name of a way to cut words by regular expressions. */
function cutOf(splits: readonly Json[], composed: boolean, wholeWords: boolean): string | undefined {
  const expressions = splits.map((step) => {
    const { type, behavior, invert } = step;
    // Expressions that stand alone match all of a text: to keep what matches is to cut there.
    const keeps = behavior === "Isolated" ? invert !== true : behavior === "Removed" && invert === true && !splits[1];
    return type === "Split" && keeps ? patternIn(step).Regex : undefined;
  });
  return Object.keys(cuts).find((name) => {
    const p = cuts[name];
    const same = p.expressions.length === expressions.length && p.expressions.every((e, i) => e === expressions[i]);
    return same && !p.composed === !composed && !p.wholeWords === !wholeWords;
  });
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
