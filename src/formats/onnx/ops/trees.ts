/** The tree ensembles of ai.onnx.ml as forests: trees of nodes by id (before v5), or of nodes and leaves by index. */
import { type Branch, branchModes, type Forest, forestOf } from "../../../ops/ml/forest.ts";
import { toNumbers } from "../../../tensor/convert.ts";
import type { OnnxNode } from "../node.ts";

/** A list of floats, or a tensor of them where they are double. */
export function numbers(n: OnnxNode, name: string): number[] | undefined {
  const tensor = n.tensor(`${name}_as_tensor`);
  return tensor ? toNumbers(tensor) : n.floats(name);
}

/** TreeEnsembleRegressor and Classifier. `votes`: "target" or "class", the prefix of what the leaves say. */
export function forestByIds(n: OnnxNode, votes: "target" | "class", targets: number): Forest {
  const ints = (name: string): number[] => n.ints(name) ?? n.missing(name);
  const [trees, ids] = [ints("nodes_treeids"), ints("nodes_nodeids")];
  const modes = n.strings("nodes_modes") ?? n.missing("nodes_modes");
  const [yes, no, features] = [ints("nodes_truenodeids"), ints("nodes_falsenodeids"), ints("nodes_featureids")];
  const thresholds = numbers(n, "nodes_values") ?? n.missing("nodes_values");
  const missing = n.ints("nodes_missing_value_tracks_true") ?? [];
  const key = (tree: number, id: number): string => `${tree}/${id}`;
  const position = new Map(ids.map((id, i) => [key(trees[i], id), i]));
  const at = (tree: number, id: number): number =>
    position.get(key(tree, id)) ?? n.unsupported(`node ${id} of tree ${tree}`);

  const [voteTrees, voteNodes, voteTargets] = ["treeids", "nodeids", "ids"].map((s) => ints(`${votes}_${s}`));
  const weights = numbers(n, `${votes}_weights`) ?? n.missing(`${votes}_weights`);
  const leaves = new Map<number, [number, number][]>();
  voteNodes.forEach((id, v) => {
    const node = at(voteTrees[v], id);
    const list = leaves.get(node);
    if (list) list.push([voteTargets[v], weights[v]]);
    else leaves.set(node, [[voteTargets[v], weights[v]]]);
  });

  // Leaves and branches get numbers of their own.
  const isLeaf = modes.map((m) => m === "LEAF");
  const number = new Int32Array(modes.length);
  let [branchCount, leafCount] = [0, 0];
  isLeaf.forEach((leaf, i) => {
    number[i] = leaf ? -1 - leafCount++ : branchCount++;
  });
  const branches: Branch[] = [];
  const leafVotes: [number, number][][] = [];
  const roots: number[] = [];
  modes.forEach((mode, i) => {
    // A tree's first node is its root.
    if (i === 0 || trees[i] !== trees[i - 1]) roots.push(number[i]);
    if (isLeaf[i]) {
      leafVotes.push(leaves.get(i) ?? []);
      return;
    }
    branches.push({
      feature: features[i],
      mode: modeNumber(n, mode.replace("BRANCH_", "").toLowerCase()),
      threshold: thresholds[i],
      yes: number[at(trees[i], yes[i])],
      no: number[at(trees[i], no[i])],
      missingYes: missing[i] === 1,
    });
  });
  return forestOf(n.type, roots, branches, leafVotes, targets);
}

function modeNumber(n: OnnxNode, name: string): number {
  const at = branchModes.indexOf(name as (typeof branchModes)[number]);
  return at < 0 ? n.unsupported(`branch mode "${name}"`) : at;
}

/** TreeEnsemble, version 5. */
export function forestByIndex(n: OnnxNode): Forest {
  const ints = (name: string): number[] => n.ints(name) ?? n.missing(name);
  const tensor = (name: string): number[] => toNumbers(n.tensor(name) ?? n.missing(name));
  const [features, modes, splits] = [ints("nodes_featureids"), tensor("nodes_modes"), tensor("nodes_splits")];
  const [yes, no] = [ints("nodes_truenodeids"), ints("nodes_falsenodeids")];
  const [yesLeaf, noLeaf] = [ints("nodes_trueleafs"), ints("nodes_falseleafs")];
  const missing = n.ints("nodes_missing_value_tracks_true") ?? [];
  const sets = membership(n.tensor("membership_values") && tensor("membership_values"));
  const child = (leaf: number, i: number): number => (leaf ? -1 - i : i);
  const branches = features.map(
    (feature, i): Branch => ({
      feature,
      mode: modes[i],
      threshold: splits[i],
      yes: child(yesLeaf[i], yes[i]),
      no: child(noLeaf[i], no[i]),
      missingYes: missing[i] === 1,
      members: branchModes[modes[i]] === "member" ? (sets.shift() ?? n.missing("membership_values")) : undefined,
    }),
  );
  const [targets, weights] = [ints("leaf_targetids"), tensor("leaf_weights")];
  const count = n.int("n_targets") ?? Math.max(...targets) + 1;
  return forestOf(
    n.type,
    ints("tree_roots"),
    branches,
    targets.map((t, i) => [[t, weights[i]]]),
    count,
  );
}

/** Sets of numbers, each ended by a NaN. */
function membership(values: readonly number[] = []): Set<number>[] {
  const sets: Set<number>[] = [];
  let open: Set<number> | undefined;
  for (const v of values) {
    if (Number.isNaN(v)) open = undefined;
    else if (open) open.add(v);
    else sets.push((open = new Set([v])));
  }
  return sets;
}
