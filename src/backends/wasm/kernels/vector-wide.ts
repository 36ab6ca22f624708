/** The template of vector.ts for i64: two lanes of 64 bits, and masks of 64 bits for bool. */
import {
  type Expr,
  type FunctionBuilder,
  i8x16,
  i32,
  i32x4,
  i64,
  i64x2,
  type Local,
  select,
  v128,
} from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { bytesOfElement, type Element, type RunForm, type RunFunction, runParams } from "./vector.ts";

type V = Expr<"v128">;

/** `runFunction` for operands and results that are i64 or bool. */
export function wideFunction(e: Pick<StepEmitter, "shared">, form: RunForm): RunFunction {
  const { operands, result, short } = form;
  const kinds = operands.map((o) => `${o.element}${o.repeated ? "*" : ""}`);
  const name = `wide ${form.name}(${kinds.join()}) ${result}`;
  const params = runParams(operands.length);
  return e.shared(name, (module) =>
    module.func({ name, params }, (f, p) => {
      const { y, n } = p;
      const fixed = operands.map((o, i) => (o.repeated ? f.let(splatWide(o.element, p[`x${i}`])) : undefined));
      const lanes = (vector: number): V =>
        form.value(
          f,
          operands.map((o, i) => fixed[i] ?? f.let(loadWide(o.element, p[`x${i}`], vector))),
        );
      const advance = (elements: number): void => {
        operands.forEach((o, i) => {
          if (!o.repeated) f.increment(p[`x${i}`], elements * bytesOfElement[o.element]);
        });
        f.increment(y, elements * bytesOfElement[result]);
        f.increment(n, -elements);
      };
      const vectors = short ? 4 : 1;
      f.while(i32.ge_s(n, 2 * vectors), () => {
        for (let vector = 0; vector < vectors; vector++) storeWide(f, result, y, f.let(lanes(vector)), vector);
        advance(2 * vectors);
      });
      f.while(i32.gt_s(n, 0), () => {
        const two = f.let(lanes(0));
        f.if(
          i32.ge_s(n, 2),
          () => storeWide(f, result, y, two, 0),
          () => {
            if (result === "i64") f.v128.store64_lane(y, two, 0);
            else f.i32.store8(y, i32.and(i32x4.extract_lane(two, 0), 1));
          },
        );
        advance(2);
      });
    }),
  );
}

function splatWide(element: Element, at: Expr<"i32">): V {
  if (element === "i64") return v128.load64_splat(at);
  return i32x4.splat(i32.sub(0, i32.ne(i32.load8_u(at), 0)));
}

/** Two elements, `vector` times two after `at`. */
function loadWide(element: Element, at: Local<"i32">, vector: number): V {
  if (element === "i64") return v128.load(at, 16 * vector);
  const bytes = (): V => v128.load16_splat(at, 2 * vector);
  const spread = i8x16.shuffle(bytes(), bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
  return i8x16.ne(spread, i32x4.splat(0));
}

function storeWide(f: FunctionBuilder, element: Element, y: Local<"i32">, two: Local<"v128">, vector: number): void {
  if (element === "i64") f.v128.store(y, two, 16 * vector);
  else {
    const packed = i8x16.shuffle(two, two, [0, 8, ...Array.from({ length: 14 }, () => 0)]);
    f.v128.store16_lane(y, i8x16.neg(packed), 0, 2 * vector);
  }
}

type Scalar = (f: FunctionBuilder, a: Local<"i64">, b: Local<"i64">) => Expr<"i64">;

/** There is no vector instruction for it. */
export const byLanes =
  (scalar: Scalar): RunForm["value"] =>
  (f, [a, b]) => {
    const lane = (i: number): Expr<"i64"> =>
      scalar(f, f.let(i64x2.extract_lane(a, i)), f.let(i64x2.extract_lane(b, i)));
    return i64x2.replace_lane(i64x2.splat(lane(0)), 1, lane(1));
  };

const one = (): Expr<"i64"> => i64.extend_i32_s(i32.const(1));
const zero = (): Expr<"i64"> => i64.extend_i32_s(i32.const(0));

/** 0 for a divisor of 0. The one quotient that overflows would trap: division by -1 is a negation, which wraps. */
export const quotient: Scalar = (f, a, b) => {
  const special = f.let(i64.le_u(i64.add(b, one()), one()));
  const q = i64.div_s(a, select(one(), b, special));
  return select(select(zero(), i64.sub(zero(), a), i64.eqz(b)), q, special);
};

/** Of the truncated division; 0 for a divisor of 0. */
export const remainder: Scalar = (_, a, b) => i64.rem_s(a, select(one(), b, i64.eqz(b)));

/** Of the floored division: it has the sign of the divisor. */
export const modulus: Scalar = (f, a, b) => {
  const r = f.let(remainder(f, a, b));
  const differ = i32.and(i64.ne(r, zero()), i64.lt_s(i64.xor(r, b), zero()));
  return i64.add(r, select(b, zero(), differ));
};
