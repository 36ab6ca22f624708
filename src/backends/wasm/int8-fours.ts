/**
 * Sides of a product of bytes as they are, four neighbours of k in a word, for hosts that multiply and add all four in one
 * instruction (`WasmFeatures.dotAdd`): one side as signed bytes, B here, the other as the host has them. Zero points follow,
 * once for each sum, as (a - za) (b - zb) = a b - zb a - za (b - zb), in which the last differences are added up when weights
 * are packed:
 *
 *   sum over k = dot(a, b) - zb * sum of a - za * sum of (b - zb)
 *
 * Bytes of the other kind are turned by 128, and their zero points with them.
 */
import type { TypedArray } from "../../tensor/dtype.ts";
import { call, i8x16, i32, i32x4, type Operand, v128 } from "./assembler.ts";
import { correctFunction, hasPoints, turnOf, zeroOf } from "./int8.ts";
import type { Layout } from "./int8-product.ts";
import { emitGemm } from "./kernels/gemm.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import type { Fma } from "./kernels/gemm-tile.ts";
import type { DotAdd } from "./kernels/quantized-unit.ts";
import { runArgs } from "./kernels/vector.ts";
import { addressOf, type StepEmitter } from "./step.ts";

/**
 * B [k, n] as signed bytes in panels of 8 columns; each word has four neighbouring k. Behind them for each column the sum of
 * what is left without its zero point, and that point, of the signed bytes.
 */
function packFours(b: TypedArray, zeros: TypedArray | undefined, packed: Int32Array, k: number, n: number): void {
  const words = Math.ceil(k / 4);
  const columns = PANEL_COLUMNS * Math.ceil(n / PANEL_COLUMNS);
  const turn = b instanceof Uint8Array ? 128 : 0;
  const source = b as Uint8Array;
  packed.fill(0);
  for (let column = 0; column < n; column++) {
    const zero = zeroOf(zeros, column);
    packed[columns * words + column] = -k * zero;
    packed[columns * (words + 1) + column] = zero - turn;
  }
  const sums = packed.subarray(columns * words);
  for (let first = 0; first < n; first += PANEL_COLUMNS) {
    const end = Math.min(first + PANEL_COLUMNS, n);
    for (let row = 0; row < k; row++) {
      const at = first * words + (row >> 2) * PANEL_COLUMNS - first;
      const shift = 8 * (row & 3);
      for (let column = first, from = row * n + first; column < end; column++, from++) {
        const v = source[from];
        sums[column] += v;
        packed[at + column] |= ((v - turn) & 0xff) << shift;
      }
    }
  }
}

/** Bytes whose first bit is turned: x - 128 of unsigned ones, x + 128 of signed ones. */
function turnFunction(e: StepEmitter) {
  const name = "bytes/turn";
  const params = { x: "i32", y: "i32", n: "i32" } as const;
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, y, n }) => {
      const i = f.local("i32");
      f.forRange(i, 0, n, 16, () =>
        f.v128.store(i32.add(y, i), v128.xor(v128.load(i32.add(x, i)), f.hoist(i8x16.splat(128)))),
      );
    }),
  );
}

/** The sum of `k` bytes as the product takes them. */
function sumFunction(e: StepEmitter, signed: boolean) {
  const name = `bytes/sum/${signed}`;
  const params = { x: "i32", k: "i32" } as const;
  return e.shared<typeof params, "i32">(name, (m) =>
    m.func({ name, params, result: "i32" }, (f, { x, k }) => {
      const total = f.local("v128");
      const ones = f.let(i8x16.splat(1));
      f.while(i32.ge_s(k, 16), () => {
        f.set(total, i32x4.relaxed_dot_i8x16_i7x16_add_s(ones, v128.load(x), total));
        f.increment(x, 16);
        f.increment(k, -16);
      });
      const lane = (i: number) => i32x4.extract_lane(total, i);
      const sum = f.let(i32.add(i32.add(lane(0), lane(1)), i32.add(lane(2), lane(3))));
      f.while(k, () => {
        f.set(sum, i32.add(sum, signed ? i32.load8_s(x) : i32.load8_u(x)));
        f.increment(x, 1);
        f.increment(k, -1);
      });
      f.return(sum);
    }),
  );
}

/** Room for a sum of a row, a cache line for each thread. */
const slotBytes = 64;

export const inFours =
  (dotAdd: NonNullable<DotAdd>, fma: Fma): Layout =>
  ({ m, n, k, a, b, zeros, hasZero, threads }) => {
    const words = Math.ceil(k / 4);
    const columns = PANEL_COLUMNS * Math.ceil(n / PANEL_COLUMNS);
    const turn = turnOf(a, dotAdd);
    const points = hasPoints(b, zeros);
    const correction = { zero: hasZero ? a : undefined, turn, sameWeights: false, points };
    const turnedBytes = turn ? 16 * Math.ceil((m * k + 16) / 16) : 0;
    return {
      words,
      key: "fours",
      packedWords: columns * (words + 2),
      pack: (source, packed) => packFours(source, zeros, packed, k, n),
      workspaceBytes: turnedBytes + slotBytes * threads,
      gemm(e) {
        const name = `gemm/fours/${fma}`;
        return e.shared(name, (module) => emitGemm(module, { name, fma, integers: "signedB" }));
      },
      rows(e, { a: from, row, rows }) {
        const x = addressOf(from, row, k);
        if (!turn) return { at: x, stride: k };
        const y = addressOf(e.workspace, row, k);
        e.f.call(turnFunction(e), { x, y, n: typeof rows === "number" ? rows * k : i32.mul(rows, k) });
        return { at: y, stride: k };
      },
      correct:
        hasZero || turn || points
          ? (e, { a: from, b: packed, zero, zeroStep, row, column, count, c }) => {
              const { f } = e;
              const ofColumns = (place: number): Operand<"i32"> => addressOf(packed + 4 * columns * place, column, 4);
              const operands: Operand<"i32">[] = [c, ofColumns(words)];
              if (hasZero) operands.push(addressOf(zero, row, zeroStep));
              if (points) {
                const x = addressOf(turn ? e.workspace : from, row, k);
                const slot = f.let(i32.add(addressOf(e.workspace + turnedBytes, e.thread, slotBytes), 0));
                f.i32.store(slot, call(sumFunction(e, dotAdd === "signed"), { x, k }));
                operands.push(slot, ofColumns(words + 1));
              }
              f.call(correctFunction(e, correction), runArgs(operands, c, count));
            }
          : undefined,
    };
  };
