/** Values of all invocations of a workgroup combined into one. */
import type { GpuTarget } from "./target.ts";

export interface Combination {
  /** Of two values, associative and commutative. */
  readonly combine: (a: string, b: string) => string;
  /** The same over a subgroup, where there is such a function. */
  readonly subgroup?: "subgroupAdd" | "subgroupMax" | "subgroupMin" | "subgroupMul";
}

export const addition: Combination = { combine: (a, b) => `${a} + ${b}`, subgroup: "subgroupAdd" };

/**
 * Declares `fn name(value: type, local: u32) -> type`, to be called by all `size` invocations together; each gets the
 * result. By halves in workgroup memory; with subgroups, those first, and one step over their results. Invocations of a
 * subgroup are taken to be numbered in a row.
 */
export function groupReduction(
  target: GpuTarget,
  name: string,
  type: string,
  size: number,
  { combine, subgroup }: Combination,
): string {
  const shared = `${name}_shared`;
  const start = `
var<workgroup> ${shared}: array<${type}, ${size}>;
fn ${name}(value: ${type}, local: u32`;
  if (subgroup && target.subgroups && size > target.subgroups.min)
    return `${start}, width: u32) -> ${type} {
  ${shared}[local] = ${subgroup}(value);
  workgroupBarrier();
  var result = ${shared}[0];
  for (var i = width; i < ${size}u; i += width) { result = ${combine("result", `${shared}[i]`)}; }
  workgroupBarrier();
  return result;
}`;
  return `${start}, width: u32) -> ${type} {
  ${shared}[local] = value;
  workgroupBarrier();
  for (var half = ${size / 2}u; half > 0u; half >>= 1u) {
    if (local < half) { ${shared}[local] = ${combine(`${shared}[local]`, `${shared}[local + half]`)}; }
    workgroupBarrier();
  }
  let result = ${shared}[0];
  workgroupBarrier();
  return result;
}`;
}

/** Invocations for each row: about four elements for each. */
export const groupSize = (elements: number): number => (elements <= 256 ? 64 : elements <= 1024 ? 128 : 256);
