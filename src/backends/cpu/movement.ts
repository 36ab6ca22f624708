/**
 * Layout operators: the walk that the operator's file gives, followed by a strided copy (movement-copy.ts). Pads that
 * mirror or repeat look up where each column comes from instead.
 */
import { centerCropPad, centerCropPadWalk } from "../../ops/center-crop-pad.ts";
import { concat, concatWalks } from "../../ops/concat.ts";
import { constantOfShape } from "../../ops/constant-of-shape.ts";
import { depthToSpace, depthToSpaceWalk, spaceToDepth, spaceToDepthWalk } from "../../ops/depth-to-space.ts";
import { expand, expandWalk } from "../../ops/expand.ts";
import { pad, padSources, readPads } from "../../ops/pad.ts";
import { range } from "../../ops/range.ts";
import { slice, sliceWalk } from "../../ops/slice.ts";
import { split, splitWalks } from "../../ops/split.ts";
import type { StridedWalk } from "../../ops/strided.ts";
import { tile, tileWalk } from "../../ops/tile.ts";
import { transpose, transposeWalk } from "../../ops/transpose.ts";
import { trilu } from "../../ops/trilu.ts";
import { toNumbers } from "../../tensor/convert.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type HostStep, hostKernel, type Kernel, type KernelInput } from "../backend.ts";
import { stridedCopy } from "./movement-copy.ts";
import { copyRow, wordsPerElement, wordView } from "./movement-words.ts";

/** A step that copies input 0 to output 0 along the walk. */
function copyStep(walk: StridedWalk, x: TensorType): HostStep {
  const copy = stridedCopy(walk, x.dtype);
  return { run: ([src], [dst]) => copy(src, dst) };
}

/** Sets every word to 0, which is the zero of every dtype. */
function clear(): (a: TypedArray) => void {
  const words = wordView();
  return (a) => words(a).fill(0);
}

/** What the walk does not reach gets `value` (an element), or zero. */
function padded(walk: StridedWalk, x: TensorType): HostStep {
  const copy = stridedCopy(walk, x.dtype);
  const zero = clear();
  return {
    run([src, , value], [dst]) {
      if (value) (dst as Float32Array).fill(value[0] as number);
      else zero(dst);
      copy(src, dst);
    },
  };
}

function padConstant(x: KernelInput, y: TensorType, begin: readonly number[], end: readonly number[]): HostStep {
  const [from, to] = [stridesOf(x.shape), stridesOf(y.shape)];
  const base = (strides: readonly number[], skip: readonly number[]): number =>
    strides.reduce((at, s, a) => at + s * Math.max(0, skip[a]), 0);
  const cropped = begin.map((b) => -b);
  const shape = x.shape.map((d, a) => Math.max(0, d + Math.min(0, begin[a]) + Math.min(0, end[a])));
  return padded(
    { shape, from: { strides: from, base: base(from, cropped) }, to: { strides: to, base: base(to, begin) } },
    x,
  );
}

/**
 * Every position along every axis comes from a known one: outer axes by an odometer, rows by a table of columns. The
 * longest run of neighbouring columns, the unpadded part of a row, is copied at once.
 */
function padByTable(x: TensorType, y: TensorType, sources: readonly Int32Array[]): HostStep {
  const words = wordsPerElement(x.dtype);
  const strides = stridesOf(x.shape).map((s) => s * words);
  const tables = sources.map((t, a) => t.map((k) => k * strides[a]));
  const columns = Int32Array.from({ length: (tables.at(-1)?.length ?? 1) * words }, (_, i) => {
    return (tables.at(-1)?.[Math.floor(i / words)] ?? 0) + (i % words);
  });
  const [from, to] = longestRun(columns);
  const outer = tables.slice(0, -1);
  const rows = sizeOf(y.shape.slice(0, -1));
  const index = new Int32Array(outer.length);
  const [srcOf, dstOf] = [wordView(), wordView()];
  return {
    run([a], [b]) {
      const [src, dst] = [srcOf(a), dstOf(b)];
      index.fill(0);
      for (let r = 0, j = 0; r < rows; r++) {
        let base = 0;
        for (let d = 0; d < outer.length; d++) base += outer[d][index[d]];
        for (let c = 0; c < from; c++) dst[j + c] = src[base + columns[c]];
        copyRow(src, base + columns[from], dst, j + from, to - from);
        for (let c = to; c < columns.length; c++) dst[j + c] = src[base + columns[c]];
        j += columns.length;
        for (let d = outer.length - 1; d >= 0 && ++index[d] === outer[d].length; d--) index[d] = 0;
      }
    },
  };
}

/** [from, to) of the longest stretch where every entry is one more than the last. */
function longestRun(table: Int32Array): [from: number, to: number] {
  let [start, from, to] = [0, 0, 0];
  for (let i = 1; i <= table.length; i++) {
    if (i < table.length && table[i] === table[i - 1] + 1) continue;
    if (i - start > to - from) [from, to] = [start, i];
    start = i;
  }
  return [from, to];
}

function triangle(x: TensorType, k: number, upper: boolean): HostStep {
  const words = wordsPerElement(x.dtype);
  const [rows, columns] = x.shape.slice(-2);
  const [srcOf, dstOf] = [wordView(), wordView()];
  return {
    run([a], [b]) {
      const [src, dst] = [srcOf(a), dstOf(b)];
      const width = columns * words;
      dst.fill(0);
      for (let row = 0, at = 0; at < src.length; row++, at += width) {
        const edge = Math.min(Math.max((row % rows) + k + (upper ? 0 : 1), 0), columns) * words;
        if (upper) dst.set(src.subarray(at + edge, at + width), at + edge);
        else dst.set(src.subarray(at, at + edge), at);
      }
    },
  };
}

export const movementKernels: readonly Kernel<HostStep>[] = [
  hostKernel(transpose, "cpu/transpose/strided", ([x], _, attrs) => copyStep(transposeWalk(x.shape, attrs), x)),
  hostKernel(slice, "cpu/slice/strided", ([x, ...bounds]) => {
    const walk = sliceWalk(
      x.shape,
      bounds.map((b) => b?.constant),
    );
    return copyStep(walk, x);
  }),
  hostKernel(expand, "cpu/expand/strided", ([x], [y]) => copyStep(expandWalk(x.shape, y.shape), x)),
  hostKernel(tile, "cpu/tile/strided", ([x, repeats]) => copyStep(tileWalk(x.shape, repeats.constant!), x)),
  hostKernel(depthToSpace, "cpu/depthToSpace/strided", ([x], _, attrs) =>
    copyStep(depthToSpaceWalk(x.shape, attrs), x),
  ),
  hostKernel(spaceToDepth, "cpu/spaceToDepth/strided", ([x], _, attrs) =>
    copyStep(spaceToDepthWalk(x.shape, attrs), x),
  ),
  hostKernel(concat, "cpu/concat/strided", (xs, [y], attrs) => {
    const walks = concatWalks(
      xs.map((x) => x.shape),
      y.shape,
      attrs,
    );
    const copies = walks.map((w) => stridedCopy(w, y.dtype));
    return {
      run(srcs, [dst]) {
        for (let i = 0; i < copies.length; i++) copies[i](srcs[i], dst);
      },
    };
  }),
  hostKernel(split, "cpu/split/strided", ([x, sizes], ys, attrs) => {
    const axis = attrs.axis ?? 0;
    const at = axis < 0 ? axis + x.shape.length : axis;
    const lengths = sizes?.constant && toNumbers(sizes.constant);
    const chunk = Math.ceil(x.shape[at] / attrs.parts);
    // An output that nobody reads has no type here, but its length counts.
    const shapes = ys.map((_, i) => {
      const length = lengths?.[i] ?? Math.min(chunk, Math.max(0, x.shape[at] - i * chunk));
      return x.shape.map((d, a) => (a === at ? length : d));
    });
    const copies = splitWalks(x.shape, shapes, attrs).map((w) => stridedCopy(w, x.dtype));
    return {
      run([src], dsts) {
        for (let i = 0; i < copies.length; i++) if (dsts[i]) copies[i](src, dsts[i]);
      },
    };
  }),
  hostKernel(centerCropPad, "cpu/centerCropPad/strided", ([x, sizes], _, attrs) => {
    const copy = padded(centerCropPadWalk(x, sizes.constant!, attrs), x);
    return { run: ([src], dsts, workspace) => copy.run([src], dsts, workspace) };
  }),
  hostKernel(pad, "cpu/pad/strided", ([x, pads, , axes], [y], { mode = "constant" }) => {
    const { begin, end } = readPads(x, pads.constant!, axes?.constant);
    return mode === "constant" ? padConstant(x, y, begin, end) : undefined;
  }),
  hostKernel(pad, "cpu/pad/table", ([x, pads, , axes], [y], { mode = "constant" }) => {
    if (mode === "constant") return undefined;
    return padByTable(x, y, padSources(x.shape, readPads(x, pads.constant!, axes?.constant), mode));
  }),
  hostKernel(trilu, "cpu/trilu/rows", ([x, k], _, { upper = true }) =>
    triangle(x, k?.constant ? toNumbers(k.constant)[0] : 0, upper),
  ),
  hostKernel(constantOfShape, "cpu/constantOfShape/fill", (_, __, { value }) => {
    const element = (value?.data[0] ?? 0) as number;
    return { run: (___, [y]) => void (y as Float32Array).fill(element) };
  }),
  hostKernel(range, "cpu/range/loop", ([start, , delta], [y]) => {
    if (y.dtype !== "f32" && y.dtype !== "f64" && y.dtype !== "i32") return undefined;
    const [from, by] = [toNumbers(start.constant!)[0], toNumbers(delta.constant!)[0]];
    return {
      run(_, [out]) {
        for (let i = 0; i < out.length; i++) out[i] = from + i * by;
      },
    };
  }),
];
