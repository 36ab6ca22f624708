/** Tokenizers from `tokenizer.json`, through the optional peer `@huggingface/tokenizers`. */

import type { Json } from "../../formats/folder.ts";
import { FormatError } from "../../tensor/errors.ts";
import { loadPeer } from "../../tensor/peer.ts";
import { encodeUtf8 } from "../../tensor/utf8.ts";
import { byteOf } from "./byte-level.ts";
import { CharsMap, mapped } from "./charsmap.ts";
import { keepWordsWhole, type PeerParts, stepsOf, withOwnSteps } from "./peer-steps.ts";
import { checkText, type EncodeOptions, placeOf, type Tokenizer } from "./tokenizer.ts";

interface PeerTokenizer extends PeerParts {
  encode(text: string, options?: object): { ids: (number | undefined)[]; token_type_ids?: number[] };
  id_to_token(id: number): string | undefined;
  token_to_id(token: string): number | undefined;
  get_added_tokens_decoder(): Map<number, AddedToken>;
}
interface AddedToken {
  readonly content: string;
  readonly special: boolean;
}
interface Peer {
  Tokenizer: new (tokenizer: object, config: object) => PeerTokenizer;
}

const none = new Uint8Array(0);

export class HuggingFaceTokenizer implements Tokenizer {
  readonly leadingSpace: boolean;
  private readonly added: ReadonlyMap<number, AddedToken>;
  private readonly byteLevel: boolean;
  /** Whether the file says how two texts go together. */
  private readonly knowsPairs: boolean;
  /** RoBERTa tells texts of a pair apart by the marks between them alone: the peer counts them as BERT does. */
  private readonly oneType: boolean;
  /** Whether "▁" is a space in added tokens, as it is in pieces. */
  private readonly marksSpaces: boolean;

  private constructor(
    private readonly peer: PeerTokenizer,
    source: Json,
    readonly size: number,
    readonly begin: number | undefined,
    readonly end: ReadonlySet<number>,
    private readonly normal: (text: string) => string,
    /** What the model takes of a text. */
    inputs: unknown,
  ) {
    const decoders = stepsOf(source["decoder"], "decoders");
    this.byteLevel = decoders.some((d) => d["type"] === "ByteLevel");
    this.leadingSpace = decoders.some(takesFirstSpace);
    this.marksSpaces = decoders.some(givesSpaces);
    this.added = peer.get_added_tokens_decoder();
    const processors = stepsOf(source["post_processor"], "processors");
    this.knowsPairs = !processors.some(({ pair }) => Array.isArray(pair) && pair.length === 0);
    const untyped = Array.isArray(inputs) && !inputs.includes("token_type_ids");
    this.oneType = untyped || processors.some((p) => p["type"] === "RobertaProcessing");
  }

  /**
   * @param source the content of `tokenizer.json`; `config` that of `tokenizer_config.json`
   * @param names of the first token; names or numbers of those that end an answer
   * @throws MissingPeerError, FormatError for a file that is no tokenizer
   */
  static async open(
    source: Json,
    config: Json = {},
    names: { begin?: string; end?: Iterable<string | number> } = {},
  ): Promise<HuggingFaceTokenizer> {
    const { Tokenizer } = await loadPeer<Peer>("@huggingface/tokenizers", "tokenizer.json");
    try {
      const { rules, rest } = charsMapOf(source);
      const model = (source["model"] ?? {}) as Json;
      // Words are looked up by what the file says, and the peer takes it from elsewhere.
      const unk_token = model["unk_token"] ?? config["unk_token"];
      const peer = new Tokenizer(withOwnSteps(rest), { ...config, unk_token });
      const idOf = (name: string | undefined) => (name === undefined ? undefined : peer.token_to_id(name));
      const begin = idOf(names.begin);
      const ends = [...(names.end ?? [])].map((end) => (typeof end === "number" ? end : idOf(end)));
      const end = new Set(ends.filter((id) => id !== undefined));
      const vocabulary = (model["vocab"] ?? {}) as object;
      keepWordsWhole(peer, vocabulary);
      const normal = (text: string): string => (rules ? mapped(text, rules) : text);
      const size = Object.keys(vocabulary).length;
      return new HuggingFaceTokenizer(peer, source, size, begin, end, normal, config["model_input_names"]);
    } catch (cause) {
      throw new FormatError(`tokenizer.json is not a tokenizer: ${(cause as Error).message}`, { cause });
    }
  }

  /** Names of the special tokens. */
  get specials(): ReadonlyMap<string, number> {
    return new Map([...this.added].filter(([, t]) => t.special).map(([id, t]) => [t.content, id]));
  }

  /** Special tokens are taken for what they say in any text: the peer knows no other way. */
  encode(text: string, { begin = true }: EncodeOptions = {}): number[] {
    checkText(text);
    return this.encoded(text, { add_special_tokens: begin }).ids;
  }

  /** Unknown words give no token where the vocabulary has none for them. */
  private encoded(text: string, options: object): { ids: number[]; types?: number[] } {
    const { ids, token_type_ids: types } = this.peer.encode(this.normal(text), options);
    return { ids: ids.filter((id) => id !== undefined), types: types?.filter((_, i) => ids[i] !== undefined) };
  }

  /** @throws FormatError where the file does not say how texts go together */
  pair(first: string, second: string): { ids: number[]; types: number[] } {
    if (!this.knowsPairs) throw new FormatError("tokenizer.json does not say how two texts go together");
    // The peer takes an empty text for none: another one stands for it, and is taken out.
    const filler = this.normal(second) === "" ? "." : "";
    const { ids, types: given } = this.encoded(first, {
      text_pair: this.normal(second) || filler,
      return_token_type_ids: true,
    });
    const types = (!this.oneType && given) || ids.map(() => 0);
    if (filler) {
      const own = this.encode(filler, { begin: false });
      // The first text may hold it, too.
      const at = placeOf(own, ids, true)!;
      for (const list of [ids, types]) list.splice(at, own.length);
    }
    return { ids, types };
  }

  bytes(token: number): Uint8Array {
    const added = this.added.get(token);
    if (added?.special) return none;
    if (added && !this.marksSpaces) return encodeUtf8(added.content);
    const piece = this.peer.id_to_token(token);
    if (piece === undefined) return none;
    if (this.byteLevel) return Uint8Array.from(Array.from(piece), (c) => byteOf.get(c) ?? 0x3f);
    if (/^<0x[0-9A-F]{2}>$/i.test(piece)) return Uint8Array.of(Number.parseInt(piece.slice(3, 5), 16));
    return encodeUtf8(piece.replaceAll("▁", " "));
  }

  specialName(token: number): string | undefined {
    const added = this.added.get(token);
    return added?.special ? added.content : undefined;
  }
}

/** Decoders that put spaces for "▁". */
const givesSpaces = (d: Json): boolean =>
  d["type"] === "Metaspace" ||
  (d["type"] === "Replace" && d["content"] === " " && (d["pattern"] as Json | undefined)?.["String"] === "▁");

/** Decoders that leave out the space before a text. */
const takesFirstSpace = (d: Json): boolean =>
  d["type"] === "Metaspace"
    ? d["prepend_scheme"] !== "never" && d["add_prefix_space"] !== false
    : d["type"] === "Strip" && Number(d["start"]) > 0;

/** SentencePiece's normalisation comes first where there is one: the peer only does something like it. */
function charsMapOf(source: Json): { rules?: CharsMap; rest: Json } {
  const list = stepsOf(source["normalizer"], "normalizers");
  const blob = list[0]?.["type"] === "Precompiled" ? list[0]["precompiled_charsmap"] : undefined;
  if (typeof blob !== "string" || blob === "") return { rest: source };
  const rules = new CharsMap(Uint8Array.from(atob(blob), (c) => c.charCodeAt(0)));
  return { rules, rest: { ...source, normalizer: { type: "Sequence", normalizers: list.slice(1) } } };
}
