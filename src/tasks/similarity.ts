/** How near vectors are. */
import { InputError } from "../tensor/errors.ts";

/**
 * Cosine of the angle between two vectors: 1 for the same direction.
 * @throws InputError where lengths differ, and for what is no vector, such as a list of some
 */
export function cosineSimilarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (![a, b].every((v) => typeof v === "object" && v !== null && (v.length === 0 || typeof v[0] === "number")))
    throw new InputError("cosineSimilarity: takes two vectors, as embed() gives of one text each");
  if (a.length !== b.length) throw new InputError(`cosineSimilarity: vectors of ${a.length} and ${b.length} elements`);
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return dot / Math.sqrt(aa * bb || 1);
}
