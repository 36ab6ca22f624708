/** Decision trees as flat arrays, checked when they are made, so that walking them needs no checks. */
import { ShapeError } from "../../tensor/errors.ts";

/** Comparisons of a feature (left) with a node's threshold (right), by number. `member`: is it in the node's set. */
export const branchModes = ["leq", "lt", "gte", "gt", "eq", "neq", "member"] as const;

/** An array of any kind. */
export interface Numbers extends ArrayLike<number>, Iterable<number> {}

/** Inner nodes, of any numbers that a file may have. A child is the index of a branch, or -1 - i for leaf i. */
export interface Branches {
  readonly feature: Numbers;
  /** Indices of `branchModes`. */
  readonly mode: Numbers;
  readonly threshold: Numbers;
  /** Where to go when the comparison holds, and when not. */
  readonly yes: Numbers;
  readonly no: Numbers;
  /** 1 where a missing value (NaN) goes the way of `yes`. */
  readonly missingYes: Numbers;
  /** The sets of those that have one. */
  readonly members?: readonly (ReadonlySet<number> | undefined)[];
}

/** Votes of leaf i: [start[i], start[i + 1]) of target and weight. */
export interface Leaves {
  readonly start: Int32Array;
  readonly target: Numbers;
  readonly weight: Float64Array;
}

/** Branches and leaves that have been checked. */
export interface Forest {
  /** As children. */
  readonly roots: Int32Array;
  readonly feature: Int32Array;
  readonly mode: Uint8Array;
  readonly threshold: Float64Array;
  readonly yes: Int32Array;
  readonly no: Int32Array;
  readonly missingYes: Uint8Array;
  readonly members: readonly (ReadonlySet<number> | undefined)[];
  /** `no` and `yes` of every branch, next to each other. */
  readonly children: Int32Array;
  /** Every branch asks `leq`, and missing values go the way of `no`: `children` and `threshold` say all. */
  readonly plain: boolean;
  /** See Leaves. */
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
export function forestOf(op: string, roots: Numbers, branches: Branches, leaves: Leaves, targets: number): Forest {
  const fail = (what: string): never => {
    throw new ShapeError(`${op}: ${what}`, { op });
  };
  const { feature, mode, yes, no, missingYes, members = [] } = branches;
  const [count, leafCount] = [feature.length, leaves.start.length - 1];
  const exists = (child: number): boolean => child >= -leafCount && child < count;
  for (const r of roots) if (!exists(r)) fail(`root ${r} is no node`);
  const children = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) {
    if (!exists(yes[i]) || !exists(no[i])) fail(`a child of node ${i} is no node`);
    if (!(mode[i] in branchModes)) fail(`node ${i} has unknown mode ${mode[i]}`);
    if (!(feature[i] >= 0 && feature[i] < 2 ** 31)) fail(`node ${i} looks at feature ${feature[i]}`);
    children[2 * i] = no[i];
    children[2 * i + 1] = yes[i];
  }
  for (const t of leaves.target) if (!(t >= 0 && t < targets)) fail(`target ${t} of ${targets}`);
  rejectCycles(roots, children, fail);
  const asks = Uint8Array.from(mode);
  const tracks = Uint8Array.from(missingYes);
  return {
    roots: Int32Array.from(roots),
    feature: Int32Array.from(feature),
    mode: asks,
    threshold: Float64Array.from(branches.threshold),
    yes: Int32Array.from(yes),
    no: Int32Array.from(no),
    missingYes: tracks,
    members,
    children,
    plain: asks.every((m) => m === 0) && tracks.every((m) => m === 0),
    leafStart: leaves.start,
    target: Int32Array.from(leaves.target),
    weight: leaves.weight,
    targets,
    voted: new Set(leaves.target),
    negative: leaves.weight.some((w) => w < 0),
  };
}

/** Depth-first from every root; a branch met again while it is still open closes a cycle. Subtrees may be shared. */
function rejectCycles(roots: Numbers, children: Int32Array, fail: (what: string) => never): void {
  const [unseen, open, done] = [0, 1, 2];
  const state = new Uint8Array(children.length / 2).fill(unseen);
  const stack = [...roots].filter((r) => r >= 0);
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    if (state[node] !== unseen) {
      state[node] = done;
      stack.pop();
      continue;
    }
    state[node] = open;
    for (const child of [children[2 * node + 1], children[2 * node]]) {
      if (child < 0 || state[child] === done) continue;
      if (state[child] === open) fail(`node ${child} is its own descendant`);
      stack.push(child);
    }
  }
}
