/**
 * SentencePiece's BPE (https://arxiv.org/abs/1808.06226), as Llama 1 and 2, Mistral and Gemma use it: characters are merged
 * to the piece with the best score, again and again; what is no piece becomes byte tokens.
 */
import type { SentencePieceVocabulary } from "../../formats/decoder/vocabulary.ts";
import { StringList } from "../../formats/string-list.ts";
import { encodeUtf8 } from "../../tensor/utf8.ts";
import { MergeQueue } from "./merge.ts";
import { SpecialTokens } from "./special.ts";
import { StringIndex } from "./string-index.ts";
import { checkText, type EncodeOptions, type Tokenizer } from "./tokenizer.ts";

const none = new Uint8Array(0);
export const byteValue = (piece: string): number => Number.parseInt(piece.slice(3, 5), 16);
const spaced = (piece: string): string => piece.replaceAll("▁", " ");
const marked = (text: string): string => text.replaceAll(" ", "▁");

type Pieces = Pick<SentencePieceVocabulary, "pieces" | "kinds">;

/** What a token stands for: see `Tokenizer.bytes`. */
export function bytesOfPiece({ pieces, kinds }: Pieces, token: number): Uint8Array {
  const piece = pieces.at(token);
  const kind = kinds.at(token);
  if (piece === undefined || kind === "control") return none;
  return kind === "byte" ? Uint8Array.of(byteValue(piece)) : encodeUtf8(spaced(piece));
}

export const controlName = ({ pieces, kinds }: Pieces, token: number): string | undefined =>
  kinds.at(token) === "control" ? pieces.at(token) : undefined;

export class SentencePieceTokenizer implements Tokenizer {
  readonly size: number;
  readonly begin: number | undefined;
  readonly leadingSpace: boolean;
  readonly end: ReadonlySet<number>;
  private readonly ids: StringIndex;
  private readonly byteIds = new Map<number, number>();
  private readonly specials: SpecialTokens;

  constructor(private readonly v: Omit<SentencePieceVocabulary, "kind">) {
    this.size = v.pieces.length;
    this.begin = v.begin;
    this.leadingSpace = v.addSpace ?? true;
    this.end = new Set(v.end);
    const specials: [string, number][] = [];
    for (let id = 0; id < this.size; id++) {
      const kind = v.kinds.at(id);
      if (kind === "byte") this.byteIds.set(byteValue(v.pieces.at(id)!), id);
      if (kind === "control" || kind === "unknown" || kind === "user") specials.push([spaced(v.pieces.at(id)!), id]);
    }
    const pieces = StringList.of(v.pieces);
    const hasSpaces = pieces.bytes.includes(0x20);
    this.ids = new StringIndex(hasSpaces ? Array.from(pieces, marked) : pieces, (id) => v.kinds.at(id) === "normal");
    // What users define is matched in any text, control tokens only where the caller asks.
    this.specials = new SpecialTokens(
      specials,
      (id) => v.kinds.at(id) === "user",
      (name) => v.trimsBut?.includes(name) === false,
    );
  }

  bytes(token: number): Uint8Array {
    return bytesOfPiece(this.v, token);
  }

  specialName(token: number): string | undefined {
    return controlName(this.v, token);
  }

  encode(text: string, { begin = true, special = false }: EncodeOptions = {}): number[] {
    checkText(text);
    const { addBegin = true, addEnd = false, addSpace = true } = this.v;
    const out: number[] = begin && addBegin && this.begin !== undefined ? [this.begin] : [];
    // A "▁" that somebody wrote is no different from a space. After a special token the text begins anew.
    for (const part of this.specials.split(spaced(text), special)) {
      if (typeof part === "number") out.push(part);
      else this.encodePlain(addSpace ? ` ${part}` : part, out);
    }
    const [end] = this.end;
    if (begin && addEnd && end !== undefined) out.push(end);
    return out;
  }

  private encodePlain(text: string, out: number[]): void {
    const symbols = Array.from(marked(text));
    const queue = new MergeQueue(symbols, (a, b) => {
      const id = this.ids.get(a + b);
      return id === undefined ? undefined : -this.v.scores[id];
    });
    for (const symbol of queue.merged()) {
      const id = this.ids.get(symbol);
      if (id !== undefined) out.push(id);
      else this.encodeBytes(symbol, out);
    }
  }

  private encodeBytes(symbol: string, out: number[]): void {
    for (const byte of encodeUtf8(spaced(symbol))) {
      const id = this.byteIds.get(byte) ?? this.v.unknown;
      if (id !== undefined) out.push(id);
    }
  }
}
