/** Moving elements without looking at them: what references of layout operators are made of. Any dtype, strings too. */
import type { HostTensor } from "../tensor/tensor.ts";

/** y[i] = x[i]. */
export function copyElements(x: HostTensor, y: HostTensor): void {
  if (Array.isArray(x.data)) for (let i = 0; i < x.data.length; i++) (y.data as string[])[i] = x.data[i];
  else (y.data as Uint8Array).set(x.data as Uint8Array);
}

/** An element-by-element view of both arrays for `y[j] = x[i]` whatever the dtype. */
export function movers(x: HostTensor, y: HostTensor): { src: Float64Array; dst: Float64Array } {
  return { src: x.data as Float64Array, dst: y.data as Float64Array };
}
