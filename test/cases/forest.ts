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
    Int32Array.from(roots),
    {
      feature: Int32Array.from(branches, (b) => b.feature),
      mode: Uint8Array.from(branches, (b) => b.mode),
      threshold: Float64Array.from(branches, (b) => b.threshold),
      yes: Int32Array.from(branches, (b) => b.yes),
      no: Int32Array.from(branches, (b) => b.no),
      missingYes: Uint8Array.from(branches, (b) => Number(b.missingYes)),
      members: branches.map((b) => b.members),
    },
    { start, target: Int32Array.from(votes, (v) => v[0]), weight: Float64Array.from(votes, (v) => v[1]) },
    targets,
  );
}
