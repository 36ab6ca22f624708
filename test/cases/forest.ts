/** Forests written node by node. */
import { type Forest, forestOf } from "../../src/ops/ml/forest.ts";

export interface Branch {
  feature: number;
  mode: number;
  threshold: number;
  yes: number;
  no: number;
  missingYes: boolean;
  members?: ReadonlySet<number>;
}

export type Votes = readonly (readonly [target: number, weight: number])[];

/** @param leaves the votes of each */
export function forestFrom(
  op: string,
  roots: readonly number[],
  branches: readonly Branch[],
  leaves: readonly Votes[],
  targets: number,
): Forest {
  const start = Int32Array.from({ length: leaves.length + 1 }, (_, i) => leaves.slice(0, i).flat().length);
  const votes = leaves.flat();
  return forestOf(
    op,
    roots,
    {
      feature: branches.map((b) => b.feature),
      mode: branches.map((b) => b.mode),
      threshold: branches.map((b) => b.threshold),
      yes: branches.map((b) => b.yes),
      no: branches.map((b) => b.no),
      missingYes: branches.map((b) => Number(b.missingYes)),
      members: branches.map((b) => b.members),
    },
    { start, target: votes.map((v) => v[0]), weight: Float64Array.from(votes, (v) => v[1]) },
    targets,
  );
}
