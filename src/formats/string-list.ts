/** Lists of strings as long as vocabularies. */
import { decodeUtf8 } from "../tensor/utf8.ts";

/** What a list of strings has to have: an array of strings is one. */
export interface Strings extends Iterable<string> {
  readonly length: number;
  at(i: number): string | undefined;
}

/**
 * Strings as UTF-8, one behind the other, decoded when asked for. As an array each takes some fifty bytes, which the garbage
 * collector moves twice, and makes room for more.
 */
export class StringList implements Strings {
  /** [length + 1] Where each begins in `bytes`, and the last one's end. */
  readonly starts: Uint32Array;
  length = 0;

  /**
   * @param capacity strings that it will have at most
   * @param bytes room for them; more is made when it is needed
   */
  constructor(
    capacity: number,
    private held: Uint8Array,
  ) {
    this.starts = new Uint32Array(capacity + 1);
  }

  /** The same strings; a list that is one already stays as it is. */
  static of(list: Strings): StringList {
    if (list instanceof StringList) return list;
    const out = new StringList(list.length, new Uint8Array(8 * list.length));
    // `encode` would make an array outside of the heap for each.
    const encoder = new TextEncoder();
    let room = new Uint8Array(256);
    for (const text of list) {
      if (3 * text.length > room.length) room = new Uint8Array(6 * text.length);
      out.push(room, 0, encoder.encodeInto(text, room).written);
    }
    return out;
  }

  /** Appends bytes[from, to). All together are less than 4 GiB. */
  push(bytes: Uint8Array, from: number, to: number): void {
    const start = this.byteLength;
    const end = start + to - from;
    if (end > this.held.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.held.length));
      larger.set(this.held);
      this.held = larger;
    }
    // Most are short: a view of each would be garbage.
    for (let i = from, at = start; i < to; i++) this.held[at++] = bytes[i];
    this.starts[++this.length] = end;
  }

  get byteLength(): number {
    return this.starts[this.length];
  }

  /** Those of string i are [starts[i], starts[i + 1]); what is behind the last is no string. Don't write to it. */
  get bytes(): Uint8Array {
    return this.held;
  }

  at(i: number): string | undefined {
    if (!(i >= 0 && i < this.length)) return undefined;
    return decodeUtf8(this.held.subarray(this.starts[i], this.starts[i + 1]));
  }

  *[Symbol.iterator](): Generator<string, void> {
    for (let i = 0; i < this.length; i++) yield this.at(i)!;
  }
}
