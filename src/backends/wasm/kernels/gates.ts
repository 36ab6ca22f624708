/**
 * tanh and sigmoid for the gates of recurrent cells, where absolute errors count: half the instructions of those in math.ts,
 * and a third with fused multiply-add. tanh is within 2^-21 of the exact result and relatively too, sigmoid within 2^-22;
 * neither leaves its range. NaN gives NaN.
 *
 * tanh(x) / x as a quotient of polynomials of x^2 up to 9.02, where tanh rounds to 1; 2^-25.5. Fitted as those of math.ts,
 * the quotient by turns of least squares with the last denominator as a weight.
 */
import { type Expr, type FunctionBuilder, f32x4, type Local } from "../assembler.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { clip, constant, type VectorFunction } from "./math.ts";

const bound = 9.02;
const numerator = [1, 0.1337971408183753, 0.003494029960721155, 2.058340609165078e-5, 1.3318970748226912e-8];
const denominator = [1, 0.4671302592931759, 0.02587105573133136, 0.0003283085325788372, 7.761977300518535e-7];

export const gateTanh =
  (fma: boolean): VectorFunction =>
  (f, x) => {
    const given = f.let(clip(-bound, bound)(f, x));
    const square = f.let(f32x4.mul(given, given));
    const quotient = f32x4.div(
      f32x4.mul(given, polynomial(f, fma, square, numerator)),
      polynomial(f, fma, square, denominator),
    );
    return clip(-1, 1)(f, quotient);
  };

/** (1 + tanh(x / 2)) / 2 */
export const gateSigmoid =
  (fma: boolean): VectorFunction =>
  (f, x) => {
    const half = constant(f, 0.5);
    return multiplyAdd(fma, gateTanh(fma)(f, f32x4.mul(x, half)), half, half);
  };

/** By Horner's rule. */
const polynomial = (f: FunctionBuilder, fma: boolean, x: Local<"v128">, c: readonly number[]): Expr<"v128"> =>
  c.map((v): Expr<"v128"> => constant(f, v)).reduceRight((sum, v) => multiplyAdd(fma, sum, x, v));
