/** Loops along an axis of integers: folds of rows by vectors, the place of an extreme, running sums. */
import { type Func, i8x16, i32, i64, type Local, type ModuleBuilder, select, v128 } from "../assembler.ts";
import { type Combine, type Integer, lessWord, loadWord, plus, splat, storeWord, zeroWord } from "./integers.ts";
import { storeLane } from "./vector-integers.ts";

export interface Fold {
  readonly name: string;
  /** The value of no elements. */
  readonly start: bigint;
  readonly combine: Combine;
}

const vectorsATurn = 4;
const places = Uint8Array.from({ length: 16 }, (_, i) => i);
const rotated = (bytes: number): number[] => Array.from(places, (i) => (i + bytes) % 16);

const rowsParams = { x: "i32", y: "i32", n: "i32", rows: "i32", stride: "i32" } as const;

/** y = the fold of `rows` rows of `n` elements, `stride` bytes apart. */
export function emitFoldRows(m: ModuleBuilder, t: Integer, fold: Fold): Func<typeof rowsParams, undefined> {
  const { name, start, combine } = fold;
  const lanes = 16 / t.bytes;
  return m.func({ name: `${name} ${t.dtype}/rows`, params: rowsParams }, (f, { x, y, n, rows, stride }) => {
    const total = f.let(splat(f, t, start));
    const [at, left] = f.locals("i32", 2);
    const more = f.local("v128");
    const join = (): void => f.set(total, combine(total, more));
    f.while(rows, () => {
      f.set(at, x);
      f.set(left, n);
      f.while(i32.ge_s(left, vectorsATurn * lanes), () => {
        for (let vector = 0; vector < vectorsATurn; vector++) {
          f.set(more, v128.load(at, 16 * vector));
          join();
        }
        f.increment(at, 16 * vectorsATurn);
        f.increment(left, -vectorsATurn * lanes);
      });
      f.while(i32.gt_s(left, 0), () => {
        const present = i8x16.lt_u(f.hoist(v128.const(places)), i8x16.splat(i32.mul(left, t.bytes)));
        f.set(more, v128.bitselect(v128.load(at), splat(f, t, start), present));
        join();
        f.increment(at, 16);
        f.increment(left, -lanes);
      });
      f.increment(x, stride);
      f.increment(rows, -1);
    });
    for (let bytes = 8; bytes >= t.bytes; bytes /= 2) {
      f.set(more, i8x16.shuffle(total, total, rotated(bytes)));
      join();
    }
    storeLane(f, t.bytes, y, total);
  });
}

export interface ArgScan {
  readonly name: string;
  readonly largest: boolean;
  /** Of equal elements the last one. */
  readonly last: boolean;
}

const argParams = { x: "i32", y: "i32", n: "i32", stride: "i32" } as const;

/** y = the place (i64) of the extreme one of `n` elements that are `stride` bytes apart. */
export function emitArgScan(
  m: ModuleBuilder,
  t: Integer,
  { name, largest, last }: ArgScan,
): Func<typeof argParams, undefined> {
  return m.func({ name, params: argParams }, (f, { x, y, n, stride }) => {
    const less = lessWord(t);
    const top = f.let(loadWord(t, x));
    const [best, place, better] = f.locals("i32", 3);
    f.forRange(place, 1, n, 1, () => {
      f.increment(x, stride);
      const v = f.let(loadWord(t, x));
      const beyond = largest !== last ? less(top, v) : less(v, top);
      f.set(better, last ? i32.eqz(beyond) : beyond);
      f.set(top, select(v, top, better));
      f.set(best, select(place, best, better));
    });
    f.i64.store(y, i64.extend_i32_u(best));
  });
}

const scanParams = { x: "i32", y: "i32", n: "i32", step: "i32" } as const;

/** Running sums of `n` elements that are `step` bytes apart. */
export function emitScan(
  m: ModuleBuilder,
  t: Integer,
  name: string,
  exclusive: boolean,
): Func<typeof scanParams, undefined> {
  return m.func({ name, params: scanParams }, (f, { x, y, n, step }) => {
    const total = f.let(zeroWord(t));
    const sum = (): void => f.set(total, plus(t)(total, loadWord(t, x)));
    const end: Local<"i32"> = f.let(i32.add(x, i32.mul(n, step)));
    f.while(i32.ne(x, end), () => {
      if (!exclusive) sum();
      storeWord(f, t, y, total);
      if (exclusive) sum();
      f.increment(x, step);
      f.increment(y, step);
    });
  });
}
