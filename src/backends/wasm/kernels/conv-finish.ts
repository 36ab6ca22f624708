/** The epilogue as a pass of its own, for sums that come about in a workspace. */
import { type Expr, type Func, f32x4, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { forFours, storeFour } from "./blocks.ts";
import type { VectorFunction } from "./math.ts";

const rowsParams = { from: "i32", to: "i32", residual: "i32", bias: "i32", rows: "i32" } as const;

/** Copies rows of sums to y, with the epilogue on the way. */
export function emitFinishRows(
  module: ModuleBuilder,
  o: { name: string; width: number; rowBytes: number; bias: boolean; residual: boolean; activation?: VectorFunction },
): Func<typeof rowsParams, undefined> {
  const { width } = o;
  return module.func({ name: o.name, params: rowsParams }, (f, p) => {
    const bias = o.bias ? f.let(v128.load32_splat(p.bias)) : undefined;
    f.while(p.rows, () => {
      forFours(f, width, (at) => {
        let y: Expr<"v128"> = v128.load(i32.add(p.from, at));
        if (bias) y = f32x4.add(y, bias);
        if (o.residual) y = f32x4.add(y, v128.load(i32.add(p.residual, at)));
        storeFour(f, width, i32.add(p.to, at), o.activation ? o.activation(f, y) : y);
      });
      f.increment(p.from, o.rowBytes);
      f.increment(p.to, 4 * width);
      if (o.residual) f.increment(p.residual, 4 * width);
      f.increment(p.rows, -1);
    });
  });
}
