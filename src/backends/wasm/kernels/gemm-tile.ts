import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  type Params,
  v128,
} from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import type { VectorFunction } from "./math.ts";

/** What happens to a finished sum on its way to memory: y = activation(sum + bias + residual). */
export interface Epilogue {
  /** `column`: bias[n], one value for each column of C. `row`: bias[m]. */
  readonly bias?: "none" | "row" | "column";
  /** Add a matrix of C's shape. */
  readonly residual?: boolean;
  /** A short function: it is inlined for each vector of each tile. */
  readonly activation?: VectorFunction;
}

/** Addresses and strides in bytes. `a` and `b` are packed panels; `columns` < 8 marks the last, partly filled one. */
export const tileParams = {
  a: "i32",
  b: "i32",
  c: "i32",
  ldc: "i32",
  columns: "i32",
  k: "i32",
  bias: "i32",
  residual: "i32",
  ldr: "i32",
  scratch: "i32",
} as const;
export type TileFunction = Func<typeof tileParams, undefined>;

/** The highest tile of an engine that multiplies and adds in one instruction; 0: in two. See the header of gemm.ts. */
export type Fma = 0 | 4 | 6;

const VECTORS = PANEL_COLUMNS / 4;

/** Two of 16 bits in a word, or four of 8, where those of A or of B are signed and the others what `WasmFeatures.dotAdd` says. */
export type Integers = "pairs" | "signedA" | "signedB";

export interface TileOptions extends Epilogue {
  readonly name: string;
  readonly fma: Fma;
  /** Words are integers, and sums such of 32 bits: a step of k is two or four. */
  readonly integers?: Integers;
  /** k is not spread over several sums. */
  readonly oneSum?: boolean;
}

/** The micro-kernel: `height` x 8 values of C from one panel of A and one of B. */
export function emitTile(m: ModuleBuilder, height: number, options: TileOptions): TileFunction {
  const name = `${options.name}/tile${height}x${PANEL_COLUMNS}`;
  return m.func({ name, params: tileParams }, (f, p) => {
    const sums = emitSums(f, p, height, options);
    f.if(
      i32.ge_s(p.columns, PANEL_COLUMNS),
      () => {
        const finish = epilogue(f, options, p);
        for (let i = 0; i < height; i++) finish(sums.slice(i * VECTORS, (i + 1) * VECTORS), i);
      },
      () => {
        sums.forEach((sum, i) => {
          f.v128.store(p.scratch, sum, 16 * i);
        });
        emitPartialRows(f, p, height, options);
      },
    );
  });
}

/** The loop over k. Returns the sums, row by row. */
function emitSums(
  f: FunctionBuilder,
  { a, b, k }: Params<typeof tileParams>,
  height: number,
  { fma, integers, oneSum }: TileOptions,
) {
  const splits = oneSum ? 1 : kSplits(height, fma);
  // Steps of k in one turn of the loop; see the header of gemm.ts for why not more where no tile is higher than 4.
  const unroll = fma > 4 ? 4 : splits;
  const sums = Array.from({ length: splits }, () => f.locals("v128", height * VECTORS));
  const row = f.local("v128");
  const columns = f.locals("v128", VECTORS);

  const step = (u: number) => {
    for (let j = 0; j < VECTORS; j++) f.set(columns[j], v128.load(b, (u * VECTORS + j) * 16));
    for (let i = 0; i < height; i++) {
      f.set(row, v128.load32_splat(a, (u * height + i) * 4));
      for (let j = 0; j < VECTORS; j++) {
        const sum = sums[u % splits][i * VECTORS + j];
        f.set(sum, integers ? addDots[integers](row, columns[j], sum) : multiplyAdd(fma, row, columns[j], sum));
      }
    }
  };
  const loopUntil = (end: Expr<"i32">, steps: number) =>
    f.while(i32.lt_u(b, end), () => {
      for (let u = 0; u < steps; u++) step(u);
      f.increment(a, steps * height * 4);
      f.increment(b, steps * VECTORS * 16);
    });

  const end = f.let(i32.add(b, i32.mul(k, VECTORS * 16)));
  if (unroll > 1) loopUntil(f.let(i32.add(b, i32.mul(i32.and(k, -unroll), VECTORS * 16))), unroll);
  loopUntil(end, 1);

  const [total, ...others] = sums;
  for (const part of others) {
    for (let i = 0; i < total.length; i++)
      f.set(total[i], integers ? i32x4.add(total[i], part[i]) : f32x4.add(total[i], part[i]));
  }
  return total;
}

/** Tiles of few rows have fewer sums than additions in flight: spread k over several independent sets of them. */
function kSplits(height: number, fma: Fma): number {
  if (fma > 4) return height === 1 ? 4 : height <= 3 ? 2 : 1;
  return height === 1 ? 2 : 1; // two rows and two steps of k would not fit the registers beside their loads
}

export const multiplyAdd = (fma: unknown, x: Expr<"v128">, y: Expr<"v128">, sum: Expr<"v128">) =>
  fma ? f32x4.relaxed_madd(x, y, sum) : f32x4.add(sum, f32x4.mul(x, y));

const addDots: Record<Integers, typeof i32x4.relaxed_dot_i8x16_i7x16_add_s> = {
  pairs: (x, y, sum) => i32x4.add(sum, i32x4.dot_i16x8_s(x, y)),
  signedA: (x, y, sum) => i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y, sum),
  signedB: (x, y, sum) => i32x4.relaxed_dot_i8x16_i7x16_add_s(y, x, sum),
};

/** A function that finishes one full row of the tile and moves on to the next. */
export function epilogue(
  f: FunctionBuilder,
  { bias, residual, activation }: Epilogue,
  p: Pick<Params<typeof tileParams>, "c" | "ldc" | "bias" | "residual" | "ldr">,
) {
  const columnBias = bias === "column" ? [f.let(v128.load(p.bias)), f.let(v128.load(p.bias, 16))] : [];
  return (sums: Local<"v128">[], i: number) => {
    const rowBias = bias === "row" ? f.let(v128.load32_splat(p.bias, 4 * i)) : undefined;
    sums.forEach((sum, j) => {
      let y: Expr<"v128"> = sum;
      if (rowBias) y = f32x4.add(y, rowBias);
      if (bias === "column") y = f32x4.add(y, columnBias[j]);
      if (residual) y = f32x4.add(y, v128.load(p.residual, 16 * j));
      f.v128.store(p.c, activation ? activation(f, y) : y, 16 * j);
    });
    f.increment(p.c, p.ldc);
    if (residual) f.increment(p.residual, p.ldr);
  };
}

/** The same epilogue for a tile with fewer columns, one value at a time, in the first lane. */
function emitPartialRows(
  f: FunctionBuilder,
  p: Params<typeof tileParams>,
  height: number,
  { bias, residual, activation }: Epilogue,
): void {
  const bytes = f.let(i32.shl(p.columns, 2));
  const at = f.local("i32");
  const one = (base: Local<"i32">) => v128.load32_zero(i32.add(base, at));
  const rowsEnd = f.let(i32.add(p.scratch, height * PANEL_COLUMNS * 4));
  f.while(i32.lt_u(p.scratch, rowsEnd), () => {
    f.forRange(at, 0, bytes, 4, () => {
      let y = one(p.scratch);
      if (bias === "row") y = f32x4.add(y, v128.load32_zero(p.bias));
      if (bias === "column") y = f32x4.add(y, one(p.bias));
      if (residual) y = f32x4.add(y, one(p.residual));
      f.v128.store32_lane(i32.add(p.c, at), activation ? activation(f, y) : y, 0);
    });
    f.increment(p.scratch, PANEL_COLUMNS * 4);
    f.increment(p.c, p.ldc);
    if (residual) f.increment(p.residual, p.ldr);
    if (bias === "row") f.increment(p.bias, 4);
  });
}
