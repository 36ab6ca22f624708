import { fromF64, toF64 } from "../../tensor/convert.ts";
import { shapeError } from "../check.ts";
import { defineOp } from "../op.ts";
import { rowsOf } from "./common.ts";

export interface FeatureVectorizerAttrs {
  /** Features to take of each input; fewer are filled up with 0. Default: all of them. */
  widths?: readonly number[];
}

/** Rows of the inputs side by side, as f32 [N, sum of widths]. Vectors are one row. (ai.onnx.ml FeatureVectorizer.) */
export const featureVectorizer = /* @__PURE__ */ defineOp({
  name: "featureVectorizer",
  inputs: ["...xs"],
  infer(xs, { widths }: FeatureVectorizerAttrs) {
    const sizes = xs.map((x) => rowsOf("featureVectorizer", x));
    if (xs.length === 0 || sizes.some((s) => s.rows !== sizes[0].rows))
      shapeError("featureVectorizer", "inputs differ in their number of rows", ...xs);
    if (widths && widths.length !== xs.length)
      shapeError("featureVectorizer", `${widths.length} widths for ${xs.length} inputs`);
    if (widths?.some((w) => w < 0)) shapeError("featureVectorizer", `widths ${widths}`);
    const total = sizes.reduce((n, s, i) => n + (widths?.[i] ?? s.features), 0);
    return { dtype: "f32", shape: [sizes[0].rows, total] };
  },
  reference(xs, { widths }, [y]) {
    const [rows, total] = y.shape;
    const out = new Float64Array(rows * total);
    let at = 0;
    xs.forEach((x, i) => {
      const { features } = rowsOf("featureVectorizer", x);
      const width = widths?.[i] ?? features;
      const src = toF64(x);
      for (let r = 0; r < rows; r++)
        for (let k = 0; k < Math.min(width, features); k++) out[r * total + at + k] = src[r * features + k];
      at += width;
    });
    fromF64(out, y);
  },
});
