/**
 * Casts between numbers that elementwise-logic.ts does not have in lanes of 32 bits: one element after the other, by an
 * instruction or two each, four a turn. Floats out of range go by way of 32 bits, or 64, as ops/cast.ts says.
 */
import { cast, castLike } from "../../ops/cast.ts";
import type { AnyOp } from "../../ops/op.ts";
import { bytesOf, type DType, dtypes, isFloat } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Kernel } from "../backend.ts";
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32,
  f64,
  i32,
  i64,
  type Local,
  type ModuleBuilder,
  select,
} from "./assembler.ts";
import { addressOf, type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

/** Of the value types, the one that holds elements of a dtype. The types here don't say which. */
type Value = Expr<"f32">;
const spaces = { f32, f64, i32, i64 };
type Space = keyof typeof spaces;
const spaceOf = (dtype: DType): Space =>
  dtype === "f32" || dtype === "f64" ? dtype : bytesOf(dtype) === 8 ? "i64" : "i32";

/** A bool is 0 or 1. */
const isNumber = (dtype: DType): boolean => /^([fiu](32|64)|[iu](8|16)|bool)$/.test(dtype);
const signOf = (dtype: DType): "s" | "u" => (dtypes[dtype].kind === "int" ? "s" : "u");

/** The instruction of that name on a value. */
const apply = (space: Space, name: string, x: Value): Value =>
  (spaces[space] as unknown as Record<string, (x: Value) => Value>)[name](x);

const partOf = (dtype: DType): string => (bytesOf(dtype) < 4 ? String(8 * bytesOf(dtype)) : "");

function load(dtype: DType, at: Local<"i32">, offset: number): Value {
  const part = partOf(dtype);
  const name = part ? `load${part}_${signOf(dtype)}` : "load";
  const space = spaces[spaceOf(dtype)] as unknown as Record<string, (at: Local<"i32">, offset: number) => Value>;
  return space[name](at, offset);
}

function store(f: FunctionBuilder, dtype: DType, at: Local<"i32">, value: Value, offset: number): void {
  const space = f[spaceOf(dtype)] as unknown as Record<string, (at: Local<"i32">, v: Value, offset: number) => void>;
  space[`store${partOf(dtype)}`](at, value, offset);
}

function converted(f: FunctionBuilder, from: DType, to: DType, x: Value): Value {
  const [a, b] = [spaceOf(from), spaceOf(to)];
  if (to === "bool") {
    const { ne } = spaces[a] as unknown as { ne: (x: Value, y: number | bigint) => Value };
    return ne(x, a === "i64" ? 0n : 0);
  }
  if (isFloat(to)) {
    if (!isFloat(from)) return apply(b, `convert_${a}_${signOf(from)}`, x);
    return a === b ? x : apply(b, b === "f64" ? "promote_f32" : "demote_f64", x);
  }
  if (!isFloat(from)) {
    if (a === b) return x;
    return b === "i64" ? apply(b, `extend_i32_${signOf(from)}`, x) : apply(b, "wrap_i64", x);
  }
  if (to === "u32") {
    // By way of 64 bits: the instruction for u32 takes ten times as long for what is negative.
    const v = f.let(apply("i64", `trunc_sat_${a}_s`, x) as unknown as Expr<"i64">);
    const [least, most] = [-(2n ** 31n), 2n ** 32n - 1n];
    f.set(v, select(v, i64.const(most), i64.lt_s(v, most)));
    return i32.wrap_i64(select(v, i64.const(least), i64.gt_s(v, least))) as unknown as Value;
  }
  if (to !== "u64") return apply(b, `trunc_sat_${a}_s`, x);
  // Negative ones wrap.
  const v = f.let(x);
  const isPositive = a === "f32" ? f32.gt(v, 0) : f64.gt(v as unknown as Expr<"f64">, 0);
  return select(apply(b, `trunc_sat_${a}_u`, v), apply(b, `trunc_sat_${a}_s`, v), isPositive);
}

const params = { x: "i32", y: "i32", n: "i32" } as const;

function emitCast(m: ModuleBuilder, name: string, from: DType, to: DType): Func<typeof params, undefined> {
  return m.func({ name, params }, (f, { x, y, n }) => {
    const [width, wide] = [bytesOf(from), bytesOf(to)];
    for (const turn of [4, 1])
      f.while(i32.ge_s(n, turn), () => {
        for (let i = 0; i < turn; i++) store(f, to, y, converted(f, from, to, load(from, x, i * width)), i * wide);
        f.increment(x, turn * width);
        f.increment(y, turn * wide);
        f.increment(n, -turn);
      });
  });
}

const castKernel = (op: AnyOp): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/numbers`, ([x], [y]) => {
    const [from, to] = [x.dtype, y.dtype];
    if (!isNumber(from) || !isNumber(to) || from === to) return undefined;
    return {
      inplace: bytesOf(from) === bytesOf(to),
      work: 8 * sizeOf(y.shape),
      emit(e) {
        const name = `cast ${from} ${to}`;
        const fn = e.shared(name, (m) => emitCast(m, name, from, to));
        const share = e.share(sizeOf(y.shape), 64);
        const n = typeof share.from === "number" ? Number(share.to) - share.from : i32.sub(share.to, share.from);
        e.f.call(fn, {
          x: addressOf(e.inputs[0], share.from, bytesOf(from)),
          y: addressOf(e.outputs[0], share.from, bytesOf(to)),
          n,
        });
      },
    };
  });

export const castNumberKernels: WasmKernels = () => [castKernel(cast), castKernel(castLike)];
