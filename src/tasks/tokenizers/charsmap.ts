/**
 * SentencePiece's normalisation rules (`precompiled_charsmap`): the size of a trie, the trie as darts-clone stores it
 * (https://github.com/s-yata/darts-clone), then the texts that its values point to, each ended by a zero.
 */
import { FormatError } from "../../tensor/errors.ts";
import { decodeUtf8, encodeUtf8 } from "../../tensor/utf8.ts";

const hasLeaf = (unit: number): boolean => ((unit >>> 8) & 1) === 1;
const textOf = (unit: number): number => unit & 0x7fffffff;
/** A byte, or more where the unit is a value. */
const labelOf = (unit: number): number => (unit & 0x800000ff) >>> 0;
const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

export class CharsMap {
  private readonly units: Uint32Array;
  private readonly texts: Uint8Array;

  /** @throws FormatError for a trie that does not fit */
  constructor(blob: Uint8Array) {
    const size = blob.length >= 4 ? new DataView(blob.buffer, blob.byteOffset).getUint32(0, true) : 0;
    if (size === 0 || size % 4 !== 0 || size + 4 > blob.length)
      throw new FormatError(`precompiled_charsmap: a trie of ${size} bytes does not fit in ${blob.length}`);
    const copy = new Uint8Array(blob);
    this.units = new Uint32Array(copy.buffer, 4, size / 4);
    this.texts = copy.subarray(4 + size);
  }

  /** The longest rule for what begins at byte `at`: the bytes that it takes, and what they become. */
  rule(bytes: Uint8Array, at: number): { length: number; text: string } | undefined {
    const { units } = this;
    let node = offsetOf(units[0]);
    let [length, value] = [0, -1];
    for (let i = at; i < bytes.length; i++) {
      node ^= bytes[i];
      if (node >= units.length || labelOf(units[node]) !== bytes[i]) break;
      const unit = units[node];
      node ^= offsetOf(unit);
      if (hasLeaf(unit) && node < units.length) [length, value] = [i + 1 - at, textOf(units[node])];
    }
    if (length === 0 || value >= this.texts.length) return undefined;
    const end = this.texts.indexOf(0, value);
    return { length, text: decodeUtf8(this.texts.subarray(value, end < 0 ? undefined : end)) };
  }
}

/**
 * A text in parts: the longest beginning that has a rule, or one character, and what becomes of it.
 * @param kept UTF-16 units that have to stay as they are at a place; 0 where there are none
 */
export function* normalParts(text: string, kept: (at: number) => number, map?: CharsMap): Generator<string> {
  const bytes = map ? encodeUtf8(text) : new Uint8Array(0);
  let byte = 0;
  for (let at = 0; at < text.length; ) {
    const stays = kept(at);
    const rule = stays > 0 ? undefined : map?.rule(bytes, byte);
    const begin = at;
    const [end, lastByte] = rule ? [text.length, byte + rule.length] : [at + (stays || unitsAt(text, at)), Infinity];
    for (; at < end && byte < lastByte; at += unitsAt(text, at)) byte += utf8Length(text, at);
    yield rule ? rule.text : text.slice(begin, at);
  }
}

const unitsAt = (text: string, at: number): number => (text.codePointAt(at)! > 0xffff ? 2 : 1);

function utf8Length(text: string, at: number): number {
  const c = text.codePointAt(at)!;
  return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/** A text with its rules applied. */
export const mapped = (text: string, map: CharsMap): string => [...normalParts(text, () => 0, map)].join("");
