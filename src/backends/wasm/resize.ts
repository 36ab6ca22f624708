/**
 * Resize, output row by output row: positions and weights of the taps along an axis (ops/resample.ts) are a table.
 * - nearest: elements or blocks gathered by the table; a row that equals the one above is copied from it.
 * - weighted: linear, cubic and antialiased f32. Rows are blended into one, and that along itself, so 2 + 2 taps instead of
 *   2 x 2. Taps along a row are added up element by element: gathering four of them for one vector takes as many loads.
 * One axis or two neighbouring ones are resized; elements beyond the input and more axes have plain kernels.
 */
import type { Taps } from "../../ops/resample.ts";
import { type ResizeAttrs, resize, resizedAxes, resizeTaps } from "../../ops/resize.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { sizeBetween, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { f32, f32x4, i32, type Local, type ModuleBuilder, type Operand, v128 } from "./assembler.ts";
import { copyBytes, copyElement, type ElementBytes } from "./kernels/vector-copy.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmTarget, wasmKernel } from "./step.ts";

/** An axis, or the lack of one: a single row or column. */
interface Side {
  readonly input: number;
  readonly output: number;
  readonly taps?: Taps;
  /** What the taps depend on. */
  readonly key: string;
}

/** x is [outer, rows.input, columns.input, inner]. */
interface Layout {
  readonly outer: number;
  readonly rows: Side;
  readonly columns: Side;
  readonly inner: number;
}

const single: Side = { input: 1, output: 1, key: "" };
/** Taps of one output element beyond which code would grow long. */
const mostTaps = 64;

function layoutOf(
  [x, roi, scales, sizes]: readonly (KernelInput | undefined)[],
  y: TensorType,
  attrs: ResizeAttrs,
): Layout | undefined {
  const axes = resizedAxes(x!, roi?.constant, scales?.constant, sizes?.constant, attrs);
  const taps = resizeTaps(axes, attrs);
  const resized = taps.flatMap((t, axis) => (t.identity ? [] : [axis]));
  const [first, second = first] = resized;
  if (resized.length === 0 || resized.length > 2 || second - first > 1 || sizeOf(y.shape) === 0) return undefined;
  if (taps.some((t) => t.outside || t.count > mostTaps)) return undefined;
  const { shape } = x!;
  const side = (i: number): Side => ({
    input: shape[i],
    output: y.shape[i],
    taps: taps[i],
    key: JSON.stringify([axes[i], attrs]),
  });
  const inner = sizeBetween(shape, second + 1, shape.length);
  const alone = first === second;
  return {
    outer: sizeBetween(shape, 0, first),
    rows: alone && inner === 1 ? single : side(first),
    columns: alone && inner > 1 ? single : side(second),
    inner,
  };
}

/** For each tap of each output element: its distance in bytes, and its weight. */
const tableOf = (e: StepEmitter, { taps, key }: Side, unit: number): number =>
  e.table(`resize/${unit}/${key}`, () => {
    const { index, weight } = taps!;
    const bytes = new DataView(new ArrayBuffer(8 * index.length));
    index.forEach((i, t) => {
      bytes.setInt32(8 * t, i * unit, true);
      bytes.setFloat32(8 * t + 4, weight[t], true);
    });
    return new Uint8Array(bytes.buffer);
  });

/** Rows of the output, divided among threads. @param visit `base`: where the plane of the input begins; `k`: the row in it */
function eachRow(
  e: StepEmitter,
  { outer, rows, columns, inner }: Layout,
  width: number,
  visit: (row: { base: Local<"i32">; k: Local<"i32">; to: Local<"i32">; isFirst: Operand<"i32"> }) => void,
): void {
  const { f } = e;
  const share = e.share(outer * rows.output);
  const [r, base, k, to] = f.locals("i32", 4);
  f.forRange(r, share.from, share.to, 1, () => {
    f.set(k, i32.rem_u(r, rows.output));
    const plane = i32.div_u(r, rows.output);
    f.set(base, i32.add(i32.mul(plane, rows.input * columns.input * inner * width), e.inputs[0]));
    f.set(to, i32.add(i32.mul(r, columns.output * inner * width), e.outputs[0]));
    visit({ base, k, to, isFirst: i32.eq(r, share.from) });
  });
}

const rowParams = { from: "i32", taps: "i32", n: "i32", to: "i32" } as const;

/** `n` elements of `width` bytes at the distances of a table. */
const emitGather = (m: ModuleBuilder, name: string, width: ElementBytes) =>
  m.func({ name, params: rowParams }, (f, { from, taps, n, to }) => {
    const at = f.local("i32");
    f.while(i32.gt_s(n, 0), () => {
      f.set(at, i32.add(from, i32.load(taps)));
      copyElement(f, width, to, at);
      f.increment(taps, 8);
      f.increment(to, width);
      f.increment(n, -1);
    });
  });

/** `n` sums of `count` taps along a row. */
const emitSums = (m: ModuleBuilder, name: string, count: number) =>
  m.func({ name, params: rowParams }, (f, { from, taps, n, to }) => {
    f.while(i32.gt_s(n, 0), () => {
      const terms = Array.from({ length: count }, (_, t) =>
        f32.mul(f32.load(i32.add(from, i32.load(taps, 8 * t))), f32.load(taps, 8 * t + 4)),
      );
      f.f32.store(
        to,
        terms.reduce((a, b) => f32.add(a, b)),
      );
      f.increment(taps, 8 * count);
      f.increment(to, 4);
      f.increment(n, -1);
    });
  });

/** The weighted sum of `count` rows of `n` elements, four at most; `adds`: to what is there. */
const emitBlend = (m: ModuleBuilder, name: string, count: number, adds: boolean) =>
  m.func({ name, params: rowParams }, (f, { from, taps, n, to }) => {
    const rows = Array.from({ length: count }, (_, t) => f.let(i32.add(from, i32.load(taps, 8 * t))));
    const weights = rows.map((_, t) => f.let(v128.load32_splat(taps, 8 * t + 4)));
    const advance = (bytes: number): void => {
      for (const p of [...rows, to]) f.increment(p, bytes);
      f.increment(n, -bytes / 4);
    };
    f.while(i32.ge_s(n, 4), () => {
      const terms = rows.map((p, t) => f32x4.mul(v128.load(p), weights[t]));
      f.v128.store(
        to,
        (adds ? [v128.load(to), ...terms] : terms).reduce((a, b) => f32x4.add(a, b)),
      );
      advance(16);
    });
    f.while(i32.gt_s(n, 0), () => {
      const terms = rows.map((p, t) => f32.mul(f32.load(p), f32x4.extract_lane(weights[t], 0)));
      f.f32.store(
        to,
        (adds ? [f32.load(to), ...terms] : terms).reduce((a, b) => f32.add(a, b)),
      );
      advance(4);
    });
  });

function blend(
  e: StepEmitter,
  count: number,
  from: Operand<"i32">,
  taps: Operand<"i32">,
  n: number,
  to: Operand<"i32">,
) {
  for (let t = 0; t < count; t += 4) {
    const some = Math.min(4, count - t);
    const name = `resize/blend${some}${t > 0 ? "+" : ""}`;
    const rows = e.shared(name, (m) => emitBlend(m, name, some, t > 0));
    e.f.call(rows, { from, taps: addressOf(taps, t, 8), n, to });
  }
}

const nearest = wasmKernel(resize, "wasm/resize/nearest", (inputs, [y], attrs) => {
  if ((attrs.mode ?? "nearest") !== "nearest") return undefined;
  const layout = layoutOf(inputs, y, attrs);
  if (!layout) return undefined;
  const { rows, columns, inner } = layout;
  const width = bytesOf(y.dtype);
  const block = inner * width;
  return {
    emit(e) {
      const { f } = e;
      const copy = copyBytes(e);
      const rowTable = rows.taps && tableOf(e, rows, columns.input * block);
      const columnTable = columns.taps && tableOf(e, columns, block);
      const gatherRow = (from: Operand<"i32">, to: Local<"i32">): void => {
        const n = columns.output;
        if (columnTable === undefined) f.call(copy, { from, to, n: n * block });
        else if (block === 1 || block === 2 || block === 4 || block === 8) {
          const name = `resize/gather${block}`;
          const gather = e.shared(name, (m) => emitGather(m, name, block));
          f.call(gather, { from, taps: columnTable, n, to });
        } else {
          const [start, c] = [f.let(i32.add(from, 0)), f.local("i32")];
          f.forRange(c, 0, n, 1, () => {
            const source = i32.add(start, i32.load(addressOf(columnTable, c, 8)));
            f.call(copy, { from: source, to: addressOf(to, c, block), n: block });
          });
        }
      };
      eachRow(e, layout, width, ({ base, k, to, isFirst }) => {
        if (rowTable === undefined) return gatherRow(base, to);
        const at = f.let(addressOf(rowTable, k, 8) as Local<"i32">);
        const source = i32.add(base, i32.load(at));
        const anew = i32.or(i32.or(i32.eqz(k), isFirst), i32.ne(i32.load(at), i32.load(i32.sub(at, 8))));
        const bytes = columns.output * block;
        f.if(
          anew,
          () => gatherRow(source, to),
          () => f.call(copy, { from: i32.sub(to, bytes), to, n: bytes }),
        );
      });
    },
  };
});

const weighted = ({ threads }: WasmTarget) =>
  wasmKernel(resize, "wasm/resize/weighted", (inputs, [y], attrs) => {
    if ((attrs.mode ?? "nearest") === "nearest" || y.dtype !== "f32") return undefined;
    const layout = layoutOf(inputs, y, attrs);
    if (!layout) return undefined;
    const { rows, columns, inner } = layout;
    const rowFloats = columns.input * inner;
    const [vertical, across] = [rows.taps?.count ?? 0, columns.taps?.count ?? 0];
    const rowBytes = vertical && across ? 4 * rowFloats : 0;
    return {
      workspaceBytes: rowBytes * threads,
      work: sizeOf(y.shape) * (vertical + 4 * across),
      emit(e) {
        const { f } = e;
        const row = f.let(i32.add(addressOf(e.workspace, e.thread, rowBytes), 0));
        eachRow(e, layout, 4, ({ base, k, to }) => {
          const blended = rowBytes ? row : to;
          if (vertical) {
            const taps = addressOf(tableOf(e, rows, 4 * rowFloats), k, 8 * vertical);
            blend(e, vertical, base, taps, rowFloats, blended);
          }
          if (!columns.taps) return;
          const from = vertical ? blended : base;
          const table = tableOf(e, columns, 4 * inner);
          if (inner === 1) {
            const name = `resize/sums${across}`;
            const sums = e.shared(name, (m) => emitSums(m, name, across));
            f.call(sums, { from, taps: table, n: columns.output, to });
            return;
          }
          const c = f.local("i32");
          f.forRange(c, 0, columns.output, 1, () =>
            blend(e, across, from, addressOf(table, c, 8 * across), inner, addressOf(to, c, 4 * inner)),
          );
        });
      },
    };
  });

export const resizeKernels: WasmKernels = (target) => [nearest, weighted(target)];
