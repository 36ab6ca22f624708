import { toNumbers } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { normalizeAxes, type Shape, stridesOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { dtypeError, shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";
import { gatherWalk, type StridedWalk, walkStrided } from "./strided.ts";

interface Range {
  start: number;
  step: number;
  size: number;
}

const clamp = (v: number, min: number, max: number): number => Math.min(Math.max(v, min), max);

/** start, step and size along every dimension; bounds are clamped as Python does. */
function ranges(shape: Shape, starts: number[], ends: number[], axes?: number[], steps?: number[]): Range[] {
  const fail = (what: string): never => shapeError("slice", `${what} of a tensor of shape [${shape}]`);
  const on = axes ?? starts.map((_, i) => i);
  const by = steps ?? starts.map(() => 1);
  if (ends.length !== starts.length || on.length !== starts.length || by.length !== starts.length)
    fail(`${starts.length} starts, ${ends.length} ends, ${on.length} axes and ${by.length} steps`);
  const out = shape.map((size) => ({ start: 0, step: 1, size }));
  normalizeAxes("slice", on, shape.length).forEach((a, i) => {
    const n = shape[a];
    const step = by[i];
    if (step === 0) fail("step 0");
    const from = starts[i] < 0 ? starts[i] + n : starts[i];
    const to = ends[i] < 0 ? ends[i] + n : ends[i];
    const start = step > 0 ? clamp(from, 0, n) : clamp(from, 0, n - 1);
    const end = step > 0 ? clamp(to, 0, n) : clamp(to, -1, n - 1);
    out[a] = { start, step, size: n === 0 ? 0 : Math.max(0, Math.ceil((end - start) / step)) };
  });
  return out;
}

/** How the result's elements walk the input's. `bounds`: starts, ends, axes and steps. */
export function sliceWalk(shape: Shape, bounds: readonly (HostTensor | undefined)[]): StridedWalk {
  const [starts, ends, axes, steps] = bounds.map((t) => t && toNumbers(t));
  const cut = ranges(shape, starts!, ends!, axes, steps);
  const strides = stridesOf(shape);
  return gatherWalk(
    cut.map((r) => r.size),
    cut.map((r, i) => r.step * strides[i]),
    cut.reduce((base, r, i) => base + r.start * strides[i], 0),
  );
}

/**
 * x[start:end:step] along `axes` (default: the first ones), Python's rules for negative and outside bounds; a negative
 * step walks backwards. Any dtype.
 * @throws ShapeError for a step of 0, repeated axes, lists of different lengths
 */
export const slice = /* @__PURE__ */ defineOp({
  name: "slice",
  inputs: ["x", "starts", "ends", "axes?", "steps?"],
  host: ["starts", "ends", "axes", "steps"],
  infer([x, ...bounds]) {
    const names = ["starts", "ends", "axes", "steps"];
    const [starts, ends, axes, steps] = bounds.map((b, i) => {
      if (b && !isInteger(b.dtype)) dtypeError("slice", `${names[i]} must be integers`, b);
      return b && valuesOf("slice", names[i], b);
    });
    return { dtype: x.dtype, shape: ranges(x.shape, starts!, ends!, axes, steps).map((r) => r.size) };
  },
  reference([x, ...bounds], _, [y]) {
    walkStrided(sliceWalk(x.shape, bounds), x, y);
  },
});
