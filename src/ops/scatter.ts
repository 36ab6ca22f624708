/** What scatterElements and scatterNd do with an update. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isBig } from "../tensor/dtype.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { dtypeError, sameDType } from "./check.ts";
import { copyElements, movers } from "./copy.ts";

export interface ScatterAttrs {
  /** How an update meets what is there. none: it replaces it, the last one wins. Default "none". */
  reduction?: "none" | "add" | "mul" | "max" | "min";
}

type Combine = <T extends number | bigint>(a: T, b: T) => T;

const combine: Record<"add" | "mul" | "max" | "min", Combine> = {
  add: (a, b) => ((a as number) + (b as number)) as typeof a,
  mul: (a, b) => ((a as number) * (b as number)) as typeof a,
  // NaN wins, as in numpy.maximum.
  max: (a, b) => (a > b || Number.isNaN(a) ? a : b),
  min: (a, b) => (a < b || Number.isNaN(a) ? a : b),
};

export function checkScatter(
  op: string,
  x: TensorType,
  updates: TensorType,
  { reduction = "none" }: ScatterAttrs,
): void {
  sameDType(op, x, updates);
  if (reduction === "none") return;
  if (!Object.hasOwn(combine, reduction)) dtypeError(op, `unknown reduction "${reduction}"`, x);
  if (x.dtype === "string") dtypeError(op, `cannot ${reduction} strings`, x);
}

/** y = x with updates[i] applied at offset target(i), in order. Float results are rounded once, at the end. */
export function scatter(
  x: HostTensor,
  updates: HostTensor,
  y: HostTensor,
  { reduction = "none" }: ScatterAttrs,
  target: (i: number) => number,
): void {
  copyElements(x, y);
  if (reduction === "none") {
    const { src, dst } = movers(updates, y);
    for (let i = 0; i < src.length; i++) dst[target(i)] = src[i];
    return;
  }
  const apply = combine[reduction];
  if (isBig(y.dtype)) {
    const [dst, src] = [y.data as BigInt64Array, updates.data as BigInt64Array];
    for (let i = 0; i < src.length; i++) {
      const j = target(i);
      dst[j] = apply(dst[j], src[i]);
    }
    return;
  }
  const sum = Float64Array.from(toF64(x));
  const src = toF64(updates);
  for (let i = 0; i < src.length; i++) {
    const j = target(i);
    sum[j] = apply(sum[j], src[i]);
  }
  fromF64(sum, y);
}
