/**
 * SentencePiece's unigram model (https://arxiv.org/abs/1804.10959), as T5, XLM-RoBERTa and their relatives use it: of all
 * ways to cut a text into pieces the one whose scores (logarithms of probabilities) have the greatest sum.
 */
import type { UnigramVocabulary } from "../../formats/decoder/vocabulary.ts";
import { encodeUtf8 } from "../../tensor/utf8.ts";
import { CharsMap, normalParts } from "./charsmap.ts";
import { bytesOfPiece, byteValue, controlName } from "./sentencepiece.ts";
import { SpecialTokens } from "./special.ts";
import { checkText, type EncodeOptions, type Tokenizer } from "./tokenizer.ts";

/** A character that is no piece is that much worse than the worst piece. */
const unknownPenalty = 10;
/** The smallest positive f32: where the original begins to look for the best score. */
const smallest = 2 ** -126;

export class UnigramTokenizer implements Tokenizer {
  readonly size: number;
  readonly begin: number | undefined;
  readonly leadingSpace: boolean;
  readonly end: ReadonlySet<number>;
  /** Pieces that texts are cut into, spaces written as "▁". */
  private readonly ids = new Map<string, number>();
  private readonly scores: Float64Array;
  private readonly byteIds = new Map<number, number>();
  private readonly specials: SpecialTokens;
  private readonly users: readonly string[];
  private readonly charsmap: CharsMap | undefined;
  private readonly unknown: number;
  private readonly unknownScore: number;
  /** Of a piece, in UTF-16 units. */
  private readonly longest: number;

  /** @throws FormatError for a charsmap that is corrupt */
  constructor(private readonly v: Omit<UnigramVocabulary, "kind">) {
    const { pieces, kinds } = v;
    this.size = pieces.length;
    this.begin = v.begin;
    this.leadingSpace = v.addSpace ?? true;
    this.end = new Set(v.end);
    this.charsmap = v.charsmap?.length ? new CharsMap(v.charsmap) : undefined;
    const specials: [string, number][] = [];
    const normal: number[] = [];
    pieces.forEach((piece, id) => {
      const kind = kinds[id];
      if (kind === "byte") this.byteIds.set(byteValue(piece), id);
      if (kind === "control" || kind === "unknown") specials.push([piece, id]);
      if (kind === "normal") normal.push(Math.fround(v.scores[id]));
      if ((kind === "normal" || kind === "user") && piece !== "" && !this.ids.has(piece)) this.ids.set(piece, id);
    });
    this.specials = new SpecialTokens(specials, () => false);
    this.users = pieces.filter((piece, id) => kinds[id] === "user" && piece !== "");
    const best = normal.reduce((a, b) => Math.max(a, b), smallest);
    const worst = normal.reduce((a, b) => Math.min(a, b), Infinity);
    // What users define comes before everything else.
    this.scores = Float64Array.from(pieces, (piece, id) =>
      kinds[id] === "user" ? Math.fround(encodeUtf8(piece).length * best) - 0.1 : Math.fround(v.scores[id]),
    );
    this.unknown = v.unknown ?? kinds.indexOf("unknown");
    this.unknownScore = Math.fround(worst - unknownPenalty);
    this.longest = [...this.ids.keys()].reduce((n, piece) => Math.max(n, piece.length), 0);
  }

  bytes(token: number): Uint8Array {
    return bytesOfPiece(this.v, token);
  }

  specialName(token: number): string | undefined {
    return controlName(this.v, token);
  }

  encode(text: string, { begin = true, special = false }: EncodeOptions = {}): number[] {
    checkText(text);
    const { addBegin = true, addEnd = false } = this.v;
    const [end] = this.end;
    const out: number[] = begin && addBegin && this.begin !== undefined ? [this.begin] : [];
    for (const part of this.specials.split(text, special)) {
      if (typeof part === "number") out.push(part);
      else this.cut(this.normalized(part), out);
    }
    if (begin && addEnd && end !== undefined) out.push(end);
    return out;
  }

  /** With "▁" for spaces. */
  private normalized(text: string): string {
    const { addSpace = true, collapseSpaces = true } = this.v;
    const user = (at: number): number =>
      this.users.reduce((n, piece) => (piece.length > n && text.startsWith(piece, at) ? piece.length : n), 0);
    let out = "";
    let afterSpace = collapseSpaces;
    for (const part of normalParts(text, user, this.charsmap)) {
      const kept = afterSpace ? part.replace(/^ +/, "") : part;
      out += kept;
      if (kept !== "") afterSpace = collapseSpaces && kept.endsWith(" ");
    }
    out = (addSpace ? "▁" : "") + out.replaceAll(" ", "▁");
    let end = out.length;
    while (collapseSpaces && out[end - 1] === "▁") end--;
    return out.slice(0, end);
  }

  /** The best way to the end of each beginning of the text, from the first to the last (Viterbi). */
  private cut(text: string, out: number[]): void {
    const n = text.length;
    const best = new Float32Array(n + 1);
    const from = new Int32Array(n + 1).fill(-1);
    const piece = new Int32Array(n + 1);
    const offer = (start: number, end: number, id: number, score: number): void => {
      if (from[end] >= 0 && score <= best[end]) return;
      best[end] = score;
      from[end] = start;
      piece[end] = id;
    };
    for (let start = 0; start < n; ) {
      const character = start + (text.codePointAt(start)! > 0xffff ? 2 : 1);
      let isPiece = false;
      const last = Math.min(n, start + this.longest);
      for (let end = character; end <= last; end++) {
        const id = this.ids.get(text.slice(start, end));
        if (id === undefined) continue;
        offer(start, end, id, this.scores[id] + best[start]);
        isPiece ||= end === character;
      }
      if (!isPiece) offer(start, character, -1, Math.fround(this.unknownScore + best[start]));
      start = character;
    }
    const ends: number[] = [];
    for (let end = n; end > 0; end = from[end]) ends.push(end);
    let wasUnknown = false;
    for (const end of ends.reverse()) {
      const id = piece[end];
      if (id >= 0) out.push(id);
      else if (this.byteIds.size > 0) for (const b of encodeUtf8(text.slice(from[end], end))) this.pushByte(b, out);
      // Unknown characters side by side are one token.
      else if (!wasUnknown && this.unknown >= 0) out.push(this.unknown);
      wasUnknown = id < 0;
    }
  }

  private pushByte(byte: number, out: number[]): void {
    const id = this.byteIds.get(byte) ?? this.unknown;
    if (id >= 0) out.push(id);
  }
}
