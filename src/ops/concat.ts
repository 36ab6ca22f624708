import { normalizeAxis, type Shape, stridesOf } from "../tensor/shape.ts";
import { sameDType, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";
import { type StridedWalk, walkStrided } from "./strided.ts";

export interface ConcatAttrs {
  axis: number;
}

/** How each input is written into the result of `shape`. */
export function concatWalks(inputs: readonly Shape[], shape: Shape, { axis }: ConcatAttrs): StridedWalk[] {
  const a = normalizeAxis("concat", axis, shape.length);
  const strides = stridesOf(shape);
  let at = 0;
  return inputs.map((s) => {
    const walk = { shape: s, from: { strides: stridesOf(s), base: 0 }, to: { strides, base: at * strides[a] } };
    at += s[a];
    return walk;
  });
}

/** Tensors one after the other along `axis`. Any dtype. ShapeError when other dimensions differ. */
export const concat = /* @__PURE__ */ defineOp({
  name: "concat",
  inputs: ["...xs"],
  infer(xs, { axis }: ConcatAttrs) {
    if (xs.length === 0) shapeError("concat", "needs at least one input");
    const dtype = sameDType("concat", ...xs);
    const [first] = xs;
    const a = normalizeAxis("concat", axis, first.shape.length);
    for (const x of xs)
      if (x.shape.length !== first.shape.length || x.shape.some((d, i) => i !== a && d !== first.shape[i]))
        shapeError("concat", `dimensions other than axis ${axis} differ`, first, x);
    return { dtype, shape: first.shape.map((d, i) => (i === a ? xs.reduce((n, x) => n + x.shape[a], 0) : d)) };
  },
  reference(xs, attrs, [y]) {
    const walks = concatWalks(
      xs.map((x) => x.shape),
      y.shape,
      attrs,
    );
    xs.forEach((x, i) => {
      walkStrided(walks[i], x, y);
    });
  },
});
