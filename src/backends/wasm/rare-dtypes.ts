/** Which operators have no kernel here for dtypes that few models compute with. */
import type { OpDef } from "../../ops/op.ts";
import type { KernelFamily } from "../backend.ts";
import type { WasmStep } from "./step.ts";

/** Elements of any dtype are moved, not looked at. */
const movers: ReadonlySet<string> = new Set(
  "transpose slice expand tile depthToSpace spaceToDepth concat split gather".split(" "),
);

/**
 * Those of `ops` that compute with f64, or with integers that travel in no lanes of 32 bits, where no family names that.
 * @param dtypes "add:f64" for an operator that has such an input
 */
export function leftOut(
  ops: readonly OpDef[],
  dtypes: readonly string[],
  families: readonly KernelFamily<WasmStep>[],
): OpDef[] {
  const named = new Set(families.flatMap(([names]) => names.split(" ")));
  const has = (name: string, dtype: string): boolean =>
    named.has(`${name}:${dtype}`) || (dtype !== "f64" && named.has(`${name}:int`));
  return ops.filter(
    ({ name, view }) =>
      !view &&
      !movers.has(name) &&
      ["f64", "i16", "u16", "u32", "u64"].some((dtype) => dtypes.includes(`${name}:${dtype}`) && !has(name, dtype)),
  );
}
