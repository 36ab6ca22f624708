/** Byte-pair merging: of all neighbours the pair of lowest rank becomes one symbol, the leftmost of equals first. */

/** The rank of joining two symbols; undefined where they don't join. */
export type Rank = (a: string, b: string) => number | undefined;

interface Candidate {
  readonly rank: number;
  readonly left: number;
  readonly right: number;
  /** What stood there when it was found: merged since, it is void. */
  readonly joined: string;
}

/** A linked list of symbols and a heap of pairs: n log n for a text of n symbols. */
export class MergeQueue {
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  private readonly heap: Candidate[] = [];

  constructor(
    private readonly symbols: string[],
    private readonly rank: Rank,
  ) {
    const n = symbols.length;
    this.next = Int32Array.from({ length: n }, (_, i) => (i + 1 < n ? i + 1 : -1));
    this.previous = Int32Array.from({ length: n }, (_, i) => i - 1);
    for (let i = 0; i + 1 < n; i++) this.propose(i, i + 1);
  }

  /** The symbols that are left when no two join. */
  merged(): string[] {
    const { symbols, next, previous } = this;
    for (let c = this.pop(); c; c = this.pop()) {
      const { left, right, joined } = c;
      // An empty symbol was merged into its left neighbour.
      if (next[left] !== right || symbols[left] + symbols[right] !== joined || symbols[left] === "") continue;
      symbols[left] = joined;
      symbols[right] = "";
      next[left] = next[right];
      if (next[right] >= 0) previous[next[right]] = left;
      if (previous[left] >= 0) this.propose(previous[left], left);
      if (next[left] >= 0) this.propose(left, next[left]);
    }
    return symbols.filter((s) => s !== "");
  }

  private propose(left: number, right: number): void {
    const rank = this.rank(this.symbols[left], this.symbols[right]);
    if (rank === undefined) return;
    this.push({ rank, left, right, joined: this.symbols[left] + this.symbols[right] });
  }

  private push(c: Candidate): void {
    const { heap } = this;
    let i = heap.length;
    heap.push(c);
    for (let parent = (i - 1) >> 1; i > 0 && before(c, heap[parent]); parent = (i - 1) >> 1) {
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = c;
  }

  private pop(): Candidate | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || !last) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

const before = (a: Candidate, b: Candidate): boolean => a.rank < b.rank || (a.rank === b.rank && a.left < b.left);
