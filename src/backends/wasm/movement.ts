/**
 * Layout operators: the walk that the operator's file gives, with as few axes as possible, as copies of
 * kernels/vector-copy.ts along the last axis, or of transposed planes.
 */
import { concat } from "../../ops/concat.ts";
import { expand, expandWalk } from "../../ops/expand.ts";
import { slice, sliceWalk } from "../../ops/slice.ts";
import { split } from "../../ops/split.ts";
import type { StridedWalk } from "../../ops/strided.ts";
import { transpose, transposeWalk } from "../../ops/transpose.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { normalizeAxis, type Shape, sizeBetween, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { i32, type Local, type Operand, select } from "./assembler.ts";
import { emitPackRows } from "./kernels/gemm-pack.ts";
import { copyBytes, type ElementBytes, emitCopyElements, emitFill } from "./kernels/vector-copy.ts";
import { emitColumns, mergeAxes, type WalkAxis } from "./kernels/vector-walk.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

/** Everything that the walk reaches, from tensor to tensor, for elements of `width` bytes. */
export function emitCopy(e: StepEmitter, walk: StridedWalk, width: ElementBytes, from: number, to: number): void {
  const { f } = e;
  if (sizeOf(walk.shape) === 0) return;
  const bases = [from + walk.from.base * width, to + walk.to.base * width];
  const steps = (d: number) => [walk.from.strides[d] * width, walk.to.strides[d] * width];
  const axes = mergeAxes(walk.shape.map((size, d): WalkAxis => ({ size, steps: steps(d) })));
  const inner = axes.pop() ?? { size: 1, steps: [width, width] };
  const [fromStep, toStep] = inner.steps;
  if (toStep === width && fromStep === width) {
    const copy = copyBytes(e);
    const dense = { size: inner.size * width, steps: [1, 1] };
    emitColumns(e, axes, dense, bases, ([p, q], n) => f.call(copy, { from: p, to: q, n }));
    return;
  }
  if (toStep === width && fromStep === 0) {
    const name = `copy/fill${width}`;
    const fill = e.shared(name, (m) => emitFill(m, name, width));
    emitColumns(e, axes, inner, bases, ([p, q], n) =>
      f.call(fill, { from: p, to: q, n: typeof n === "number" ? n * width : i32.mul(n, width) }),
    );
    return;
  }
  const dense = axes.findIndex((a) => a.steps[0] === width && a.size >= 4);
  if (width === 4 && toStep === width && dense >= 0 && inner.size >= 4) {
    const [rows] = axes.splice(dense, 1);
    const plane = e.shared("copy/transpose", (m) => emitPackRows(m, "copy/transpose"));
    emitColumns(e, axes, inner, bases, ([p, q], n) =>
      f.call(plane, { from: p, stride: fromStep, rows: n, k: rows.size, out: q, step: rows.steps[1] }),
    );
    return;
  }
  const name = `copy/elements${width}`;
  const copy = e.shared(name, (m) => emitCopyElements(m, name, width));
  emitColumns(e, axes, inner, bases, ([p, q], n) => f.call(copy, { from: p, to: q, n, fromStep, toStep }));
}

/** Elements of 16 bytes there are none; strings never come here. */
export const widthOf = (t: TensorType): ElementBytes => bytesOf(t.dtype) as ElementBytes;

export const copyStep = (walk: StridedWalk, x: TensorType): WasmStep => ({
  emit: (e) => emitCopy(e, walk, widthOf(x), e.inputs[0], e.outputs[0]),
});

/**
 * Between one tensor and the pieces that it consists of along an axis: seen from there it is `outer` rows, of which each
 * piece has a stretch of `bytes`. A single row is divided by bytes, whatever piece they belong to.
 */
function emitPieces(
  e: StepEmitter,
  outer: number,
  pieces: readonly { readonly at: number; readonly bytes: number }[],
  whole: number,
  copyPiece: (piece: Operand<"i32">, whole: Operand<"i32">, n: Operand<"i32">) => void,
): void {
  const { f } = e;
  const row = pieces.reduce((sum, p) => sum + p.bytes, 0);
  const starts = pieces.map((_, i) => pieces.slice(0, i).reduce((sum, p) => sum + p.bytes, 0));
  const wanted = pieces.map((p, i) => ({ ...p, start: starts[i] })).filter((p) => p.at !== 0 && p.bytes > 0);
  if (row * outer === 0) return;
  if (outer > 1) {
    const { from, to } = e.share(outer);
    const i = f.local("i32");
    f.forRange(i, from, to, 1, () => {
      for (const p of wanted)
        copyPiece(addressOf(p.at, i, p.bytes), addressOf(whole + p.start, i, row), i32.const(p.bytes));
    });
    return;
  }
  const { from, to } = e.share(row, 64);
  if (typeof from === "number") {
    for (const p of wanted) copyPiece(p.at, whole + p.start, p.bytes);
    return;
  }
  const bound = (x: Operand<"i32">, low: number, high: number): Local<"i32"> => {
    const v = f.let(typeof x === "number" ? i32.const(x) : x);
    f.set(v, select(i32.const(low), v, i32.lt_s(v, low)));
    f.set(v, select(i32.const(high), v, i32.gt_s(v, high)));
    return v;
  };
  for (const p of wanted) {
    const first = bound(from, p.start, p.start + p.bytes);
    const last = bound(to, p.start, p.start + p.bytes);
    copyPiece(i32.add(first, p.at - p.start), i32.add(first, whole), i32.sub(last, first));
  }
}

/** [rows, bytes of a row of each] of tensors that are stretches along `axis`. */
function alongAxis(op: string, shape: Shape, axis: number, lengths: readonly number[], width: number) {
  const a = normalizeAxis(op, axis, shape.length);
  const inner = sizeBetween(shape, a + 1, shape.length) * width;
  return { outer: sizeBetween(shape, 0, a), bytes: lengths.map((n) => n * inner) };
}

export const movementKernels: WasmKernels = () => [
  wasmKernel(transpose, "wasm/transpose/walk", ([x], _, attrs) => copyStep(transposeWalk(x.shape, attrs), x)),
  wasmKernel(slice, "wasm/slice/walk", ([x, ...bounds]) => {
    const walk = sliceWalk(
      x.shape,
      bounds.map((b) => b?.constant),
    );
    return copyStep(walk, x);
  }),
  wasmKernel(expand, "wasm/expand/walk", ([x], [y]) => copyStep(expandWalk(x.shape, y.shape), x)),
  wasmKernel(concat, "wasm/concat/pieces", (xs, [y], { axis }) => {
    const lengths = xs.map((x) => x.shape[normalizeAxis("concat", axis, x.shape.length)]);
    const { outer, bytes } = alongAxis("concat", y.shape, axis, lengths, bytesOf(y.dtype));
    return {
      emit(e) {
        const copy = copyBytes(e);
        const pieces = bytes.map((n, i) => ({ at: e.inputs[i], bytes: n }));
        emitPieces(e, outer, pieces, e.outputs[0], (from, to, n) => e.f.call(copy, { from, to, n }));
      },
    };
  }),
  wasmKernel(split, "wasm/split/pieces", ([x, sizes], ys, { axis = 0, parts }) => {
    const given = sizes?.constant && toNumbers(sizes.constant);
    const size = x.shape[normalizeAxis("split", axis, x.shape.length)];
    const chunk = Math.ceil(size / (parts ?? 1));
    // An output that nobody reads has no type here, but its length counts.
    const lengths = ys.map((_, i) => given?.[i] ?? Math.min(chunk, Math.max(0, size - i * chunk)));
    const { outer, bytes } = alongAxis("split", x.shape, axis, lengths, bytesOf(x.dtype));
    return {
      emit(e) {
        const copy = copyBytes(e);
        const pieces = bytes.map((n, i) => ({ at: e.outputs[i], bytes: n }));
        emitPieces(e, outer, pieces, e.inputs[0], (to, from, n) => e.f.call(copy, { from, to, n }));
      },
    };
  }),
];
