/** What weights are used for, whichever way they are stored: f32, or the blocks of GGUF files. */
import type { SymbolicValue } from "../../graph/builder.ts";
import type { Activation } from "../../ops/activation.ts";
import { gather } from "../../ops/gather.ts";
import { matmul } from "../../ops/matmul.ts";
import { quantizedGather, quantizedMatmul } from "../../ops/quantized-matmul.ts";
import { type AnyWeight, blockTypeOf } from "./config.ts";

/** act(x W^T + bias + residual) for a weight [n, k]. @param constant the weight in the graph */
export function product(
  x: SymbolicValue,
  weight: AnyWeight,
  constant: SymbolicValue,
  { bias, residual, activation }: { bias?: SymbolicValue; residual?: SymbolicValue; activation?: Activation },
): SymbolicValue {
  const type = blockTypeOf(weight);
  const [n, k] = weight.shape;
  if (type) return quantizedMatmul(x, constant, bias, residual, { type, n, k, activation });
  return matmul(x, constant, bias, residual, { transposeB: true, activation });
}

/** Rows of a table [rows, k]. @param constant the table in the graph */
export function rowsOf(indices: SymbolicValue, table: AnyWeight, constant: SymbolicValue): SymbolicValue {
  const type = blockTypeOf(table);
  const [rows, k] = table.shape;
  return type ? quantizedGather(indices, constant, { type, k, rows }) : gather(constant, indices);
}
