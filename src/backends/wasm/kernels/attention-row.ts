/** One row of a tile of attention scores: scaled, capped, masked, and turned into weights by the online softmax. */
import { type Expr, type Func, f32, f32x4, i32, i32x4, type Local, type ModuleBuilder, v128 } from "../assembler.ts";
import { constant, expNonPositive, tanh } from "./math.ts";
import { storeUpTo } from "./vector.ts";
import { acrossLanes, foldRow, sumFold } from "./vector-rows.ts";

type V = Expr<"v128">;

export interface ScoreOptions {
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
  /** `repeated`: one element for the whole row. */
  readonly mask?: { readonly dtype: "bool" | "f32"; readonly repeated: boolean };
}

/**
 * `s`: `n` scores, a multiple of 4 with the padding. Keys outside of [from, to) are hidden; `mask` is that of the first
 * key. `state`: the largest score so far and the sum of weights. `y`: what was summed so far, `valueDim` floats.
 */
const rowParams = {
  s: "i32",
  n: "i32",
  from: "i32",
  to: "i32",
  mask: "i32",
  state: "i32",
  y: "i32",
  valueDim: "i32",
} as const;
export type ScoreRowFunction = Func<typeof rowParams, undefined>;

const laneNumbers = new Uint8Array(Int32Array.of(0, 1, 2, 3).buffer);

export function emitScoreRow(m: ModuleBuilder, name: string, o: ScoreOptions): ScoreRowFunction {
  return m.func({ name, params: rowParams }, (f, { s, n, from, to, mask, state, y, valueDim }) => {
    const end = f.let(i32.add(s, i32.shl(n, 2)));
    const at = f.let(s);
    const lanes = f.let(v128.const(laneNumbers));
    const first = f.let(i32x4.splat(from));
    const past = f.let(i32x4.splat(to));
    const largest = f.let(constant(f, Number.NEGATIVE_INFINITY));
    const hidden = constant(f, Number.NEGATIVE_INFINITY);
    f.while(i32.lt_u(at, end), () => {
      const score = f.let(maskedScore(mask));
      const visible = v128.and(i32x4.ge_s(lanes, first), i32x4.lt_s(lanes, past));
      f.set(score, v128.bitselect(score, hidden, visible));
      f.v128.store(at, score);
      f.set(largest, f32x4.pmax(largest, score));
      f.set(lanes, i32x4.add(lanes, f.hoist(i32x4.splat(4))));
      f.increment(at, 16);
      if (o.mask && !o.mask.repeated) f.increment(mask, o.mask.dtype === "bool" ? 4 : 16);
    });
    const before = f.let(f32.load(state));
    f.set(largest, acrossLanes(f, f32x4.max, f32x4.max(largest, f32x4.splat(before))));
    f.set(at, s);
    f.if(f32.eq(f32x4.extract_lane(largest, 0), Number.NEGATIVE_INFINITY), () => {
      // Nothing is visible yet, or nothing but NaN, which pmax passes over.
      const total = f.let(foldRow(f, sumFold, s, n));
      f.if(i32x4.all_true(f32x4.eq(total, total)), () => {
        f.memory.fill(s, 0, i32.shl(n, 2));
        f.return();
      });
    });
    const sum = f.let(constant(f, 0));
    f.if(f32.ne(f32x4.extract_lane(largest, 0), before), () => {
      const shrink = f.let(expNonPositive(f, f32x4.sub(f32x4.splat(before), largest)));
      f.f32.store(state, f32x4.extract_lane(largest, 0));
      f.f32.store(state, f32.mul(f32.load(state, 4), f32x4.extract_lane(shrink, 0)), 4);
      f.while(i32.gt_s(valueDim, 0), () => {
        storeUpTo(f, "f32", y, f32x4.mul(v128.load(y), shrink), valueDim);
        f.increment(y, 16);
        f.increment(valueDim, -4);
      });
    });
    f.while(i32.lt_u(at, end), () => {
      const weight = f.let(expNonPositive(f, f32x4.sub(v128.load(at), largest)));
      f.v128.store(at, weight);
      f.set(sum, f32x4.add(sum, weight));
      f.increment(at, 16);
    });
    f.f32.store(state, f32.add(f32.load(state, 4), f32x4.extract_lane(f.let(acrossLanes(f, f32x4.add, sum)), 0)), 4);

    function maskedScore(maskAt: Local<"i32">): V {
      const scaled = f32x4.mul(v128.load(at), constant(f, o.scale));
      const score =
        o.softcap > 0
          ? f32x4.mul(tanh(f, f32x4.mul(scaled, constant(f, 1 / o.softcap))), constant(f, o.softcap))
          : scaled;
      if (!o.mask) return score;
      const { dtype, repeated } = o.mask;
      if (dtype === "f32") return f32x4.add(score, repeated ? v128.load32_splat(maskAt) : v128.load(maskAt));
      const bits = repeated ? i32x4.splat(i32.load8_u(maskAt)) : i32x4.extend_low_i16x8_u(v128.load8x8_u(maskAt));
      return v128.bitselect(score, hidden, i32x4.ne(bits, constant(f, 0)));
    }
  });
}
