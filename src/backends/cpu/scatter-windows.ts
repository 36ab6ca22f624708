/**
 * What puts elements back where windows took them from.
 * - col2im/rows: f32, windows of up to two axes: for each tap the rows of windows are added to rows of the image
 * - maxUnpool/words: every element by its index, whose two words are read as such: no bigint is made
 */
import { col2im } from "../../ops/col2im.ts";
import { maxUnpool, offsetIn, pooledShape, refuseIndex } from "../../ops/max-unpool.ts";
import { resolveWindow } from "../../ops/window.ts";
import { sameShape, sizeOf } from "../../tensor/shape.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { wordsPerElement, wordView } from "./movement-words.ts";
import { f32 } from "./tile.ts";

/** The first window of an axis whose tap at `offset` from the window's start lies inside, and the one after the last. */
function insideWindows(offset: number, input: number, stride: number, windows: number): [number, number] {
  const first = Math.max(0, Math.ceil(-offset / stride));
  return [first, Math.max(first, Math.min(windows, Math.ceil((input - offset) / stride)))];
}

const col2imRows = hostKernel(col2im, "cpu/col2im/rows", ([x, , block], [y], attrs) => {
  const image = y.shape.slice(2);
  if (x.dtype !== "f32" || image.length > 2 || !block.constant) return undefined;
  const kernel = Array.from(block.constant.data as ArrayLike<number>, Number);
  const window = resolveWindow("col2im", image, kernel, attrs);
  /** [rows, columns] of one axis and a dummy, or of two. */
  const pair = (values: readonly number[], missing: number): readonly number[] =>
    values.length === 1 ? [missing, values[0]] : values;
  const [height, width] = pair(image, 1);
  const [kernelRows, kernelColumns] = pair(kernel, 1);
  const [strideRows, strideColumns] = pair(window.strides, 1);
  const [stepRows, stepColumns] = pair(window.dilations, 1);
  const [padRows, padColumns] = pair(window.padBegin, 0);
  const [windowRows, windowColumns] = pair(window.output, 1);
  const planes = y.shape[0] * y.shape[1];
  return {
    run([x], [out]) {
      const to = f32(out);
      to.fill(0);
      let from = 0;
      for (let plane = 0; plane < planes; plane++)
        for (let ky = 0; ky < kernelRows; ky++)
          for (let kx = 0; kx < kernelColumns; kx++, from += windowRows * windowColumns) {
            const top = ky * stepRows - padRows;
            const left = kx * stepColumns - padColumns;
            const [firstRow, lastRow] = insideWindows(top, height, strideRows, windowRows);
            const [first, last] = insideWindows(left, width, strideColumns, windowColumns);
            for (let r = firstRow; r < lastRow; r++) {
              const at = (plane * height + r * strideRows + top) * width + left + first * strideColumns;
              addRow(f32(x), from + r * windowColumns + first, to, at, last - first, strideColumns);
            }
          }
    },
  };
});

function addRow(x: Float32Array, from: number, y: Float32Array, to: number, n: number, stride: number): void {
  for (const end = from + n; from < end; from++, to += stride) y[to] += x[from];
}

const maxUnpoolWords = hostKernel(maxUnpool, "cpu/maxUnpool/words", ([x], [y], attrs) => {
  const pooled = pooledShape(x, attrs);
  const size = sizeOf(pooled);
  if (wordsPerElement(x.dtype) !== 1 || size >= 2 ** 31) return undefined;
  // In a larger output rows begin elsewhere.
  const moves = !sameShape(pooled, y.shape);
  const [source, target, indexWords] = [wordView(), wordView(), wordView()];
  return {
    run([x, indices], [out]) {
      const from = source(x);
      const to = target(out);
      const words = indexWords(indices) as Int32Array;
      to.fill(0);
      for (let i = 0; i < from.length; i++) {
        const index = words[2 * i];
        const high = words[2 * i + 1];
        if (high !== 0 || index < 0 || index >= size) refuseIndex(high * 2 ** 32 + (index >>> 0), pooled);
        to[moves ? offsetIn(pooled, y.shape, index) : index] = from[i];
      }
    },
  };
});

export const scatterWindowKernels: Kernel<HostStep>[] = [col2imRows, maxUnpoolWords];
