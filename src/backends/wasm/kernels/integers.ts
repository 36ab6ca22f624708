/**
 * What the instructions of integer dtypes have in common: an `Integer` picks those of its width and sign, of vectors and
 * of single elements. Elements of 8 to 32 bits are computed with as 32, and wrap when they are stored.
 */
import { type DType, dtypes, isInteger } from "../../../tensor/dtype.ts";
import {
  type Expr,
  type FunctionBuilder,
  i8x16,
  i16x8,
  i32,
  i32x4,
  i64,
  i64x2,
  type Local,
  select,
  v128,
} from "../assembler.ts";
import type { Element } from "./vector.ts";

type V = Expr<"v128">;
/** Operands are locals. */
export type Combine = (a: V, b: V) => V;

export interface Integer {
  readonly dtype: DType;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly signed: boolean;
}

/** Undefined for what is no integer, or smaller than a byte. */
export function integerOf(dtype: DType): Integer | undefined {
  const { kind, bits } = dtypes[dtype];
  if (!isInteger(dtype) || bits < 8) return undefined;
  return { dtype, bytes: (bits / 8) as Integer["bytes"], signed: kind === "int" };
}

/** How the template of vector.ts names elements of that width. */
export const elementOf = ({ bytes }: Integer): Element => (["u8", "i16", "i32", "i64"] as const)[Math.log2(bytes)];

// ---- vectors -----------------------------------------------------------------------------------------------------

const vectors = { 1: i8x16, 2: i16x8, 4: i32x4, 8: i64x2 } as const;
export const lanesOf = ({ bytes }: Integer) => vectors[bytes];

/** Any one element, in every lane. */
export const splat = (f: FunctionBuilder, { bytes }: Integer, element: bigint): Local<"v128"> => {
  const lanes = new BigUint64Array(2);
  for (let at = 0; at < 64; at += 8 * bytes) lanes[0] |= BigInt.asUintN(8 * bytes, element) << BigInt(at);
  lanes[1] = lanes[0];
  return f.hoist(v128.const(new Uint8Array(lanes.buffer)));
};

/** There are no instructions for lanes of 64 bits without a sign: with the highest bit flipped they are in order. */
const flipped = (x: V): V => v128.xor(x, i64x2.splat(-(2n ** 63n)));

export function less({ bytes, signed }: Integer): Combine {
  if (bytes === 8) return signed ? i64x2.lt_s : (a, b) => i64x2.lt_s(flipped(a), flipped(b));
  return signed ? vectors[bytes].lt_s : vectors[bytes].lt_u;
}

export function minimum(t: Integer): Combine {
  if (t.bytes === 8) return (a, b) => v128.bitselect(a, b, less(t)(a, b));
  return t.signed ? vectors[t.bytes].min_s : vectors[t.bytes].min_u;
}

export function maximum(t: Integer): Combine {
  if (t.bytes === 8) return (a, b) => v128.bitselect(a, b, less(t)(b, a));
  return t.signed ? vectors[t.bytes].max_s : vectors[t.bytes].max_u;
}

/** Bytes are the low halves of lanes of 16 bits, and the high ones. */
const multiplyBytes: Combine = (a, b) => {
  const even = v128.and(i16x8.mul(a, b), i16x8.splat(0xff));
  return v128.or(even, i16x8.shl(i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_u(b, 8)), 8));
};
export const multiply = ({ bytes }: Integer): Combine => (bytes === 1 ? multiplyBytes : vectors[bytes].mul);

// ---- single elements ---------------------------------------------------------------------------------------------

/** i32 or i64: which of them, the dtype says, and the types here don't. */
export type Word = Expr<"i64">;
export type WordLocal = Local<"i64">;
export type Scalar = (f: FunctionBuilder, a: WordLocal, b: WordLocal) => Word;

const words = ({ bytes }: Integer): typeof i64 => (bytes === 8 ? i64 : (i32 as unknown as typeof i64));
const constant = ({ bytes }: Integer, n: number): Word =>
  bytes === 8 ? i64.const(BigInt(n)) : (i32.const(n) as unknown as Word);

export const zeroWord = (t: Integer): Word => constant(t, 0);
export const plus = (t: Integer) => words(t).add;
export const lessWord = (t: Integer) => (t.signed ? words(t).lt_s : words(t).lt_u);

export function loadWord({ bytes, signed }: Integer, at: Local<"i32">): Word {
  if (bytes === 8) return i64.load(at);
  const extended = {
    1: signed ? i32.load8_s : i32.load8_u,
    2: signed ? i32.load16_s : i32.load16_u,
    4: i32.load,
  } as const;
  return extended[bytes](at) as unknown as Word;
}

export function storeWord(f: FunctionBuilder, { bytes }: Integer, at: Local<"i32">, value: Word): void {
  if (bytes === 8) f.i64.store(at, value);
  else f.i32[({ 1: "store8", 2: "store16", 4: "store" } as const)[bytes]](at, value as unknown as Expr<"i32">);
}

/** 0 for a divisor of 0. The one quotient that overflows would trap: division by -1 is a negation, which wraps. */
export const quotient = (t: Integer): Scalar => {
  const w = words(t);
  const [zero, one] = [constant(t, 0), constant(t, 1)];
  if (!t.signed) return (_, a, b) => select(zero, w.div_u(a, select(one, b, w.eqz(b))), w.eqz(b));
  return (f, a, b) => {
    const special = f.let(w.le_u(w.add(b, one), one));
    const q = w.div_s(a, select(one, b, special));
    return select(select(zero, w.sub(zero, a), w.eqz(b)), q, special);
  };
};

/** Of the truncated division; 0 for a divisor of 0. */
export const remainder = (t: Integer): Scalar => {
  const w = words(t);
  return (_, a, b) => (t.signed ? w.rem_s : w.rem_u)(a, select(constant(t, 1), b, w.eqz(b)));
};

/** Of the floored division: it has the sign of the divisor. */
export const modulus = (t: Integer): Scalar => {
  const w = words(t);
  const zero = constant(t, 0);
  if (!t.signed) return remainder(t);
  return (f, a, b) => {
    const r = f.let(remainder(t)(f, a, b));
    const differ = i32.and(w.ne(r, zero), w.lt_s(w.xor(r, b), zero));
    return w.add(r, select(b, zero, differ));
  };
};

/** Amounts that are negative or not below the width shift everything out. */
export const shift = (t: Integer, left: boolean): Scalar => {
  const w = words(t);
  const inside = (amount: WordLocal) => w.lt_u(amount, constant(t, 8 * t.bytes));
  if (!left && t.signed) return (_, a, b) => w.shr_s(a, select(b, constant(t, t.bytes === 8 ? 63 : 31), inside(b)));
  return (_, a, b) => select((left ? w.shl : w.shr_u)(a, b), constant(t, 0), inside(b));
};

/** By squaring. Negative powers truncate: only 1 and -1 have any that are not 0. */
export const power = (t: Integer): Scalar => {
  const w = words(t);
  const [zero, one] = [constant(t, 0), constant(t, 1)];
  const odd = (e: WordLocal) => w.ne(w.and(e, one), zero);
  return (f, base, exponent) => {
    const [y, b, e] = [f.let(one), f.let(base), f.let(exponent)];
    const bits = w.ne(e, zero);
    f.while(bits, () => {
      f.set(y, w.mul(y, select(b, one, odd(e))));
      f.set(b, w.mul(b, b));
      f.set(e, w.shr_u(e, one));
    });
    if (!t.signed) return y;
    const sign = select(base, one, odd(exponent));
    const unit = w.le_u(w.add(base, one), constant(t, 2));
    const small = i32.and(unit, w.ne(base, zero));
    return select(select(sign, zero, small), y, w.lt_s(exponent, zero));
  };
};
