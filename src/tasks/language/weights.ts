/** Tensors that hold several weights, one below the other. */
import type { BlockWeight, Weight } from "../../models/transformer/config.ts";
import { FormatError } from "../../tensor/errors.ts";

export type F32Weight = Exclude<Weight, BlockWeight>;

/**
 * The parts of a tensor by name and number of rows, as views: rows are whole blocks.
 * @throws FormatError unless they make up the whole
 */
export function splitRows(name: string, w: Weight, parts: readonly (readonly [string, number])[]): [string, Weight][] {
  const rows = w.shape[0];
  const total = parts.reduce((sum, [, n]) => sum + n, 0);
  if (total !== rows || parts.some(([, n]) => !Number.isInteger(n)))
    throw new FormatError(`"${name}" has ${rows} rows, expected ${total}`);
  let at = 0;
  return parts.map(([part, n]) => {
    const from = at;
    at += n;
    const shape = [n, ...w.shape.slice(1)];
    if ("bytes" in w) {
      const row = w.bytes.length / rows;
      return [part, { ...w, shape, bytes: w.bytes.subarray(from * row, at * row) }];
    }
    const row = w.data.length / rows;
    return [part, { ...w, shape, data: w.data.subarray(from * row, at * row) }];
  });
}
