/**
 * A small typed assembler for WebAssembly: instructions by their spec names, structured control flow, bytes out.
 *
 *   const m = new ModuleBuilder();
 *   m.memory({ min: 1, export: "memory" });
 *   m.func({ name: "scale", params: { x: "i32", n: "i32", by: "f32" }, export: true }, (f, { x, n, by }) => {
 *     const factor = f.let(f32x4.splat(by));
 *     const end = f.let(i32.add(x, i32.shl(n, 2)));
 *     f.while(i32.lt_u(x, end), () => {
 *       f.v128.store(x, f32x4.mul(v128.load(x), factor));
 *       f.increment(x, 16);
 *     });
 *   });
 *   const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()));
 *
 * opcodes.ts is the instruction table, expr.ts makes typed expressions of it, func.ts has statements and control
 * flow, module.ts writes the sections, writer.ts the LEB128 numbers.
 */
export type { Expr, InstructionName, Operand, ValueType } from "./assembler/expr.ts";
export {
  f32,
  f32x4,
  f64,
  f64x2,
  i8x16,
  i16x8,
  i32,
  i32x4,
  i64,
  i64x2,
  memory,
  select,
  symbolicAddress,
  v128,
} from "./assembler/expr.ts";
export type {
  CallArgs,
  Func,
  FunctionBuilder,
  Label,
  Local,
  Params,
  ParamTypes,
  ResultType,
} from "./assembler/func.ts";
export { call } from "./assembler/func.ts";
export { type FunctionType, type MemoryLimits, ModuleBuilder } from "./assembler/module.ts";
