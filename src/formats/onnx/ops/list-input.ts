/** Lists that were attributes in older opsets and are inputs now. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import type { OnnxNode } from "../node.ts";

/** An input since opset `since`, an attribute of the same name before. */
export function listInput(n: OnnxNode, i: number, name: string, since: number): SymbolicValue | undefined {
  if (n.opset >= since) return n.optional(i);
  const list = n.ints(name);
  return list && n.i64(list);
}

export function required(n: OnnxNode, value: SymbolicValue | undefined, name: string): SymbolicValue {
  return value ?? n.missing(name);
}
