/**
 * The template of elementwise kernels: a function y[i] = value(x0[i], x1[i], ...) over a run of n elements, where each
 * operand either advances or repeats one element. Elements of every type travel as four lanes of 32 bits.
 *
 *   one vector a turn      the only loop for long expressions, whose time is arithmetic
 *   four vectors a turn    before it, for short ones, whose time is the loop's own
 *
 * The last, partial vector is computed like the others (there is always memory to read past the end) and stored by lanes:
 * it may neither touch what follows nor, in place, be computed twice.
 */
import {
  type CallArgs,
  type Expr,
  type Func,
  type FunctionBuilder,
  f32,
  f32x4,
  i8x16,
  i32,
  i32x4,
  i64,
  i64x2,
  type Local,
  type Operand,
  v128,
} from "../assembler.ts";
import type { StepEmitter } from "../step.ts";

/**
 * How an element is read into, or stored from, a lane of 32 bits. `i64`: its low word. `i64 as f32`: its value. `i16` is
 * for vector-integers.ts, which only asks for the size of each.
 */
export type Element = "f32" | "i32" | "i16" | "u8" | "i8" | "bool" | "i64" | "i64 as f32";

export const bytesOfElement: Record<Element, number> = {
  f32: 4,
  i32: 4,
  i16: 2,
  u8: 1,
  i8: 1,
  bool: 1,
  i64: 8,
  "i64 as f32": 8,
};

type V = Expr<"v128">;

export interface RunOperand {
  readonly element: Element;
  /** The same element for the whole run. */
  readonly repeated: boolean;
}

export interface RunForm {
  /** Names the function: forms of the same name, operands and result are the same. */
  readonly name: string;
  readonly operands: readonly RunOperand[];
  readonly result: Element;
  /** A handful of instructions. */
  readonly short: boolean;
  /** Operands are locals. A result of type bool is a mask. */
  readonly value: (f: FunctionBuilder, operands: readonly Local<"v128">[]) => V;
}

type RunParams = Record<string, "i32">;
export type RunFunction = Func<RunParams, undefined>;

export const runParams = (operands: number): RunParams => ({
  ...Object.fromEntries(Array.from({ length: operands }, (_, i) => [`x${i}`, "i32" as const])),
  y: "i32",
  n: "i32",
});

/** Arguments of a run function. */
export const runArgs = (
  operands: readonly Operand<"i32">[],
  y: Operand<"i32">,
  n: Operand<"i32">,
): CallArgs<RunParams> => ({ ...Object.fromEntries(operands.map((x, i) => [`x${i}`, x])), y, n });

export function runFunction(e: Pick<StepEmitter, "shared">, form: RunForm): RunFunction {
  const { operands, result } = form;
  const kinds = operands.map((o) => `${o.element}${o.repeated ? "*" : ""}`);
  const name = `${form.name}(${kinds.join()}) ${result}`;
  const params = runParams(operands.length);
  return e.shared(name, (module) => module.func({ name, params }, (f, p) => emitRun(f, form, p)));
}

function emitRun(
  f: FunctionBuilder,
  { operands, result, short, value }: RunForm,
  p: Record<string, Local<"i32">>,
): void {
  const { y, n } = p;
  const repeated = operands.map((o, i) => (o.repeated ? f.let(splatElement(o.element, p[`x${i}`])) : undefined));
  const lanes = (vector: number): V =>
    value(
      f,
      operands.map((o, i) => repeated[i] ?? f.let(loadLanes(f, o.element, p[`x${i}`], vector))),
    );
  const advance = (elements: number): void => {
    operands.forEach((o, i) => {
      if (!o.repeated) f.increment(p[`x${i}`], elements * bytesOfElement[o.element]);
    });
    f.increment(y, elements * bytesOfElement[result]);
    f.increment(n, -elements);
  };
  if (short) {
    f.while(i32.ge_s(n, 16), () => {
      for (let vector = 0; vector < 4; vector++) storeLanes(f, result, y, f.let(lanes(vector)), vector);
      advance(16);
    });
  }
  f.while(i32.gt_s(n, 0), () => {
    storeUpTo(f, result, y, lanes(0), n);
    advance(4);
  });
}

/** The first byte of each lane, in the first four places. */
const lowBytes = Array.from({ length: 16 }, (_, i) => 4 * (i % 4));
const evenWords = [0, 8, 16, 24].flatMap((b) => [b, b + 1, b + 2, b + 3]);

function splatElement(element: Element, at: Expr<"i32">): V {
  switch (element) {
    case "f32":
    case "i32":
    case "i64":
      return v128.load32_splat(at);
    case "u8":
      return i32x4.splat(i32.load8_u(at));
    case "i8":
      return i32x4.splat(i32.load8_s(at));
    case "bool":
      return i32x4.splat(i32.sub(0, i32.ne(i32.load8_u(at), 0)));
    default:
      return f32x4.splat(f32.convert_i64_s(i64.load(at)));
  }
}

/** Four elements, `vector` times four after `at`. */
function loadLanes(f: FunctionBuilder, element: Element, at: Local<"i32">, vector: number): V {
  const offset = 4 * vector * bytesOfElement[element];
  switch (element) {
    case "f32":
    case "i32":
      return v128.load(at, offset);
    case "u8":
      return i32x4.extend_low_i16x8_u(v128.load8x8_u(at, offset));
    case "i8":
      return i32x4.extend_low_i16x8_s(v128.load8x8_s(at, offset));
    case "bool":
      return i32x4.ne(loadLanes(f, "u8", at, vector), i32x4.splat(0));
    case "i64":
      return i8x16.shuffle(v128.load(at, offset), v128.load(at, offset + 16), evenWords);
    default: {
      const lane = (i: number) => f32.convert_i64_s(i64.load(at, offset + 8 * i));
      return [1, 2, 3].reduce((v, i) => f32x4.replace_lane(v, i, lane(i)), f32x4.splat(lane(0)));
    }
  }
}

function storeLanes(f: FunctionBuilder, element: Element, y: Local<"i32">, four: Local<"v128">, vector: number): void {
  const bytes = bytesOfElement[element];
  const offset = 4 * vector * bytes;
  if (bytes === 4) f.v128.store(y, four, offset);
  else if (bytes === 1) f.v128.store32_lane(y, narrowed(element, four), 0, offset);
  else if (element === "i64") {
    f.v128.store(y, i64x2.extend_low_i32x4_s(four), offset);
    f.v128.store(y, i64x2.extend_high_i32x4_s(four), offset + 16);
  } else for (let i = 0; i < 4; i++) f.i64.store(y, i64.trunc_sat_f32_s(f32x4.extract_lane(four, i)), offset + 8 * i);
}

/** The low bytes of the lanes; true is 1. */
const narrowed = (element: Element, four: Local<"v128">): V =>
  i8x16.shuffle(element === "bool" ? i32x4.neg(four) : four, four, lowBytes);

/** Stores four lanes, or the first `n` of them where that is less. */
export function storeUpTo(f: FunctionBuilder, element: Element, y: Local<"i32">, value: V, n: Local<"i32">): void {
  const four = f.let(value);
  f.if(
    i32.ge_s(n, 4),
    () => storeLanes(f, element, y, four, 0),
    () => storeSome(f, element, y, four, n),
  );
}

/** The first `n` < 4 lanes. */
function storeSome(f: FunctionBuilder, element: Element, y: Local<"i32">, four: Local<"v128">, n: Local<"i32">): void {
  const bytes = bytesOfElement[element];
  const packed = bytes === 1 ? f.let(narrowed(element, four)) : four;
  for (let i = 0; i < 3; i++) {
    const store = (): void => {
      if (bytes === 1) f.v128.store8_lane(y, packed, i, i);
      else if (bytes === 4) f.v128.store32_lane(y, packed, i, 4 * i);
      else if (element === "i64") f.i64.store(y, i64.extend_i32_s(i32x4.extract_lane(packed, i)), 8 * i);
      else f.i64.store(y, i64.trunc_sat_f32_s(f32x4.extract_lane(packed, i)), 8 * i);
    };
    if (i === 0) store();
    else f.if(i32.gt_s(n, i), store);
  }
}
