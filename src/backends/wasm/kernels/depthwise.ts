/**
 * Depthwise convolution: one channel in, one out. A strip of up to four rows is computed four columns at a time; every
 * vector of x that is loaded serves all rows that it belongs to, and a column of taps is in registers meanwhile: 3x3
 * with stride 1 loads 27 vectors for 36 multiply-adds. x has its padding already, and its phases (conv-stage.ts), so
 * that there are no borders and no gathering.
 */
import { type Expr, type Func, f32x4, i32, type Local, type ModuleBuilder, v128 } from "../assembler.ts";
import { forFours, storeFour } from "./blocks.ts";
import type { Source } from "./conv-stage.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import type { VectorFunction } from "./math.ts";

const stripParams = { x: "i32", w: "i32", y: "i32", bias: "i32", residual: "i32" } as const;
export type StripFunction = Func<typeof stripParams, undefined>;

export interface StripOptions {
  readonly name: string;
  readonly fma: boolean;
  readonly source: Source;
  /** Outputs in a row. */
  readonly width: number;
  /** Rows of the strip. */
  readonly height: number;
  readonly bias: boolean;
  readonly residual: boolean;
  readonly activation?: VectorFunction;
}

export function emitStrip(m: ModuleBuilder, o: StripOptions): StripFunction {
  const { width, height, source } = o;
  return m.func({ name: o.name, params: stripParams }, (f, p) => {
    const sums = f.locals("v128", height);
    const first = o.bias ? f.let(v128.load32_splat(p.bias)) : v128.const(new Uint8Array(16));
    forFours(f, width, (at) => {
      const offset = (base: Local<"i32">) => i32.add(base, at);
      for (const sum of sums) f.set(sum, first);
      const x = f.let(offset(p.x));
      const value = f.local("v128");
      const taps = source.taps[0].map((_, j) => source.taps.map((row) => row[j]));
      taps.forEach((offsets, j) => {
        const weights = offsets.map((_, i) => f.let(v128.load32_splat(p.w, 4 * (i * taps.length + j))));
        for (const [from, uses] of readers(offsets, height, source.outputRowBytes)) {
          f.set(value, v128.load(x, from));
          for (const { row, tap } of uses) f.set(sums[row], multiplyAdd(o.fma, value, weights[tap], sums[row]));
        }
      });
      const y = f.let(offset(p.y));
      const residual = o.residual ? f.let(offset(p.residual)) : undefined;
      sums.forEach((sum, row) => {
        let v: Expr<"v128"> = sum;
        if (residual) v = f32x4.add(v, v128.load(residual, 4 * row * width));
        if (o.activation) v = o.activation(f, v);
        storeFour(f, width, y, v, 4 * row * width);
      });
    });
  });
}

/** By address, in rising order: which rows use a vector of x, each with which tap. */
function readers(taps: readonly number[], height: number, rowBytes: number) {
  const uses = new Map<number, { row: number; tap: number }[]>();
  for (let row = 0; row < height; row++)
    taps.forEach((offset, tap) => {
      const at = offset + row * rowBytes;
      uses.set(at, [...(uses.get(at) ?? []), { row, tap }]);
    });
  return [...uses].sort(([a], [b]) => a - b);
}
