import type { OnnxNode } from "../node.ts";

/** A string attribute that must be one of `values`; undefined where it is missing. UnsupportedOpError for others. */
export function choice<const T extends string>(n: OnnxNode, name: string, values: readonly T[]): T | undefined {
  const value = n.string(name);
  if (value === undefined) return undefined;
  return values.find((v) => v === value) ?? n.unsupported(`${name} "${value}" (it is none of ${values.join(", ")})`);
}
