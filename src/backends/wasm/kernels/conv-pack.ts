/**
 * Packing panels: what eight neighbouring outputs read, gathered tap by tap. A panel's outputs may lie in one row (plain
 * loads), or cross the end of rows: four outputs then are in two rows at most, and are blended from two loads. Only
 * outputs less than four wide are gathered one by one.
 */

import {
  type Expr,
  type Func,
  type FunctionBuilder,
  i32,
  i32x4,
  type Local,
  type ParamTypes,
  select,
  v128,
} from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import type { Source } from "./conv-stage.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";

/** What a panel's outputs read at a tap, for its first or second half. */
type Load = (half: 0 | 1, offset: number) => Expr<"v128">;

/** Writes what the panel reads of one slice. `advance` moves the place that loads start from. */
export type PackSlice = (f: FunctionBuilder, load: Load, out: Local<"i32">, advance: (bytes: number) => void) => void;

const packParams = { pixel: "i32", base: "i32", firstRow: "i32", slices: "i32", out: "i32" } as const;
/** `pixel`: the panel's first output. `base`: what output 0 of row `firstRow` reads first. */
export type PackFunction = Func<typeof packParams, undefined>;

export interface PackOptions {
  readonly name: string;
  readonly source: Source;
  /** Of the plane of outputs. */
  readonly width: number;
  readonly height: number;
  readonly slice: PackSlice;
}

export function packFunction(e: StepEmitter, o: PackOptions): PackFunction {
  const { name, width, height, source } = o;
  return e.own(name, (m) => {
    /** The loop over slices for one way of loading, from the addresses in `names`. */
    const loop = (kind: string, names: readonly string[], masks: readonly string[], load: (p: Pointers) => Load) => {
      const params: ParamTypes = { slices: "i32", out: "i32", ...record(names, "i32"), ...record(masks, "v128") };
      return m.func({ name: `${name}/${kind}`, params }, (f, p) => {
        const at = p as Pointers;
        const advance = (bytes: number) => {
          for (const n of names) f.increment(at[n], bytes);
        };
        f.while(at["slices"], () => {
          o.slice(f, load(at), at["out"], advance);
          advance(source.sliceBytes);
          f.increment(at["slices"], -1);
        });
      });
    };
    const run = loop(
      "run",
      ["at"],
      [],
      ({ at }) =>
        (half, offset) =>
          v128.load(at, offset + 16 * half),
    );
    const split = loop("split", ["a0", "b0", "a1", "b1"], ["mask0", "mask1"], (p) => (half, offset) => {
      const mask = p[`mask${half}`] as unknown as Local<"v128">;
      return v128.bitselect(v128.load(p[`a${half}`], offset), v128.load(p[`b${half}`], offset), mask);
    });
    const lanes = Array.from({ length: PANEL_COLUMNS }, (_, i) => `at${i}`);
    const gather = loop("gather", lanes, [], (p) => (half, offset) => {
      const lane = (i: number) => p[`at${4 * half + i}`];
      let v: Expr<"v128"> = v128.load32_zero(lane(0), offset);
      for (let i = 1; i < 4; i++) v = v128.load32_lane(lane(i), v, i, offset);
      return v;
    });

    return m.func({ name, params: packParams }, (f, { pixel, base, firstRow, slices, out }) => {
      const row = f.let(i32.div_u(pixel, width));
      const column = f.let(i32.sub(pixel, i32.mul(row, width)));
      const address = (r: Expr<"i32">, c: Expr<"i32">) =>
        i32.add(base, i32.add(i32.mul(i32.sub(r, firstRow), source.outputRowBytes), i32.shl(c, 2)));
      if (width < 4) {
        const at = lanes.map((_, i) => {
          const p = f.let(i32.add(pixel, i));
          f.if(i32.ge_u(p, width * height), () => f.set(p, i32.const(width * height - 1)));
          const r = f.let(i32.div_u(p, width));
          return f.let(address(r, i32.sub(p, i32.mul(r, width))));
        });
        f.call(gather, { slices, out, ...Object.fromEntries(lanes.map((n, i) => [n, at[i]])) });
        return;
      }
      f.if(
        i32.le_s(column, width - PANEL_COLUMNS),
        () => f.call(run, { slices, out, at: address(row, column) }),
        () => {
          const halves = [0, 1].map((half) => {
            if (half) {
              f.set(column, i32.add(column, 4));
              f.if(i32.ge_s(column, width), () => {
                f.increment(column, -width);
                f.increment(row, 1);
              });
            }
            // Past the last row nothing is stored: any address that can be read will do.
            f.if(i32.ge_s(row, height), () => f.set(row, i32.const(height - 1)));
            const a = f.let(address(row, column));
            const inRow = f.let(i32.sub(width, column));
            const crosses = i32.and(i32.lt_s(inRow, 4), i32.lt_s(row, height - 1));
            const next = f.let(address(i32.add(row, 1), i32.sub(0, inRow)));
            return { a, b: f.let(select(next, a, crosses)), mask: i32x4.lt_s(laneNumbers, i32x4.splat(inRow)) };
          });
          const [{ a: a0, b: b0, mask: mask0 }, { a: a1, b: b1, mask: mask1 }] = halves;
          f.call(split, { slices, out, mask0: f.let(mask0), mask1: f.let(mask1), a0, b0, a1, b1 });
        },
      );
    });
  });
}

type Pointers = Record<string, Local<"i32">>;

const laneNumbers = v128.const(new Uint8Array(new Int32Array([0, 1, 2, 3]).buffer));

const record = <K extends string, V>(keys: readonly K[], value: V): Record<K, V> =>
  Object.fromEntries(keys.map((k) => [k, value])) as Record<K, V>;

/** Taps up to which a slice is packed by straight code. */
const unrolledTaps = 32;

/** im2col: the panel's row of each tap, in the order of the weights. */
export const packTaps =
  ({ taps }: Source): PackSlice =>
  (f, load, out, advance) => {
    const copy = (offsets: readonly number[]) => {
      offsets.forEach((offset, i) => {
        f.v128.store(out, load(0, offset), 32 * i);
        f.v128.store(out, load(1, offset), 32 * i + 16);
      });
      f.increment(out, 32 * offsets.length);
    };
    if (taps.length * taps[0].length <= unrolledTaps) {
      copy(taps.flat());
      return;
    }
    const rowBytes = taps.length > 1 ? taps[1][0] - taps[0][0] : 0;
    const row = f.local("i32");
    f.forRange(row, 0, taps.length, 1, () => {
      copy(taps[0]);
      advance(rowBytes);
    });
    advance(-rowBytes * taps.length);
  };
