/** The inverse of im2col, with overlapping windows summed. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import { dtypeError, expectRank, numbersOf, shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";
import { resolveWindow, tapOffsets, type WindowAttrs } from "./window.ts";

export type Col2imAttrs = Omit<WindowAttrs, "autoPad">;

/**
 * Columns [batch, channels * taps, windows] summed into images [batch, channels, ...image]. `imageShape` and
 * `blockShape` are the spatial dimensions of the image and of a window. Integers wrap; bool is an or. ONNX Col2Im-18.
 * @throws ShapeError, DTypeError
 */
export const col2im = /* @__PURE__ */ defineOp({
  name: "col2im",
  inputs: ["x", "imageShape", "blockShape"],
  host: ["imageShape", "blockShape"],
  infer([x, imageShape, blockShape], attrs: Col2imAttrs) {
    if (x.dtype === "string") dtypeError("col2im", "sums numbers", x);
    expectRank("col2im", x, 3);
    const image = valuesOf("col2im", "imageShape", imageShape);
    const block = valuesOf("col2im", "blockShape", blockShape);
    const { output } = resolveWindow("col2im", image, block, attrs);
    const [batch, rows, columns] = x.shape;
    if (rows % sizeOf(block) !== 0) shapeError("col2im", `rows do not divide into blocks [${block}]`, x);
    if (columns !== sizeOf(output)) shapeError("col2im", `the image has ${sizeOf(output)} windows`, x);
    return { dtype: x.dtype, shape: [batch, rows / sizeOf(block), ...image] };
  },
  reference([x, , blockShape], attrs, [y]) {
    const [, , ...image] = y.shape;
    const window = resolveWindow("col2im", image, numbersOf(blockShape), attrs);
    const table = tapOffsets(window);
    const src = toF64(x);
    const dst = new Float64Array(y.data.length);
    const taps = sizeOf(window.kernel);
    const windows = sizeOf(window.output);
    const planes = y.shape[0] * y.shape[1];
    const size = sizeOf(image);
    for (let p = 0; p < planes; p++)
      for (let t = 0; t < taps; t++)
        for (let o = 0; o < windows; o++) {
          const at = table[o * taps + t];
          if (at >= 0) dst[p * size + at] += src[(p * taps + t) * windows + o];
        }
    fromF64(dst, y);
  },
});
