/**
 * Dot products of eight rows of weights in blocks with a few rows of quantised activations.
 *
 * A row of activations costs what memory gives (1536 x 768 in q4_0: 21 GB/s of weights). Several are products like any
 * other: 1536 x 768, 32 rows, 10^9 multiply-adds a second on one core of an AMD EPYC (Zen 4), Node 24:
 *
 *                                                q4_0  q8_0  q4_k  q5_k  q6_k
 *   floats: kernels/gemm.ts on panels              26    25    26    26    25
 *   four rows of weights at a time                 46    22    31    29    29   a word of activations is loaded twice
 *   eight                                          56    32    45    16    31   more sums of k-quants than registers
 *   eight, 32 k at a time                          56    32    48    41    38
 *   the same, activations in fours and shuffled    54    30    49    39    37   fewer instructions, but no more free ports
 *
 * V8 issues six instructions a cycle then. Codes of eight bits (q8_0, iq4) take twice as many as shorter ones, as two products
 * of them fill 16 bits: see `multiplied`. Words in their place: q8_0 26 instead of 31 for one row, 36 instead of 38 for more.
 *
 * Some processors have one instruction for four products and their sum (`DotAdd`); elsewhere it is four, and slower (25 and 30).
 * 1536 x 768 on one core of a Sapphire Rapids, Node 24, without | with it:
 *
 *              q8_0     q4_0     q5_1     q4_k     q5_k     q6_k     q2_k     iq4_xs   iq2_xxs  mxfp4
 *   one row    18 | 27  25 | 30  16 | 19  25 | 28  18 | 20  22 | 24  26 | 23  16 | 26  8 | 10   21 | 26
 *   32 rows    30 | 52  40 | 49  31 | 40  43 | 53  35 | 43  39 | 41  39 | 39  22 | 51  21 | 30  39 | 53
 *
 * q2_k, whose blocks of 16 have minima, does without. Signed codes, which are moved up on the way (`xor`) or have the signs of
 * activations put on them, took a tenth more for one row than those that are kept as 0 .. 255.
 *
 * Without relaxed SIMD bytes become words, and there are twice the instructions.
 *
 * V8 up to that of Node 22 orders a straight piece of code itself: loads go to its start, and what they read waits on the
 * stack. There, pieces end in a branch for that reason, see `fenced`, and serve three rows of activations at most, not four.
 * With branches that joined (those that leave are 1.2 to 1.5 times as fast: docs/decisions/021), k = 1536, 10^9 multiply-adds
 * a second, without branches | one after each step | one after each vector of codes as well:
 *
 *                                               q4_0          q8_0          q2_k          q4_k          q6_k
 *   Node 20, one row                      18 | 22 | 25  18 | 26 | 25   4 | 13 |      7 | 17 |      3 | 13 |
 *            three                              21 | 31       27 | 35       15 | 16       20 | 25       16 | 16
 *            four                               21 | 27       27 | 31       13 | 11       16 | 19       13 | 11
 *   Node 22, relaxed SIMD, one row        32 | 38 | 37  19 | 30 | 31  11 | 24 | 25  14 | 27 | 29   9 | 20 | 26
 *            three                              42 | 48       28 | 30       34 | 37       35 | 40       33 | 35
 *            four                               39 | 47       26 | 27       32 | 35       37 | 36       32 | 33
 *   Node 24, relaxed SIMD, one row        42 | 42       35 | 34                     41 | 41       28 | 28
 *            four                         62 | 61       40 | 40                     55 | 54       45 | 43
 *
 * One row takes several panels far from each other, unit by unit in turn: memory gives many runs faster than one, see
 * docs/decisions/022 and 025. Milliseconds of a token of 143 million weights on one core of a Sapphire Rapids, Node 24, by how
 * many panels one function takes at once, and by pairs of panels, four of their units in turn, whose sums wait in memory:
 *
 *           1     2     3     4     6    8     2 pairs  3     4     6
 *   q8_0   14.6  11.7  10.8  10.4  9.9  9.6   11.1     10.4  10.5  10.6
 *   q4_0   11.9   8.4   7.2   6.3  4.7  4.1    5.3      4.8   4.7   4.5
 *
 * In turn, later, 4, 6, 8 and 16 pairs of q8_0: 9.0 to 10.0, 8.6 to 9.3, 8.7 to 9.1 and 9.4 to 10.1 (Node 20 with relaxed SIMD: 11.1
 * to 12.1, 10.7 to 11.3, 10.3 to 11.0, 11.3 to 11.8); 8 pairs of q4_0 gain 3% with one thread, and lose 4% with two.
 *
 * Pairs are as much code as two panels. In the cache they take 1 to 2% more time, 3 to 5% without relaxed SIMD: a large matrix
 * has them. Panel by panel in a loop, not two at once: 11.9 and 6.1. Units of k-quants are longer than such a turn: two panels.
 */
import { f32x4, i32, type Local, type ModuleBuilder, v128 } from "../assembler.ts";
import { fenced } from "./fence.ts";
import { activationBytes, tinyFactor, type UnitOptions, unitProducts } from "./quantized-unit.ts";
import { walkRow } from "./row-walk.ts";
import { type DotFunction, dotParams, type RowFunction, rowParams } from "./stored-panels.ts";

const tinyBytes = new Uint8Array(new Float32Array(4).fill(tinyFactor).buffer);

/** A panel times `rows` of activations. */
export function emitDot(m: ModuleBuilder, name: string, o: UnitOptions): DotFunction {
  const { format, rows, fma } = o;
  return m.func({ name, params: dotParams }, (f, { w, x, out, ldo }) => {
    const { row, unit } = activationBytes(o);
    const add = unitProducts(f, o, x);
    const sums = f.locals("v128", 2 * rows);
    const end = f.let(i32.add(x, row));
    // With relaxed SIMD, k-quants have more sums than registers.
    fenced(f, x, { fma, joins: format.unit > 32 && fma > 0 }, (fence) => {
      f.while(i32.lt_u(x, end), () => {
        add(w, sums, fence);
        f.increment(w, format.bytes);
        f.increment(x, unit);
      });
    });
    const factor = f.hoist(v128.const(tinyBytes));
    for (let r = 0; r < rows; r++) {
      for (const half of [0, 1]) {
        const sum = sums[half * rows + r];
        f.v128.store(out, format.tiny ? f32x4.mul(sum, factor) : sum, 16 * half);
      }
      f.increment(out, ldo);
    }
  });
}

/**
 * Two panels and a part of one row, [x, end), whose products are added to results at `out` and `ldo` further on. At the
 * `first` part there are none yet, with the `last` one they are whole.
 */
function emitTurn(m: ModuleBuilder, name: string, o: Omit<UnitOptions, "rows">) {
  const { format, fma } = o;
  const params = {
    w: "i32",
    apart: "i32",
    x: "i32",
    end: "i32",
    out: "i32",
    ldo: "i32",
    first: "i32",
    last: "i32",
  } as const;
  return m.func({ name, params }, (f, { w, apart, x, end, out, ldo, first, last }) => {
    const add = unitProducts(f, { ...o, rows: 1 }, x);
    const units = [w, f.let(i32.add(w, apart))];
    const results = [out, f.let(i32.add(out, ldo))];
    const sums = units.map(() => f.locals("v128", 2));
    const forSums = (body: (sum: Local<"v128">, result: Local<"i32">, offset: number) => void) =>
      sums.forEach((both, p) => {
        both.forEach((sum, half) => {
          body(sum, results[p], 16 * half);
        });
      });
    f.if(i32.eqz(first), () => forSums((sum, result, offset) => f.set(sum, v128.load(result, offset))));
    fenced(f, x, { fma, joins: format.unit > 32 }, (fence) => {
      f.while(i32.lt_u(x, end), () => {
        units.forEach((unit, p) => {
          add(unit, sums[p], fence);
          f.increment(unit, format.bytes);
        });
        f.increment(x, activationBytes(o).unit);
      });
    });
    const factor = f.hoist(v128.const(tinyBytes));
    if (format.tiny) f.if(last, () => forSums((sum) => f.set(sum, f32x4.mul(sum, factor))));
    forSums((sum, result, offset) => f.v128.store(result, sum, offset));
  });
}

/** About so many bytes of a panel, before the next pair has its turn: longer runs are fetched no faster than a single one. */
const turnBytes = 576;

/** One row times panels. While others have their turn, sums of a pair are in its results. */
export function emitRow(m: ModuleBuilder, name: string, o: Omit<UnitOptions, "rows">): RowFunction {
  const { format, k } = o;
  const { row: xRow, unit: xUnit } = activationBytes(o);
  const units = k / format.unit;
  const turns = Math.max(1, Math.round((units * format.bytes) / turnBytes));
  const turnUnits = Math.ceil(units / turns);
  const turnOfPair = emitTurn(m, `${name}/turn`, o);
  return m.func({ name, params: rowParams }, (f, params) => {
    const { x } = params;
    const [xTurn, xEnd, wTurn, turn, pair, wPair, outPair] = f.locals("i32", 7);
    const end = f.let(i32.add(x, xRow));
    walkRow(f, params, units * format.bytes, ({ w, out, pairs, apart }) => {
      f.set(xTurn, x);
      f.set(wTurn, w);
      f.set(turn, xRow);
      f.if(i32.gt_u(pairs, 1), () => f.set(turn, turnUnits * xUnit));
      f.while(i32.lt_u(xTurn, end), () => {
        f.set(xEnd, i32.add(xTurn, turn));
        f.if(i32.gt_u(xEnd, end), () => f.set(xEnd, end));
        f.set(wPair, wTurn);
        f.set(outPair, out);
        f.forRange(pair, 0, pairs, 1, () => {
          f.call(turnOfPair, {
            w: wPair,
            apart: apart.w,
            x: xTurn,
            end: xEnd,
            out: outPair,
            ldo: apart.out,
            first: i32.eq(xTurn, x),
            last: i32.eq(xEnd, end),
          });
          f.set(wPair, i32.add(wPair, i32.shl(apart.w, 1)));
          f.set(outPair, i32.add(outPair, i32.shl(apart.out, 1)));
        });
        f.set(xTurn, xEnd);
        f.increment(wTurn, turnUnits * format.bytes);
      });
    });
  });
}
