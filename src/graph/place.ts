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
export const alignment = 64;

export const alignUp = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Sets every storage's `offset`. Returns the arena's size. */
export function placeLinear(storages: readonly Storage[]): number {
  const placed: Storage[] = [];
  let total = 0;
  for (const s of [...storages].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    s.offset = lowestGap(s, placed);
    placed.push(s);
    total = Math.max(total, s.offset + alignUp(s.bytes));
  }
  return total;
}

function lowestGap(s: Storage, placed: readonly Storage[]): number {
  const size = alignUp(s.bytes);
  if (size === 0) return 0;
  const busy = placed
    .filter((p) => p.bytes > 0 && p.first <= s.last && s.first <= p.last)
    .sort((a, b) => a.offset - b.offset);
  let at = 0;
  for (const p of busy) {
    if (p.offset - at >= size) return at;
    at = Math.max(at, p.offset + alignUp(p.bytes));
  }
  return at;
}
