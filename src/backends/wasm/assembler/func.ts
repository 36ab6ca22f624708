import { type Expr, i32, type Operand, operand, statements, type ValueType, type Voids } from "./expr.ts";
import type { Writer } from "./writer.ts";

export const valueTypeCode = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

export interface Local<T extends ValueType = ValueType> extends Expr<T> {
  readonly index: number;
}

export type ParamTypes = Readonly<Record<string, ValueType>>;
export type ResultType = ValueType | undefined;

/** A callable function. The parameter names only serve the builder and error messages: calls are positional. */
export interface Func<P extends ParamTypes = ParamTypes, R extends ResultType = ResultType> {
  readonly index: number;
  readonly params: P;
  readonly result: R;
}

export type Params<P extends ParamTypes> = { readonly [K in keyof P]: Local<P[K]> };
/** Call arguments by parameter name: twelve positional integers are too easy to swap. */
export type CallArgs<P extends ParamTypes> = { readonly [K in keyof P]: Operand<P[K]> };

/** A branch target: the end of a block, or the start of a loop. */
export interface Label {
  readonly depth: number;
}

/**
 * The body of one function. Instructions without a result (stores, `memory.fill`, fences) are methods here and are
 * written when called: `f.v128.store(p, value, 16)`; values are expressions (see expr.ts), consumed by statements.
 */
export class FunctionBuilder {
  private readonly hoisted = new Map<string, Local>();
  private readonly localTypes: ValueType[] = [];
  private depth = 0;
  private readonly statements: { -readonly [S in keyof Voids]?: Voids[S] } = {};

  private readonly paramCount: number;
  private readonly result: ResultType;

  /** The writers are empty, and the builder's until the body is finished. */
  constructor(
    paramCount: number,
    result: ResultType,
    private readonly code: Writer,
    private readonly prologue: Writer,
  ) {
    this.paramCount = paramCount;
    this.result = result;
  }

  // ---- instructions without a result; a function uses few kinds of them ----

  get i32(): Voids["i32"] {
    return (this.statements.i32 ??= statements("i32", this.code));
  }
  get i64(): Voids["i64"] {
    return (this.statements.i64 ??= statements("i64", this.code));
  }
  get f32(): Voids["f32"] {
    return (this.statements.f32 ??= statements("f32", this.code));
  }
  get f64(): Voids["f64"] {
    return (this.statements.f64 ??= statements("f64", this.code));
  }
  get v128(): Voids["v128"] {
    return (this.statements.v128 ??= statements("v128", this.code));
  }
  get memory(): Voids["memory"] {
    return (this.statements.memory ??= statements("memory", this.code));
  }
  get atomic(): Voids["atomic"] {
    return (this.statements.atomic ??= statements("atomic", this.code));
  }

  /** Parameters from this one on are the symbolic addresses. */
  addressesFrom(parameter: number): void {
    this.code.addressesFrom = this.prologue.addressesFrom = parameter;
  }

  // ---- locals ----

  local<T extends ValueType>(type: T): Local<T> {
    this.localTypes.push(type);
    return localAt(type, this.paramCount + this.localTypes.length - 1);
  }

  locals<T extends ValueType>(type: T, count: number): Local<T>[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /** A new local that holds the value. */
  let<T extends ValueType>(value: Expr<T>): Local<T> {
    const target = this.local(value.type);
    value.emit(this.code);
    this.indexed(0x21, target.index);
    return target;
  }

  set<T extends ValueType>(target: Local<T>, value: Operand<T>): void {
    operand(target.type, value).emit(this.code);
    this.indexed(0x21, target.index);
  }

  /**
   * A constant that is computed once, when the function is entered. Worth it for vector constants in loops: V8's newer
   * compiler builds a v128.const from three instructions wherever it is used.
   */
  hoist<T extends ValueType>(value: Expr<T>): Local<T> {
    const { prologue } = this;
    const start = prologue.length;
    value.emit(prologue);
    const key = prologue.view(start).join();
    const known = this.hoisted.get(key);
    if (known) {
      prologue.truncate(start);
      return known as Local<T>;
    }
    const target = this.local(value.type);
    this.hoisted.set(key, target);
    prologue.byte(0x21);
    prologue.u32(target.index);
    return target;
  }

  /** `target += step` for the loop counters and pointers that every kernel has. */
  increment(target: Local<"i32">, step: Operand<"i32">): void {
    this.set(target, i32.add(target, step));
  }

  drop(value: Expr): void {
    value.emit(this.code);
    this.code.byte(0x1a);
  }

  // ---- control flow ----

  /** Code that `br(exit)` leaves. */
  block(body: (exit: Label) => void): void {
    this.nested(0x02, body);
  }

  /** Code that `br(again)` restarts; it ends by itself otherwise. */
  loop(body: (again: Label) => void): void {
    this.nested(0x03, body);
  }

  if(condition: Operand<"i32">, then: (end: Label) => void, otherwise?: (end: Label) => void): void {
    operand("i32", condition).emit(this.code);
    this.nested(0x04, (end) => {
      then(end);
      if (otherwise) {
        this.code.byte(0x05);
        otherwise(end);
      }
    });
  }

  br(target: Label): void {
    this.indexed(0x0c, this.depth - target.depth);
  }

  brIf(target: Label, condition: Operand<"i32">): void {
    operand("i32", condition).emit(this.code);
    this.indexed(0x0d, this.depth - target.depth);
  }

  while(condition: Operand<"i32">, body: () => void): void {
    this.if(condition, () =>
      this.loop((again) => {
        body();
        this.brIf(again, condition);
      }),
    );
  }

  /**
   * `for (counter = from; counter < to; counter += step)`, signed. `to` and `step` are evaluated at every turn: pass
   * locals or constants. The counter holds the first value >= `to` afterwards.
   */
  forRange(
    counter: Local<"i32">,
    from: Operand<"i32">,
    to: Operand<"i32">,
    step: Operand<"i32">,
    body: () => void,
  ): void {
    this.set(counter, from);
    this.while(i32.lt_s(counter, to), () => {
      body();
      this.increment(counter, step);
    });
  }

  return(value?: Operand<ValueType>): void {
    if (this.result) operand(this.result, value as Operand<ValueType>).emit(this.code);
    this.code.byte(0x0f);
  }

  /** Calls a function without a result, or drops its result. */
  call<P extends ParamTypes>(target: Func<P>, args: CallArgs<P>): void {
    emitCall(target, args, this.code);
    if (target.result) this.code.byte(0x1a);
  }

  unreachable(): void {
    this.code.byte(0x00);
  }

  /** Writes a statement that was built elsewhere. */
  emit(statement: { emit(code: Writer): void }): void {
    statement.emit(this.code);
  }

  /** Writes the finished body: local declarations, hoisted constants, code, end. */
  finish(out: Writer): void {
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.localTypes) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    out.u32(runs.length);
    for (const { type, count } of runs) {
      out.u32(count);
      out.byte(valueTypeCode[type]);
    }
    out.append(this.prologue.view());
    out.append(this.code.view());
    out.byte(0x0b);
  }

  private nested(opcode: number, body: (label: Label) => void): void {
    this.code.byte(opcode);
    this.code.byte(0x40); // no block result: values travel in locals
    this.depth++;
    body({ depth: this.depth });
    this.depth--;
    this.code.byte(0x0b);
  }

  private indexed(opcode: number, index: number): void {
    this.code.byte(opcode);
    this.code.u32(index);
  }
}

class Variable<T extends ValueType> implements Local<T> {
  constructor(
    readonly type: T,
    readonly index: number,
  ) {}

  emit(code: Writer): void {
    code.byte(0x20);
    code.u32(this.index);
  }
}

export const localAt = <T extends ValueType>(type: T, index: number): Local<T> => new Variable(type, index);

function emitCall(target: Func, args: CallArgs<ParamTypes>, code: Writer): void {
  for (const name in target.params) {
    if (args[name] === undefined) throw new TypeError(`call: argument "${name}" is missing`);
    operand(target.params[name], args[name]).emit(code);
  }
  code.byte(0x10);
  code.u32(target.index);
}

/** The value that a call returns, as an expression. */
export function call<P extends ParamTypes, R extends ValueType>(target: Func<P, R>, args: CallArgs<P>): Expr<R> {
  return { type: target.result, emit: (code) => emitCall(target, args, code) };
}
