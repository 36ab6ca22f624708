/**
 * Winograd's transform of 3x3 kernels (kernels/winograd.ts) while a model runs: of 16-bit floats, four kernels at a time, one
 * in each lane. Nine taps of four kernels lie together.
 */
import type { Half } from "../../../tensor/dtype.ts";
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import { type Fma, multiplyAdd } from "./gemm-tile.ts";
import { fromHalf, tinyHalves } from "./half.ts";
import { constant } from "./math.ts";
import { kernelTransform, type TileSize } from "./winograd.ts";

type V = Expr<"v128">;

/** Bytes of four kernels. */
export const QUAD_BYTES = 4 * 9 * 2;

/** G w times `scale`: the rows of G but the first and the last are pairs that differ in one sign. */
function transform(f: FunctionBuilder, m: TileSize, fma: Fma, w: readonly V[], scale: number): V[] {
  const [first, ...others] = kernelTransform[m];
  const times = (factor: number, v: V): V => (factor === 1 ? v : f32x4.mul(v, constant(f, factor)));
  const rows = [f.let(times(scale * first[0], w[0]))];
  for (let i = 0; i < m; i += 2) {
    const [a, b, c] = others[i].map((factor) => scale * factor);
    const even = f.let(multiplyAdd(fma, w[2], constant(f, c), times(a, w[0])));
    const odd = f.let(times(b, w[1]));
    rows.push(f.let(f32x4.add(even, odd)), f.let(f32x4.sub(even, odd)));
  }
  return [...rows, f.let(times(scale, w[2]))];
}

const transformParams = { w: "i32", end: "i32", out: "i32", special: "i32" } as const;

/**
 * Transforms the kernels at [w, end) to `out`, `pointBytes` from one point to the next. `special`: whether infinities and
 * NaNs may be among f16.
 */
export function emitTransform(
  module: ModuleBuilder,
  { name, m, fma, type, pointBytes }: { name: string; m: TileSize; fma: Fma; type: Half; pointBytes: number },
): Func<typeof transformParams, undefined> {
  const t = m + 2;
  return module.func({ name, params: transformParams }, (f, { w, end, out, special }) => {
    const loop = (wide: (four: V) => V, scale = 1) =>
      f.while(i32.lt_u(w, end), () => {
        const taps = Array.from({ length: 9 }, (_, i) => f.let(wide(v128.load16x4_s(w, 8 * i))));
        const columns = [0, 1, 2].map((j) => transform(f, m, fma, [taps[j], taps[3 + j], taps[6 + j]], scale));
        for (let i = 0; i < t; i++) {
          const points = transform(
            f,
            m,
            fma,
            columns.map((c) => c[i]),
            1,
          );
          points.forEach((point, j) => {
            f.v128.store(out, point, (i * t + j) * pointBytes);
          });
        }
        f.increment(w, QUAD_BYTES);
        f.increment(out, 16);
      });
    if (type === "bf16") loop((four) => i32x4.shl(four, 16));
    else
      f.if(
        special,
        () => loop((four) => fromHalf(f, four)),
        // The transform makes up for what these are too small.
        () => loop((four) => tinyHalves(f, four), 2 ** 112),
      );
  });
}
