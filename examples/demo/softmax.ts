/** Scores as probabilities that add up to 1. */
export function probabilities(logits: ArrayLike<number>): number[] {
  const list = Array.from(logits);
  const max = Math.max(...list);
  const e = list.map((v) => Math.exp(v - max));
  const sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
}

/** Index of the largest. */
export const best = (values: readonly number[]): number => values.indexOf(Math.max(...values));
