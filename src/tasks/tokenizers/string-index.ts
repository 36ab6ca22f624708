import { StringList, type Strings } from "../../formats/string-list.ts";

const surrogate = /[\ud800-\udfff]/;

/**
 * The numbers of strings in a list, by the strings: a table of numbers beside the list, for lists as long as vocabularies.
 * A Map takes some fifty bytes more for each string, all of them moved by the garbage collector.
 */
export class StringIndex {
  private readonly list: StringList;
  /** A number and one, or 0: behind the place that a string's hash gives, at the first that was free. */
  private readonly slots: Int32Array | Uint16Array;
  private readonly encoder = new TextEncoder();
  /** The string that is looked up. */
  private text = new Uint8Array(256);

  /** @param wanted whether a string can be found by its number; of equal ones it is the first */
  constructor(list: Strings, wanted: (i: number) => boolean) {
    this.list = StringList.of(list);
    const size = 2 ** Math.ceil(Math.log2(2 * list.length + 1));
    this.slots = list.length < 2 ** 16 ? new Uint16Array(size) : new Int32Array(size);
    const { bytes, starts } = this.list;
    for (let i = 0; i < list.length; i++)
      if (wanted(i)) this.slots[this.place(bytes, starts[i], starts[i + 1])] ||= i + 1;
  }

  get(text: string): number | undefined {
    if (3 * text.length > this.text.length) this.text = new Uint8Array(6 * text.length);
    const { written } = this.encoder.encodeInto(text, this.text);
    const found = this.slots[this.place(this.text, 0, written)];
    if (!found) return undefined;
    // As UTF-8 half of a pair is the same as U+FFFD.
    if (surrogate.test(text) && this.list.at(found - 1) !== text) return undefined;
    return found - 1;
  }

  /** Where the string bytes[from, to) is, or would be. */
  private place(bytes: Uint8Array, from: number, to: number): number {
    const { slots } = this;
    // FNV-1a.
    let hash = 0x811c9dc5;
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    const mask = slots.length - 1;
    let at = (hash ^ (hash >>> 15)) & mask;
    while (slots[at] && !this.equals(slots[at] - 1, bytes, from, to)) at = (at + 1) & mask;
    return at;
  }

  private equals(n: number, bytes: Uint8Array, from: number, to: number): boolean {
    const { bytes: own, starts } = this.list;
    const start = starts[n];
    if (starts[n + 1] - start !== to - from) return false;
    for (let i = from; i < to; i++) if (own[start + i - from] !== bytes[i]) return false;
    return true;
  }
}
