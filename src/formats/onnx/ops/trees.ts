/** The tree ensembles of ai.onnx.ml as forests: trees of nodes by id (before v5), or of nodes and leaves by index. */
import { type Branches, branchModes, type Forest, forestOf, type Numbers } from "../../../ops/ml/forest.ts";
import { toF64 } from "../../../tensor/convert.ts";
import type { OnnxNode } from "../node.ts";

/** A list of floats, or a tensor of them where they are double. */
export function numbers(n: OnnxNode, name: string): Float64Array | Float32Array | undefined {
  const tensor = n.tensor(`${name}_as_tensor`);
  return tensor ? toF64(tensor) : n.floatArray(name);
}

/** How many targets there are where only their numbers are given. */
export function countOf(targets: Numbers): number {
  let count = 1;
  for (const t of targets) count = Math.max(count, t + 1);
  return count;
}

/** TreeEnsembleRegressor and Classifier. `votes`: "target" or "class", the prefix of what the leaves say. */
export function forestByIds(n: OnnxNode, votes: "target" | "class", targets: number): Forest {
  const ids = n.intArray("nodes_nodeids") ?? n.missing("nodes_nodeids");
  const trees = sized(n, "nodes_treeids", n.intArray("nodes_treeids"), ids.length);
  const modes = sized(n, "nodes_modes", n.strings("nodes_modes"), ids.length);
  const [yes, no, feature] = ["nodes_truenodeids", "nodes_falsenodeids", "nodes_featureids"].map((name) =>
    sized(n, name, n.intArray(name), ids.length),
  );
  const thresholds = sized(n, "nodes_values", numbers(n, "nodes_values"), ids.length);
  const missing = sized<Numbers>(n, tracksTrue, n.intArray(tracksTrue) ?? [], ids.length, true);
  const at = positions(n, trees, ids);

  // Leaves and branches get numbers of their own.
  const number = new Int32Array(ids.length);
  let [branchCount, leafCount] = [0, 0];
  modes.forEach((mode, i) => {
    number[i] = mode === "LEAF" ? -1 - leafCount++ : branchCount++;
  });
  const ofBranches = (value: (i: number) => number): Float64Array => {
    const out = new Float64Array(branchCount);
    for (let i = 0; i < number.length; i++) if (number[i] >= 0) out[number[i]] = value(i);
    return out;
  };
  const roots: number[] = [];
  const seen = new Set<number>();
  trees.forEach((tree, i) => {
    // A tree's first node is its root.
    if (i > 0 && tree === trees[i - 1]) return;
    if (!seen.has(tree)) roots.push(number[i]);
    seen.add(tree);
  });
  const branches: Branches = {
    feature: ofBranches((i) => feature[i]),
    mode: ofBranches((i) => modeNumber(n, modes[i])),
    threshold: ofBranches((i) => thresholds[i]),
    yes: ofBranches((i) => number[at(trees[i], yes[i])]),
    no: ofBranches((i) => number[at(trees[i], no[i])]),
    missingYes: ofBranches((i) => Number(missing[i] === 1)),
  };

  const voteNodes = n.intArray(`${votes}_nodeids`) ?? n.missing(`${votes}_nodeids`);
  const [voteTrees, voteTargets] = [`${votes}_treeids`, `${votes}_ids`].map((name) =>
    sized(n, name, n.intArray(name), voteNodes.length),
  );
  const weights = sized(n, `${votes}_weights`, numbers(n, `${votes}_weights`), voteNodes.length);
  // Of a branch they count nothing.
  const leafOf = voteNodes.map((id, v) => -1 - number[at(voteTrees[v], id)]);
  const start = new Int32Array(leafCount + 1);
  for (const leaf of leafOf) if (leaf >= 0) start[leaf + 1]++;
  for (let i = 0; i < leafCount; i++) start[i + 1] += start[i];
  const [target, weight] = [new Float64Array(start[leafCount]), new Float64Array(start[leafCount])];
  const next = start.slice();
  leafOf.forEach((leaf, v) => {
    if (leaf < 0) return;
    target[next[leaf]] = voteTargets[v];
    weight[next[leaf]++] = weights[v];
  });
  return forestOf(n.type, roots, branches, { start, target, weight }, targets);
}

const tracksTrue = "nodes_missing_value_tracks_true";

/** An attribute that says something of each node or vote. */
function sized<T extends ArrayLike<unknown>>(
  n: OnnxNode,
  name: string,
  values: T | undefined,
  length: number,
  may = false,
): T {
  if (!values) return n.missing(name);
  if (values.length !== length && !(may && values.length === 0))
    n.wrong(`${name} has ${values.length} elements, not ${length}`);
  return values;
}

/** Where the node of an id in a tree is. Most files number the nodes of a tree from 0 on, one behind the other. */
function positions(n: OnnxNode, trees: Float64Array, ids: Float64Array) {
  const first = new Map<number, number>();
  const last = new Map<number, Map<number, number>>();
  let [tree, nodes] = [Number.NaN, new Map<number, number>()];
  trees.forEach((t, i) => {
    if (!first.has(t)) first.set(t, i);
    if (ids[i] === i - first.get(t)!) return;
    if (t !== tree) {
      tree = t;
      nodes = last.get(t) ?? new Map();
      last.set(t, nodes);
    }
    nodes.set(ids[i], i);
  });
  return (tree: number, id: number): number => {
    const found = last.get(tree)?.get(id);
    if (found !== undefined) return found;
    const at = (first.get(tree) ?? Number.NaN) + id;
    return trees[at] === tree && ids[at] === id ? at : n.wrong(`there is no node ${id} in tree ${tree}`);
  };
}

const modeNames = branchModes.map((mode) => `BRANCH_${mode.toUpperCase()}`);

function modeNumber(n: OnnxNode, name: string): number {
  const at = modeNames.indexOf(name);
  return at < 0 ? n.unsupported(`branch mode "${name}"`) : at;
}

/** TreeEnsemble, version 5. */
export function forestByIndex(n: OnnxNode): Forest {
  const feature = n.intArray("nodes_featureids") ?? n.missing("nodes_featureids");
  const tensor = (name: string): Float64Array => toF64(n.tensor(name) ?? n.missing(name));
  const ofNodes = (name: string, values?: Float64Array) => sized(n, name, values, feature.length);
  const mode = ofNodes("nodes_modes", tensor("nodes_modes"));
  const [yes, no, yesLeaf, noLeaf] = [
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_trueleafs",
    "nodes_falseleafs",
  ].map((name) => ofNodes(name, n.intArray(name)));
  const missing = sized<Numbers>(n, tracksTrue, n.intArray(tracksTrue) ?? [], feature.length, true);
  const sets = membership(n.tensor("membership_values") && tensor("membership_values"));
  const children = (nodes: Float64Array, leaves: Float64Array) => nodes.map((i, b) => (leaves[b] ? -1 - i : i));
  const branches: Branches = {
    feature,
    mode,
    threshold: ofNodes("nodes_splits", tensor("nodes_splits")),
    yes: children(yes, yesLeaf),
    no: children(no, noLeaf),
    missingYes: feature.map((_, i) => Number(missing[i] === 1)),
    members: Array.from(mode, (m) =>
      branchModes[m] === "member" ? (sets.shift() ?? n.missing("membership_values")) : undefined,
    ),
  };
  const targets = n.intArray("leaf_targetids") ?? n.missing("leaf_targetids");
  const leaves = {
    start: Int32Array.from({ length: targets.length + 1 }, (_, i) => i),
    target: targets,
    weight: Float64Array.from(sized(n, "leaf_weights", tensor("leaf_weights"), targets.length)),
  };
  const roots = n.intArray("tree_roots") ?? n.missing("tree_roots");
  return forestOf(n.type, roots, branches, leaves, n.int("n_targets") ?? countOf(targets));
}

/** Sets of numbers, each ended by a NaN. */
function membership(values: Numbers = []): Set<number>[] {
  const sets: Set<number>[] = [];
  let open: Set<number> | undefined;
  for (const v of values) {
    if (Number.isNaN(v)) open = undefined;
    else if (open) open.add(v);
    else sets.push((open = new Set([v])));
  }
  return sets;
}
