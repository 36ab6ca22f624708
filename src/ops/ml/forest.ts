/** Decision trees as flat arrays, checked when they are made, so that walking them needs no checks. */
import { ShapeError } from "../../tensor/errors.ts";

/** Comparisons of a feature (left) with a node's threshold (right), by number. `member`: is it in the node's set. */
export const branchModes = ["leq", "lt", "gte", "gt", "eq", "neq", "member"] as const;

/** An inner node. A child is the index of a branch, or -1 - i for leaf i. */
export interface Branch {
  feature: number;
  /** Index of `branchModes`. */
  mode: number;
  threshold: number;
  /** Where to go when the comparison holds, and when not. */
  yes: number;
  no: number;
  /** Whether a missing value (NaN) goes the way of `yes`. */
  missingYes: boolean;
  members?: ReadonlySet<number>;
}

export interface Forest {
  /** As children. */
  readonly roots: Int32Array;
  readonly feature: Int32Array;
  readonly mode: Uint8Array;
  readonly threshold: Float64Array;
  readonly yes: Int32Array;
  readonly no: Int32Array;
  readonly missingYes: Uint8Array;
  /** `no` and `yes` of every branch, next to each other. */
  readonly children: Int32Array;
  /** Every branch asks `leq`, and missing values go the way of `no`: `children` and `threshold` say all. */
  readonly plain: boolean;
  readonly members: readonly (ReadonlySet<number> | undefined)[];
  /** Votes of leaf i: [leafStart[i], leafStart[i + 1]) of target and weight. */
  readonly leafStart: Int32Array;
  readonly target: Int32Array;
  readonly weight: Float64Array;
  readonly targets: number;
  /** Targets that there are votes for. */
  readonly voted: ReadonlySet<number>;
  /** Whether a weight is below 0. */
  readonly negative: boolean;
}

/** @throws ShapeError for children or targets that don't exist, and for trees with cycles */
export function forestOf(
  op: string,
  roots: readonly number[],
  branches: readonly Branch[],
  leaves: readonly (readonly (readonly [target: number, weight: number])[])[],
  targets: number,
): Forest {
  const fail = (what: string): never => {
    throw new ShapeError(`${op}: ${what}`, { op });
  };
  const exists = (child: number): boolean => child >= -leaves.length && child < branches.length;
  for (const r of roots) if (!exists(r)) fail(`root ${r} is no node`);
  branches.forEach((b, i) => {
    if (!exists(b.yes) || !exists(b.no)) fail(`a child of node ${i} is no node`);
    if (!(b.mode in branchModes)) fail(`node ${i} has unknown mode ${b.mode}`);
    if (!(b.feature >= 0)) fail(`node ${i} looks at feature ${b.feature}`);
  });
  const votes = leaves.flat();
  for (const [t] of votes) if (!(t >= 0 && t < targets)) fail(`target ${t} of ${targets}`);
  rejectCycles(roots, branches, fail);
  const leafStart = new Int32Array(leaves.length + 1);
  leaves.forEach((l, i) => {
    leafStart[i + 1] = leafStart[i] + l.length;
  });
  return {
    roots: Int32Array.from(roots),
    feature: Int32Array.from(branches, (b) => b.feature),
    mode: Uint8Array.from(branches, (b) => b.mode),
    threshold: Float64Array.from(branches, (b) => b.threshold),
    yes: Int32Array.from(branches, (b) => b.yes),
    no: Int32Array.from(branches, (b) => b.no),
    missingYes: Uint8Array.from(branches, (b) => Number(b.missingYes)),
    children: Int32Array.from(branches.flatMap((b) => [b.no, b.yes])),
    plain: branches.every((b) => b.mode === 0 && !b.missingYes),
    members: branches.map((b) => b.members),
    leafStart,
    target: Int32Array.from(votes, (v) => v[0]),
    weight: Float64Array.from(votes, (v) => v[1]),
    targets,
    voted: new Set(votes.map((v) => v[0])),
    negative: votes.some((v) => v[1] < 0),
  };
}

/** Depth-first from every root; a branch met again while it is still open closes a cycle. Subtrees may be shared. */
function rejectCycles(roots: readonly number[], branches: readonly Branch[], fail: (what: string) => never): void {
  const [unseen, open, done] = [0, 1, 2];
  const state = new Uint8Array(branches.length).fill(unseen);
  const stack = roots.filter((r) => r >= 0);
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    if (state[node] !== unseen) {
      state[node] = done;
      stack.pop();
      continue;
    }
    state[node] = open;
    for (const child of [branches[node].yes, branches[node].no]) {
      if (child < 0 || state[child] === done) continue;
      if (state[child] === open) fail(`node ${child} is its own descendant`);
      stack.push(child);
    }
  }
}
