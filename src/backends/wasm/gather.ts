/** Slices of a tensor by index, `gather`: one memory.copy each, or read from the panels of a matrix product. */
import { gather } from "../../ops/gather.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { normalizeAxis, sizeBetween, sizeOf } from "../../tensor/shape.ts";
import { i32, type Local, type Operand } from "./assembler.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { prepackB } from "./matmul.ts";
import { addressOf, type StepEmitter, type WasmKernels, wasmKernel } from "./step.ts";

/**
 * Rows of a table that never changes, for a few tokens: read from panels of 8 rows side by side, which is how the
 * output projection wants the same table where the two are tied. So it is kept once.
 */
const gatherPanels = wasmKernel(gather, "wasm/gather/panels", ([table, indices], _, { axis = 0 }) => {
  const [rows, k] = table.shape;
  if (!table.constant || table.shape.length !== 2 || table.dtype !== "f32" || axis !== 0) return undefined;
  if (indices.dtype !== "i32" || indices.constant || sizeOf(indices.shape) * 8 > rows) return undefined;
  const count = sizeOf(indices.shape);
  return {
    prepack: [prepackB(0, { k, n: rows, transposed: true })],
    emit(e) {
      const { f } = e;
      const [panels, indices] = e.inputs;
      const [i, d, from, to] = f.locals("i32", 4);
      const index = f.local("i32");
      f.set(to, e.outputs[0]);
      f.forRange(i, 0, count, 1, () => {
        loadIndex(e, index, i32.add(i32.shl(i, 2), indices), rows);
        const panel = i32.mul(i32.div_u(index, PANEL_COLUMNS), 4 * PANEL_COLUMNS * k);
        f.set(from, i32.add(i32.add(panel, i32.shl(i32.rem_u(index, PANEL_COLUMNS), 2)), panels));
        f.forRange(d, 0, k, 1, () => {
          f.i32.store(to, i32.load(from));
          f.increment(from, 4 * PANEL_COLUMNS);
          f.increment(to, 4);
        });
      });
    },
  };
});

/** Slices that are contiguous: copied one by one. */
const gatherRows = wasmKernel(gather, "wasm/gather/rows", ([x, indices], [y], { axis = 0 }) => {
  const a = normalizeAxis("gather", axis, x.shape.length);
  const outer = sizeBetween(x.shape, 0, a);
  const count = sizeOf(indices.shape);
  const bytes = sizeBetween(x.shape, a + 1, x.shape.length) * bytesOf(x.dtype);
  const wide = indices.dtype === "i64";
  if ((indices.dtype !== "i32" && !wide) || bytes === 0 || sizeOf(y.shape) === 0) return undefined;
  const rows = x.shape[a];
  return {
    emit(e) {
      const { f } = e;
      const [from, indices] = e.inputs;
      const [o, i, to, index] = f.locals("i32", 4);
      f.set(to, e.outputs[0]);
      f.forRange(o, 0, outer, 1, () => {
        f.forRange(i, 0, count, 1, () => {
          loadIndex(e, index, i32.add(i32.shl(i, wide ? 3 : 2), indices), rows, wide);
          const row = i32.add(i32.mul(o, rows), index);
          f.memory.copy(to, addressOf(from, f.let(row), bytes), bytes);
          f.increment(to, bytes);
        });
      });
    },
  };
});

/** Negative indices count from the end; beyond either end is refused. @param wide the index is an i64 */
export function loadIndex(
  { f }: StepEmitter,
  index: Local<"i32">,
  at: Operand<"i32">,
  size: number,
  wide = false,
): void {
  f.set(index, i32.load(at));
  if (wide) f.if(i32.ne(i32.load(at, 4), i32.shr_s(index, 31)), () => f.unreachable());
  f.if(i32.lt_s(index, 0), () => f.increment(index, size));
  f.if(i32.ge_u(index, size), () => f.unreachable());
}

export const gatherKernels: WasmKernels = () => [gatherPanels, gatherRows];
