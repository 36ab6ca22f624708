/**
 * Memory placement. Values with overlapping lifetimes get disjoint ranges of one arena; others share. Greedy by size,
 * lowest offset that fits: within a few percent of optimal on real graphs, and simple.
 */

/** A block of memory that lives from step `first` to step `last`, both included. */
export interface Storage {
  bytes: number;
  first: number;
  last: number;
  offset: number;
  /** Its number. */
  readonly slot: number;
}

/** Cache line: also more than any SIMD load needs. */
const alignment = 64;

const alignUp = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Sets every storage's `offset`. Returns the arena's size. */
export function placeLinear(storages: readonly Storage[]): number {
  /** By offset. */
  const placed: Storage[] = [];
  let total = 0;
  let before: Storage | undefined;
  /** Where the search begins: whatever lies lower lives with the value before. */
  let from = 0;
  for (const s of [...storages].sort((a, b) => b.bytes - a.bytes || a.first - b.first || a.last - b.last)) {
    const size = alignUp(s.bytes);
    // As large and alive throughout its life: what was no room for the one before is none for this one. Inputs, which all
    // live from the start, would each look through all the others otherwise.
    let at = before?.bytes === s.bytes && before.first === s.first ? before.offset : (from = 0);
    let i = from;
    from = Infinity;
    for (; size > 0 && i < placed.length; i++) {
      const p = placed[i];
      if (p.first > s.last || s.first > p.last) {
        from = Math.min(from, i);
        continue;
      }
      if (p.offset - at >= size) break;
      at = Math.max(at, p.offset + alignUp(p.bytes));
    }
    s.offset = at;
    while (i > 0 && placed[i - 1].offset > at) i--;
    placed.splice(i, 0, s);
    from = Math.min(from, i);
    total = Math.max(total, at + size);
    before = s;
  }
  return total;
}
