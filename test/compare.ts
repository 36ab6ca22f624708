import { toF64 } from "../src/tensor/convert.ts";
import { isBig, isFloat } from "../src/tensor/dtype.ts";
import { formatType, sameShape } from "../src/tensor/shape.ts";
import type { HostTensor } from "../src/tensor/tensor.ts";
import type { Tolerance } from "./tolerance.ts";

/** Undefined when `got` equals `want` within the tolerance; otherwise what differs and where. */
export function difference(got: HostTensor, want: HostTensor, { absolute, relative }: Tolerance): string | undefined {
  if (got.dtype !== want.dtype || !sameShape(got.shape, want.shape))
    return `type ${formatType(got)} instead of ${formatType(want)}`;
  if (got.data.length !== want.data.length) return `${got.data.length} elements instead of ${want.data.length}`;
  const allowed = (i: number): number => (typeof absolute === "number" ? absolute : absolute[i]);
  const at = (i: number): string => `element ${i} of ${formatType(want)} is ${got.data[i]} instead of ${want.data[i]}`;
  if (!isFloat(want.dtype) || isBig(want.dtype)) {
    for (let i = 0; i < want.data.length; i++) {
      const exact = got.data[i] === want.data[i];
      const close =
        typeof want.data[i] === "number" && Math.abs((got.data[i] as number) - (want.data[i] as number)) <= allowed(i);
      if (!exact && !close) return at(i);
    }
    return undefined;
  }
  const a = toF64(got);
  const b = toF64(want);
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i]) || a[i] === b[i]) continue;
    // Written so that NaN on one side fails.
    if (!(Math.abs(a[i] - b[i]) <= allowed(i) + relative * Math.abs(b[i]))) return `${at(i)} (${a[i]} and ${b[i]})`;
  }
  return undefined;
}
