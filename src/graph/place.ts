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
  for (const s of [...storages].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    s.offset = lowestGap(s, placed);
    let i = placed.length;
    while (i > 0 && placed[i - 1].offset > s.offset) i--;
    placed.splice(i, 0, s);
    total = Math.max(total, s.offset + alignUp(s.bytes));
  }
  return total;
}

function lowestGap(s: Storage, placed: readonly Storage[]): number {
  const size = alignUp(s.bytes);
  if (size === 0) return 0;
  let at = 0;
  for (let i = 0; i < placed.length; i++) {
    const p = placed[i];
    if (p.bytes === 0 || p.first > s.last || s.first > p.last) continue;
    if (p.offset - at >= size) return at;
    at = Math.max(at, p.offset + alignUp(p.bytes));
  }
  return at;
}
