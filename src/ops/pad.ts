import { toNumbers } from "../tensor/convert.ts";
import { forEachOffset, normalizeAxes, type Shape, sizeOf, stridesOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { sameDType, shapeError, valuesOf } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";

export interface PadAttrs {
  /** What the new elements are. wrap: the tensor repeated. Default "constant". */
  mode?: "constant" | "reflect" | "edge" | "wrap";
}

/** Padding of every axis at its two ends; negative ends crop. */
export interface Pads {
  begin: number[];
  end: number[];
}

function padsOf(x: TensorType, pads: readonly number[], axes?: readonly number[]): Pads {
  const rank = x.shape.length;
  const on = normalizeAxes("pad", axes ?? x.shape.map((_, i) => i), rank);
  if (pads.length !== 2 * on.length) shapeError("pad", `${pads.length} pads for ${on.length} axes`, x);
  const begin = new Array<number>(rank).fill(0);
  const end = new Array<number>(rank).fill(0);
  on.forEach((a, i) => {
    begin[a] = pads[i];
    end[a] = pads[i + on.length];
  });
  return { begin, end };
}

/** From the tensors `pads` and `axes`. */
export const readPads = (x: TensorType, pads: HostTensor, axes?: HostTensor): Pads =>
  padsOf(x, toNumbers(pads), axes && toNumbers(axes));

/**
 * For every axis, where each position of the result comes from: an index of the input, or -1 for the constant. What
 * negative pads crop is gone before the rest is mirrored or repeated.
 */
export function padSources(shape: Shape, { begin, end }: Pads, mode: PadAttrs["mode"]): Int32Array[] {
  return shape.map((d, a) => {
    const first = Math.max(0, -begin[a]);
    const n = d - first - Math.max(0, -end[a]);
    const lead = Math.max(0, begin[a]);
    return Int32Array.from({ length: d + begin[a] + end[a] }, (_, i) => {
      const k = source(i - lead, n, mode);
      return k < 0 ? -1 : first + k;
    });
  });
}

/** The index in [0, n) that position i stands for. */
function source(i: number, n: number, mode: PadAttrs["mode"]): number {
  if (i >= 0 && i < n) return i;
  if (mode === "edge") return i < 0 ? 0 : n - 1;
  if (mode === "wrap") return ((i % n) + n) % n;
  if (mode !== "reflect") return -1;
  const period = 2 * (n - 1);
  if (period === 0) return 0;
  const k = ((i % period) + period) % period;
  return k < n ? k : period - k;
}

/**
 * Elements added around `x` (removed, where a pad is negative). `pads`: all beginnings, then all ends, of `axes`
 * (default: every axis). `value`: one element, default zero, false or the empty string. Any dtype.
 * @throws ShapeError when more is cropped than there is, or nothing is there to mirror
 */
export const pad = /* @__PURE__ */ defineOp({
  name: "pad",
  inputs: ["x", "pads", "value?", "axes?"],
  host: ["pads", "axes"],
  infer([x, pads, value, axes], { mode = "constant" }: PadAttrs) {
    if (value) {
      sameDType("pad", x, value);
      if (sizeOf(value.shape) !== 1) shapeError("pad", "the value is not one element", value);
    }
    if (!["constant", "reflect", "edge", "wrap"].includes(mode)) shapeError("pad", `unknown mode "${mode}"`, x);
    const { begin, end } = padsOf(x, valuesOf("pad", "pads", pads), axes && valuesOf("pad", "axes", axes));
    const shape = x.shape.map((d, a) => {
      const kept = d + Math.min(0, begin[a]) + Math.min(0, end[a]);
      const added = Math.max(0, begin[a]) + Math.max(0, end[a]);
      if (kept < 0) shapeError("pad", `pads ${begin[a]} and ${end[a]} remove more than axis ${a} has`, x);
      if (kept === 0 && added > 0 && mode !== "constant") shapeError("pad", `nothing to ${mode} along axis ${a}`, x);
      return kept + added;
    });
    return { dtype: x.dtype, shape };
  },
  reference([x, pads, value, axes], { mode }, [y]) {
    const sources = padSources(x.shape, readPads(x, pads, axes), mode);
    const strides = stridesOf(x.shape);
    const outer = stridesOf(y.shape);
    const { src, dst } = movers(x, y);
    forEachOffset(y.shape, [], (j) => {
      let at = 0;
      for (let a = 0; a < strides.length && at >= 0; a++) {
        const k = sources[a][Math.floor(j / outer[a]) % y.shape[a]];
        at = k < 0 ? -1 : at + k * strides[a];
      }
      if (at >= 0) dst[j] = src[at];
      else if (value) dst[j] = value.data[0] as number;
    });
  },
});
