/**
 * The numbers of strings in a list, by the strings: a table of numbers beside the list, for lists as long as vocabularies.
 * A Map takes some fifty bytes more for each string, all of them moved by the garbage collector.
 */
export class StringIndex {
  /** A number and one, or 0: behind the place that a string's hash gives, at the first that was free. */
  private readonly slots: Int32Array;

  /** @param wanted whether a string can be found by its number; of equal ones it is the first */
  constructor(
    private readonly list: readonly string[],
    wanted: (i: number) => boolean,
  ) {
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * list.length + 1)));
    for (let i = 0; i < list.length; i++) if (wanted(i)) this.slots[this.place(list[i])] ||= i + 1;
  }

  get(text: string): number | undefined {
    const found = this.slots[this.place(text)];
    return found ? found - 1 : undefined;
  }

  /** Where it is, or would be. */
  private place(text: string): number {
    const { slots, list } = this;
    // FNV-1a of 16-bit units.
    let hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    const mask = slots.length - 1;
    let at = (hash ^ (hash >>> 15)) & mask;
    while (slots[at] && list[slots[at] - 1] !== text) at = (at + 1) & mask;
    return at;
  }
}
