/**
 * Running sums and products of f32 and f64, the totals in doubles as the reference has them. Columns are walked down
 * together, 64 bytes of a row in registers: what a row brings into the cache is used at once, and no total is stored.
 * What is left of the columns, and rows, go one number at a time: additions then wait for one another.
 */
import { type CumulativeAttrs, cumProd, cumSum } from "../../ops/cumulative.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Kernel } from "../backend.ts";
import { type Expr, f32, f32x4, f64, f64x2, i32, type Local, type ModuleBuilder, v128 } from "./assembler.ts";
import { emitColumns } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

interface Running {
  readonly name: string;
  readonly double: boolean;
  readonly product: boolean;
  readonly exclusive: boolean;
}

/** From the first row that counts: n rows, `step` bytes from each to the next. */
const params = { x: "i32", y: "i32", columns: "i32", n: "i32", step: "i32" } as const;

function emitRunning(m: ModuleBuilder, { name, double, product, exclusive }: Running) {
  const bytes = double ? 8 : 4;
  const pairs = 64 / (2 * bytes);
  const start = product ? 1 : 0;
  return m.func({ name, params }, (f, { x, y, columns, n, step }) => {
    const [from, to, left] = f.locals("i32", 3);
    /** All rows of some columns; `visit` writes the code for one. */
    const down = (count: number, visit: () => void): void => {
      f.set(from, x);
      f.set(to, y);
      f.set(left, n);
      f.while(left, () => {
        visit();
        f.increment(from, step);
        f.increment(to, step);
        f.increment(left, -1);
      });
      f.increment(x, count * bytes);
      f.increment(y, count * bytes);
      f.increment(columns, -count);
    };
    const totals = f.locals("v128", pairs);
    const before = exclusive ? f.locals("v128", pairs) : totals;
    const store = (value: Local<"v128">, at: number): void => {
      if (double) f.v128.store(to, value, at);
      else f.v128.store64_lane(to, f32x4.demote_f64x2_zero(value), 0, at);
    };
    f.while(i32.ge_s(columns, 2 * pairs), () => {
      for (const total of totals) f.set(total, f64x2.splat(start));
      down(2 * pairs, () => {
        totals.forEach((total, i) => {
          const at = 2 * bytes * i;
          const next = double ? v128.load(from, at) : f64x2.promote_low_f32x4(v128.load64_zero(from, at));
          if (exclusive) f.set(before[i], total);
          f.set(total, (product ? f64x2.mul : f64x2.add)(total, next));
          store(before[i], at);
        });
      });
    });
    const total = f.local("f64");
    const storeOne = (value: Expr<"f64">): void => {
      if (double) f.f64.store(to, value);
      else f.f32.store(to, f32.demote_f64(value));
    };
    f.while(i32.gt_s(columns, 0), () => {
      f.set(total, start);
      down(1, () => {
        const next = f.let(double ? f64.load(from) : f64.promote_f32(f32.load(from)));
        if (exclusive) storeOne(total);
        f.set(total, (product ? f64.mul : f64.add)(total, next));
        if (!exclusive) storeOne(total);
      });
    });
  });
}

const running = (op: typeof cumSum): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/columns`, ([x, axis], _, attrs: CumulativeAttrs) => {
    const { exclusive = false, reverse = false } = attrs;
    const double = x.dtype === "f64";
    if ((!double && x.dtype !== "f32") || !axis.constant || sizeOf(x.shape) === 0) return undefined;
    const { outer, n, inner } = aroundAxis(op.op.name, x.shape, toNumbers(axis.constant)[0]);
    const bytes = double ? 8 : 4;
    const row = bytes * inner;
    return {
      inplace: true,
      work: sizeOf(x.shape) * (inner === 1 ? 13 : 5),
      emit(e) {
        const name = `${op.op.name} ${x.dtype}${exclusive ? " exclusive" : ""}`;
        const fn = e.shared(name, (m) => emitRunning(m, { name, double, product: op === cumProd, exclusive }));
        const first = reverse ? (n - 1) * row : 0;
        const matrices = [{ size: outer, steps: [n * row, n * row] }];
        const bases = [e.inputs[0] + first, e.outputs[0] + first];
        emitColumns(e, matrices, { size: inner, steps: [bytes, bytes] }, bases, ([x, y], columns) =>
          e.f.call(fn, { x, y, columns, n, step: reverse ? -row : row }),
        );
      },
    };
  });

export const cumulativeKernels: WasmKernels = () => [running(cumSum), running(cumProd)];
