/**
 * The template of vector.ts for integers of any width: vectors of as many as fit, with masks of that width for bool; and
 * one element at a time, for what no vector instruction does.
 */
import { type Expr, type FunctionBuilder, i8x16, i32, i32x4, type Local, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { type Integer, loadWord, type Scalar, storeWord, type WordLocal } from "./integers.ts";
import { bytesOfElement, type Element, type RunForm, type RunFunction, runParams } from "./vector.ts";

type V = Expr<"v128">;
type Params = Record<string, Local<"i32">>;

const vectorsATurn = 4;

/** `runFunction` for operands that are integers of one width or bool, and a result that is either. */
export const integerFunction = (e: Pick<StepEmitter, "shared">, form: RunForm): RunFunction =>
  sharedRun(e, form, "integers", emitVectors);

/** `runFunction` for operands and a result of one integer dtype, by `scalar` instead of the form's value. */
export const scalarFunction =
  (t: Integer, scalar: Scalar) =>
  (e: Pick<StepEmitter, "shared">, form: RunForm): RunFunction =>
    sharedRun(e, form, "scalars", (f, _, p) => emitScalars(f, form, p, t, scalar));

type EmitRun = (f: FunctionBuilder, form: RunForm, p: Params) => void;

function sharedRun(e: Pick<StepEmitter, "shared">, form: RunForm, template: string, emit: EmitRun): RunFunction {
  const kinds = form.operands.map((o) => `${o.element}${o.repeated ? "*" : ""}`);
  const name = `${template} ${form.name}(${kinds.join()}) ${form.result}`;
  const params = runParams(form.operands.length);
  return e.shared(name, (module) => module.func({ name, params }, (f, p) => emit(f, form, p)));
}

function advance(f: FunctionBuilder, { operands, result }: RunForm, p: Params, elements: number): void {
  operands.forEach((o, i) => {
    if (!o.repeated) f.increment(p[`x${i}`], elements * bytesOfElement[o.element]);
  });
  f.increment(p.y, elements * bytesOfElement[result]);
  f.increment(p.n, -elements);
}

function emitVectors(f: FunctionBuilder, form: RunForm, p: Params): void {
  const { operands, result } = form;
  const bytes = Math.max(...operands.map((o) => bytesOfElement[o.element]));
  const lanes = 16 / bytes;
  const fixed = operands.map((o, i) => (o.repeated ? f.let(splatAt(o.element, p[`x${i}`])) : undefined));
  const value = (vector: number): Local<"v128"> =>
    f.let(
      form.value(
        f,
        operands.map((o, i) => fixed[i] ?? f.let(loadVector(o.element, p[`x${i}`], vector, bytes))),
      ),
    );
  f.while(i32.ge_s(p.n, vectorsATurn * lanes), () => {
    for (let vector = 0; vector < vectorsATurn; vector++) storeVector(f, result, p.y, value(vector), vector, bytes);
    advance(f, form, p, vectorsATurn * lanes);
  });
  f.while(i32.gt_s(p.n, 0), () => {
    const last = value(0);
    f.if(
      i32.ge_s(p.n, lanes),
      () => storeVector(f, result, p.y, last, 0, bytes),
      () => storeFirst(f, result, p.y, last, p.n, bytes),
    );
    advance(f, form, p, lanes);
  });
}

/** By the bytes that they store. */
const storesOfLane: Readonly<Record<number, "store8_lane" | "store16_lane" | "store32_lane" | "store64_lane">> = {
  1: "store8_lane",
  2: "store16_lane",
  4: "store32_lane",
  8: "store64_lane",
};

const splats = { 1: v128.load8_splat, 2: v128.load16_splat, 4: v128.load32_splat, 8: v128.load64_splat };

function splatAt(element: Element, at: Local<"i32">): V {
  if (element === "bool") return i32x4.splat(i32.sub(0, i32.ne(i32.load8_u(at), 0)));
  return splats[bytesOfElement[element] as keyof typeof splats](at);
}

/** The vector of that number after `at`, of elements that take `bytes`; bool becomes a mask of as many. */
function loadVector(element: Element, at: Local<"i32">, vector: number, bytes: number): V {
  if (element !== "bool") return v128.load(at, 16 * vector);
  const given = (): V => v128.load(at, (16 / bytes) * vector);
  const spread = i8x16.shuffle(
    given(),
    given(),
    Array.from({ length: 16 }, (_, i) => Math.floor(i / bytes)),
  );
  return i8x16.ne(spread, i32x4.splat(0));
}

/** Of a mask, the bool of each lane in the first bytes. */
const packed = (mask: Local<"v128">, bytes: number): V =>
  i8x16.neg(
    i8x16.shuffle(
      mask,
      mask,
      Array.from({ length: 16 }, (_, i) => (i * bytes) % 16),
    ),
  );

function storeVector(
  f: FunctionBuilder,
  element: Element,
  y: Local<"i32">,
  value: Local<"v128">,
  vector: number,
  bytes: number,
): void {
  if (element !== "bool" || bytes === 1) f.v128.store(y, element === "bool" ? i8x16.neg(value) : value, 16 * vector);
  else f.v128[storesOfLane[16 / bytes]](y, packed(value, bytes), 0, (16 / bytes) * vector);
}

/** The first `n` lanes, fewer than there are. */
function storeFirst(
  f: FunctionBuilder,
  element: Element,
  y: Local<"i32">,
  value: Local<"v128">,
  n: Local<"i32">,
  bytes: number,
): void {
  const size = bytesOfElement[element];
  const rest = element === "bool" ? f.let(packed(value, bytes)) : value;
  const next = Array.from({ length: 16 }, (_, i) => (i + size) % 16);
  const at = f.let(y);
  const end = f.let(i32.add(y, i32.mul(n, size)));
  f.while(i32.lt_u(at, end), () => {
    storeLane(f, size, at, rest);
    f.set(rest, i8x16.shuffle(rest, rest, next));
    f.increment(at, size);
  });
}

/** The first lane. */
export function storeLane(f: FunctionBuilder, bytes: number, y: Local<"i32">, value: Local<"v128">): void {
  f.v128[storesOfLane[bytes]](y, value, 0);
}

function emitScalars(f: FunctionBuilder, form: RunForm, p: Params, t: Integer, scalar: Scalar): void {
  const fixed = form.operands.map((o, i) => (o.repeated ? f.let(loadWord(t, p[`x${i}`])) : undefined));
  f.while(i32.gt_s(p.n, 0), () => {
    const [a, b] = form.operands.map((_, i): WordLocal => fixed[i] ?? f.let(loadWord(t, p[`x${i}`])));
    storeWord(f, t, p.y, scalar(f, a, b));
    advance(f, form, p, 1);
  });
}
