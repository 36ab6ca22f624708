import { instructionRows, namesOf } from "./opcodes.ts";
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
/** Names in full: one that begins with a dot gets the space of the one before it. */
type Full<W extends readonly string[], Space extends string = ""> = W extends [
  infer Name extends string,
  ...infer More extends string[],
]
  ? Name extends `.${string}`
    ? `${Space}${Name}` | Full<More, Space>
    : Name extends `${infer Own}.${string}`
      ? Name | Full<More, Own>
      : Full<More, Space>
  : never;
/** Instruction name -> signature. */
type Signatures = { [R in Row as Full<Words<R[2]>>]: R[1] };
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
  readonly name: string;
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

/** The instruction of that spec name. Made when it is first used: a module has a few dozen of the hundreds that there are. */
export function instructionOf(name: string): Instruction | undefined {
  const own = name.slice(name.indexOf("."));
  for (let i = 0; i < instructionRows.length; i++) {
    const row = instructionRows[i];
    const place = row[2].includes(own) ? namesOf(row[2]).indexOf(name) : -1;
    if (place < 0) continue;
    const [inputs, result] = row[1].split(" -> ");
    return {
      name,
      opcode: encodeOpcode(row[0] + place),
      inputs: inputs.split(" "),
      result: result as ValueType | "void",
      align: inputs.startsWith("addr") ? naturalAlign(name) : 0,
    };
  }
  return undefined;
}

type Argument = Expr | number | bigint | ArrayLike<number> | undefined;

/** Expressions are objects of few classes and not closures, which take twice the memory: a model has tens of thousands. */
class Constant<T extends ValueType, V> implements Expr<T> {
  constructor(
    readonly type: T,
    private readonly opcode: number,
    private readonly value: V,
    private readonly write: (code: Writer, value: V) => void,
  ) {}

  emit(code: Writer): void {
    code.byte(this.opcode);
    this.write(code, this.value);
  }
}

class Operation implements Expr {
  constructor(
    private readonly instruction: Instruction,
    private readonly args: readonly Argument[],
  ) {}

  get type(): ValueType {
    return this.instruction.result as ValueType;
  }

  emit(code: Writer): void {
    encode(this.instruction, this.args, code);
  }
}

/**
 * The address that a function gets as a parameter, as a number that kernels compute with like any other: it is so large
 * that an offset does not hide which parameter is meant. Where code is written it becomes the parameter plus the offset.
 * See `FunctionBuilder.addressesFrom`.
 */
export const symbolicAddress = (parameter: number): number => (parameter + 1) * symbolStep;
const symbolStep = 2 ** 33;
/** Below 0 for what is a number. */
const parameterOf = (value: number): number => Math.round(value / symbolStep) - 1;

const writeSigned = (code: Writer, value: number): void => code.s32(value);
const writeSigned64 = (code: Writer, value: bigint): void => code.s64(value);
const writeFloat = (code: Writer, value: number): void => code.f32(value);
const writeDouble = (code: Writer, value: number): void => code.f64(value);
function writeAddress(code: Writer, value: number): void {
  const parameter = parameterOf(value);
  if (code.addressesFrom === undefined) throw new RangeError("an address of another function");
  code.u32(code.addressesFrom + parameter);
  const offset = value - symbolicAddress(parameter);
  if (offset === 0) return;
  code.byte(0x41);
  code.s32(offset);
  code.byte(0x6a);
}

const i32const = (value: number): Expr<"i32"> =>
  parameterOf(value) >= 0
    ? new Constant("i32", 0x20, value, writeAddress)
    : new Constant("i32", 0x41, value, writeSigned);
const i64const = (value: bigint): Expr<"i64"> => new Constant("i64", 0x42, value, writeSigned64);
const f32const = (value: number): Expr<"f32"> => new Constant("f32", 0x43, value, writeFloat);
const f64const = (value: number): Expr<"f64"> => new Constant("f64", 0x44, value, writeDouble);

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

/**
 * Writes one instruction: operands in order, then opcode, then immediates. By index, as are the rows above: what an
 * iterator leaves behind for each word of each instruction would be a tenth of the garbage of loading a model.
 */
export function encode({ name, opcode, inputs, align }: Instruction, args: readonly Argument[], code: Writer): void {
  let next = 0;
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i];
    if (input === "zero") continue;
    const argument = args[next++];
    if (input === "lane" || input === "bytes") continue;
    const type = input === "addr" ? "i32" : (input as ValueType);
    operand(type, argument as Operand<typeof type>).emit(code);
  }
  code.append(opcode);
  if (inputs[0] === "addr") {
    code.u32(align);
    code.u32((args[next] as number | undefined) ?? 0);
  }
  next = 0;
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i];
    if (input === "zero") {
      code.byte(0);
      continue;
    }
    const argument = args[next++];
    if (input === "lane") code.byte(argument as number);
    if (input !== "bytes") continue;
    const bytes = argument as ArrayLike<number>;
    if (bytes.length !== 16) throw new RangeError(`${name}: 16 bytes expected, got ${bytes.length}`);
    code.append(bytes);
  }
}

/** An object whose methods are made when they are first used, for the instructions `space.*`. */
function namespaceOf(space: string, method: (instruction: Instruction) => unknown): object {
  const maker = new Proxy(
    {},
    {
      get(_, name) {
        const instruction = typeof name === "string" ? instructionOf(`${space}.${name}`) : undefined;
        if (!instruction) return undefined;
        const value = method(instruction);
        // To be replaced where a test stands in for an instruction that its host lacks.
        Object.defineProperty(methods, name, { value, configurable: true });
        return value;
      },
    },
  );
  const methods: object = Object.create(maker);
  return methods;
}

type Values = Instructions<"value">;

const values = <S extends keyof Values, More extends object>(space: S, more = {} as More): Values[S] & More =>
  Object.assign(
    namespaceOf(
      space,
      (instruction) =>
        (...args: Argument[]) =>
          new Operation(instruction, args),
    ),
    more,
  ) as Values[S] & More;

/** The instructions with a result, by spec name: `f32x4.add(x, y)`, `i32.load(p, 8)`, `i32["atomic.rmw.add"](p, 1)`. */
export const i32 = values("i32", { const: i32const });
export const i64 = values("i64", { const: i64const });
export const f32 = values("f32", { const: f32const });
export const f64 = values("f64", { const: f64const });
export const i8x16 = values("i8x16");
export const i16x8 = values("i16x8");
export const i32x4 = values("i32x4");
export const i64x2 = values("i64x2");
export const f32x4 = values("f32x4");
export const f64x2 = values("f64x2");
export const v128 = values("v128");
export const memory = values("memory");

export type Voids = Instructions<"void">;
const voids = new Map<keyof Voids, object>();

/** The instructions `space.*` without a result, written to `code` when called. */
export function statements<S extends keyof Voids>(space: S, code: Writer): Voids[S] {
  let methods = voids.get(space);
  if (!methods)
    voids.set(
      space,
      (methods = namespaceOf(
        space,
        (instruction) =>
          function (this: { code: Writer }, ...args: Argument[]) {
            encode(instruction, args, this.code);
          },
      )),
    );
  return Object.assign(Object.create(methods), { code }) as Voids[S];
}

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
