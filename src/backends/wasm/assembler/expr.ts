import { instructionRows } from "./opcodes.ts";
import { Writer } from "./writer.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/**
 * A value that the machine computes where the expression is consumed. Expressions are trees, not registers: one that
 * is used twice is computed twice, so bind it to a local (`f.let`) unless it is a local or a constant.
 */
export interface Expr<T extends ValueType = ValueType> {
  readonly type: T;
  emit(code: Writer): void;
}

/** What an operand accepts: an expression, or a literal for the scalar types. */
export type Operand<T extends ValueType> =
  | Expr<T>
  | (T extends "i64" ? bigint : T extends "i32" | "f32" | "f64" ? number : never);

// ---- types of the generated methods ----------------------------------------------------------------------------

type Row = (typeof instructionRows)[number];
type Words<S extends string> = S extends `${infer Head} ${infer Tail}` ? [Head, ...Words<Tail>] : [S];
/** Instruction name -> signature. */
type Signatures = { [R in Row as Exclude<Words<R[2]>[number], "_">]: R[1] };
export type InstructionName = keyof Signatures;

type Arguments<W extends readonly string[]> = W extends [infer Head, ...infer Tail extends string[]]
  ? Head extends ValueType
    ? [Operand<Head>, ...Arguments<Tail>]
    : Head extends "addr"
      ? [address: Operand<"i32">, ...Arguments<Tail>, offset?: number]
      : Head extends "lane"
        ? [lane: number, ...Arguments<Tail>]
        : Head extends "bytes"
          ? [bytes: ArrayLike<number>, ...Arguments<Tail>]
          : Arguments<Tail>
  : [];
type Method<S> = S extends `${infer In} -> ${infer Out}`
  ? (...args: Arguments<Words<In>>) => Out extends ValueType ? Expr<Out> : undefined
  : never;

/** Names of instructions with a result ("value") or without ("void"). */
type NamesOf<Kind extends "value" | "void"> = {
  [N in InstructionName]: Signatures[N] extends `${string} -> void`
    ? Kind extends "void"
      ? N
      : never
    : Kind extends "value"
      ? N
      : never;
}[InstructionName];
/** `{ f32x4: { add(a, b): Expr<"v128">, ... }, ... }` */
export type Instructions<Kind extends "value" | "void"> = {
  readonly [P in NamesOf<Kind> extends `${infer Head}.${string}` ? Head : never]: {
    readonly [N in NamesOf<Kind> as N extends `${P}.${infer Rest}` ? Rest : never]: Method<Signatures[N]>;
  };
};

// ---- the instructions at run time ------------------------------------------------------------------------------

interface Instruction {
  readonly opcode: Uint8Array;
  readonly inputs: readonly string[];
  readonly result: ValueType | "void";
  /** log2 of the access width, for memory instructions. */
  readonly align: number;
}

function encodeOpcode(code: number): Uint8Array {
  const out = new Writer();
  if (code <= 0xff) {
    out.byte(code);
  } else {
    const prefix = code <= 0xffff ? code >> 8 : code >> 12;
    out.byte(prefix);
    out.u32(code <= 0xffff ? code & 0xff : code & 0xfff);
  }
  return out.toBytes();
}

/** The natural alignment of a memory instruction: `load8_s` one byte, `load32x2_u` eight, `f32.load` four. */
function naturalAlign(name: string): number {
  const width = /(?:load|store|rmw|wait)(\d+)(?:x(\d+))?/.exec(name);
  if (width) return Math.log2((Number(width[1]) * Number(width[2] ?? 1)) / 8);
  return name.startsWith("v128") ? 4 : /^[if]64/.test(name) ? 3 : 2;
}

/** Every instruction of the table by its spec name. */
export const instructions: ReadonlyMap<string, Instruction> = new Map(
  instructionRows.flatMap(([first, signature, names]) => {
    const [inputs, result] = signature.split(" -> ");
    return names
      .split(" ")
      .map((name, i): [string, Instruction] => [
        name,
        {
          opcode: encodeOpcode(first + i),
          inputs: inputs.split(" "),
          result: result as ValueType | "void",
          align: naturalAlign(name),
        },
      ])
      .filter(([name]) => name !== "_");
  }),
);

type Argument = Expr | number | bigint | ArrayLike<number> | undefined;

function constant<T extends ValueType>(type: T, opcode: number, write: (code: Writer) => void): Expr<T> {
  return {
    type,
    emit(code) {
      code.byte(opcode);
      write(code);
    },
  };
}

const i32const = (value: number): Expr<"i32"> => constant("i32", 0x41, (code) => code.s32(value));
const i64const = (value: bigint): Expr<"i64"> => constant("i64", 0x42, (code) => code.s64(value));
const f32const = (value: number): Expr<"f32"> => constant("f32", 0x43, (code) => code.f32(value));
const f64const = (value: number): Expr<"f64"> => constant("f64", 0x44, (code) => code.f64(value));

/** Turns a literal operand into an expression, and checks the type of an expression. */
export function operand<T extends ValueType>(type: T, value: Operand<T>): Expr<T>;
export function operand(type: ValueType, value: Operand<ValueType>): Expr {
  if (typeof value === "bigint") {
    if (type === "i64") return i64const(value);
  } else if (typeof value === "number") {
    if (type === "i32") return i32const(value);
    if (type === "f32") return f32const(value);
    if (type === "f64") return f64const(value);
  } else if (value?.type === type) {
    return value;
  }
  throw new TypeError(`expected ${type}, got ${typeof value === "object" ? value.type : typeof value}`);
}

/** Writes one instruction: operands in order, then opcode, then immediates. */
export function encode(name: string, args: readonly Argument[], code: Writer): void {
  const { opcode, inputs, align } = instructions.get(name)!;
  const immediates: number[] = [];
  let next = 0;
  for (const input of inputs) {
    if (input === "zero") {
      immediates.push(0);
    } else if (input === "lane") {
      immediates.push(args[next++] as number);
    } else if (input === "bytes") {
      const bytes = args[next++] as ArrayLike<number>;
      if (bytes.length !== 16) throw new RangeError(`${name}: 16 bytes expected, got ${bytes.length}`);
      immediates.push(...Array.from(bytes));
    } else {
      const type = input === "addr" ? "i32" : (input as ValueType);
      operand(type, args[next++] as Operand<typeof type>).emit(code);
    }
  }
  code.append(opcode);
  if (inputs[0] === "addr") {
    code.u32(align);
    code.u32((args[next] as number | undefined) ?? 0);
  }
  code.append(immediates);
}

/** Builds `{ namespace: { method } }` for all instructions of one kind out of one function per instruction. */
export function bindInstructions<Kind extends "value" | "void">(
  kind: Kind,
  method: (name: string, instruction: Instruction) => (...args: Argument[]) => Expr | undefined,
): Instructions<Kind> {
  const spaces: Record<string, Record<string, unknown>> = {};
  for (const [name, instruction] of instructions) {
    if ((instruction.result === "void") !== (kind === "void")) continue;
    const dot = name.indexOf(".");
    (spaces[name.slice(0, dot)] ??= {})[name.slice(dot + 1)] = method(name, instruction);
  }
  return spaces as unknown as Instructions<Kind>;
}

const pure = bindInstructions("value", (name, { result }) => (...args) => ({
  type: result as ValueType,
  emit: (code) => encode(name, args, code),
}));

/** The instructions with a result, by spec name: `f32x4.add(x, y)`, `i32.load(p, 8)`, `i32["atomic.rmw.add"](p, 1)`. */
export const i32 = { ...pure.i32, const: i32const };
export const i64 = { ...pure.i64, const: i64const };
export const f32 = { ...pure.f32, const: f32const };
export const f64 = { ...pure.f64, const: f64const };
export const { i8x16, i16x8, i32x4, i64x2, f32x4, f64x2, v128, memory } = pure;

/** `condition ? a : b`, both sides evaluated. */
export function select<T extends ValueType>(a: Expr<T>, b: Expr<T>, condition: Operand<"i32">): Expr<T> {
  return {
    type: a.type,
    emit(code) {
      a.emit(code);
      operand(a.type, b).emit(code);
      operand("i32", condition).emit(code);
      code.byte(0x1b);
    },
  };
}
