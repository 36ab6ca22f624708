/**
 * An operator is defined once, and the definition is the public function: `softmax(x, { axis: -1 })` hands the operator
 * to the executor that its inputs belong to. There are two: lazy tensors on a device, and the graph builder.
 */
import { InputError } from "../tensor/errors.ts";
import type { HostTensor, HostValue, TensorType } from "../tensor/tensor.ts";

/** What operators take and give: a `Tensor`, or a `Symbol`ic value of a graph under construction. */
export interface Value {
  /** An `Executor` of this kind of value. */
  readonly executor: object;
}

export interface Executor<V> {
  /** Applies `op`. One value for each of its outputs. */
  run(op: OpDef, inputs: readonly (V | undefined)[], attrs: Attrs): V[];
  constant(tensor: HostTensor): V;
}

export type Attrs = Record<string, unknown>;

/** An input as the shape rule sees it. `value` is there for the inputs listed in `host`. */
export interface Operand extends TensorType {
  readonly value?: HostTensor;
}

/** A graph nested in a node (the branches of `If`, the body of `Loop`). Opaque here: src/graph gives it its meaning. */
export interface Subgraph {
  readonly inputs: readonly unknown[];
  readonly outputs: readonly unknown[];
}

/** What `evaluate` may use. Generators yield promises; a synchronous host never sees one. */
export interface EvaluateContext {
  run(graph: Subgraph, inputs: readonly HostValue[]): Generator<unknown, HostValue[]>;
  /** Bytes that the values of a run may take at once; see `HostMemory`. */
  readonly memoryLimit: number;
}

/** The erased form of a definition: what the graph and the backends work with. */
export interface OpDef {
  readonly name: string;
  /** `x` required, `bias?` optional, `...xs` any number (last). */
  readonly inputs: readonly string[];
  /** Inputs whose values the shape rule needs (a target shape, axes, pads). The public function takes numbers there. */
  readonly host?: readonly string[];
  /** Output names, or their number where attributes decide it. Default: one. */
  readonly outputs?: readonly string[] | ((attrs: never) => number);
  infer?(inputs: readonly (Operand | undefined)[], attrs: Attrs): TensorType | TensorType[];
  reference?(inputs: readonly (HostTensor | undefined)[], attrs: Attrs, outputs: readonly HostTensor[]): void;
  evaluate?(
    inputs: readonly (HostValue | undefined)[],
    attrs: Attrs,
    context: EvaluateContext,
  ): HostValue[] | Generator<unknown, HostValue[]>;
  readonly inplace?: boolean;
  readonly view?: boolean;
  readonly random?: boolean;
  readonly shapeOnly?: boolean;
  readonly states?: readonly string[];
  readonly mutates?: boolean;
}

type Tuple<I extends readonly string[], T> = I extends readonly [
  infer N extends string,
  ...infer R extends readonly string[],
]
  ? N extends `...${string}`
    ? T[]
    : N extends `${string}?`
      ? [T | undefined, ...Tuple<R, T>]
      : [T, ...Tuple<R, T>]
  : [];

type BareName<N extends string> = N extends `${infer R}?` ? R : N;
/** Numbers are taken where the operator needs the value itself: `reshape(x, [2, -1])`. */
export type HostArg = number | readonly number[];
type Arg<N extends string, H extends string, V> = BareName<N> extends H ? V | HostArg : V;

type Args<I extends readonly string[], H extends string, V> = I extends readonly [
  infer N extends string,
  ...infer R extends readonly string[],
]
  ? N extends `...${string}`
    ? V[]
    : N extends `${string}?`
      ? [] | [Arg<N, H, V> | undefined, ...Args<R, H, V>]
      : [Arg<N, H, V>, ...Args<R, H, V>]
  : [];

// Attributes may be left out only where all of them are optional.
type CallArgs<I extends readonly string[], H extends string, A, V> = object extends A
  ? Args<I, H, V> | [...Args<I, H, V>, A]
  : [...Args<I, H, V>, A];

type Results<O, V> = O extends readonly [string] ? V : O extends readonly string[] ? { [K in keyof O]: V } : V[];

/** The public function of an operator, with the definition as `.op`. */
export interface Op<I extends readonly string[] = [], H extends string = never, O = readonly ["y"], A = object> {
  <V extends Value>(...args: CallArgs<I, H, A, V>): Results<O, V>;
  readonly op: OpDef;
  /** Carries the attribute type; never set. */
  readonly attrs?: A;
}

// biome-ignore lint/suspicious/noExplicitAny: the erased form of every operator
export type AnyOp = { readonly op: OpDef; readonly attrs?: any };
export type AttrsOf<O extends AnyOp> = NonNullable<O["attrs"]>;

/** A definition as written in an operator's file. */
export interface OpSpec<I extends readonly string[], H extends readonly string[], O, A> {
  name: string;
  inputs: I;
  host?: H;
  outputs?: O;
  /**
   * Shape and dtype rule. Throws ShapeError or DTypeError. Left out only by operators whose output depends on data in
   * ways no rule can tell; those have `evaluate`.
   */
  infer?(inputs: Tuple<I, Operand>, attrs: A): TensorType | TensorType[];
  /** The ground truth: naive, accumulated in float64. `outputs` are zeroed tensors of the inferred types, one each. */
  reference?(inputs: Tuple<I, HostTensor>, attrs: A, outputs: readonly HostTensor[]): void;
  /** For operators without a shape rule: run on host values, return host values (also sequences and null). */
  evaluate?(
    inputs: Tuple<I, HostValue>,
    attrs: A,
    context: EvaluateContext,
  ): HostValue[] | Generator<unknown, HostValue[]>;
  /** Output 0 may be written over input 0 (or any input of equal size): element i depends on element i alone. */
  inplace?: boolean;
  /** Output 0 has the elements of input 0 in the same order: the planner lets them share memory. */
  view?: boolean;
  /** Without the attribute `seed` results differ from run to run: drawn on the host, between stages. */
  random?: boolean;
  /** The reference reads the types of its inputs and not their elements (`shape`, `size`): folded when types are known. */
  shapeOnly?: boolean;
  /** Inputs that may be state of a session. Kernels find out where it is at every run. */
  states?: readonly string[];
  /** Where input 0 is state, output 0 is that state, changed. Elsewhere the operator is a function like all others. */
  mutates?: boolean;
}

const optional = (name: string): boolean => name.endsWith("?");
const variadic = (name: string): boolean => name.startsWith("...");

/** Defines an operator. Pure, so that bundlers can drop the ones nobody uses. */
export function defineOp<
  const I extends readonly string[],
  A extends object = object,
  const H extends readonly string[] = readonly [],
  const O extends readonly string[] | ((attrs: never) => number) = readonly ["y"],
>(spec: OpSpec<I, H, O, A>): Op<I, H[number], O, A> {
  const op = spec as unknown as OpDef;
  const call = (...args: unknown[]): unknown => {
    const { values, attrs } = splitArguments(op, args);
    const owner = values.find(isValue);
    if (!owner) throw new InputError(`${op.name}: needs at least one tensor`, { op: op.name });
    const executor = owner.executor as unknown as Executor<Value>;
    const inputs = values.map((v, i) => toValue(op, v, i, executor));
    const results = executor.run(op, inputs, attrs);
    return Array.isArray(op.outputs ?? [""]) && (op.outputs ?? [""]).length === 1 ? results[0] : results;
  };
  return Object.assign(call, { op }) as unknown as Op<I, H[number], O, A>;
}

/** How many outputs a node of `op` has. */
export function outputCount(op: OpDef, attrs: Attrs): number {
  if (op.outputs === undefined) return 1;
  return typeof op.outputs === "function" ? op.outputs(attrs as never) : op.outputs.length;
}

/** Whether input `i` is one whose value the shape rule needs. */
export function isHostInput(op: OpDef, i: number): boolean {
  if (!op.host) return false;
  const name = op.inputs[Math.min(i, op.inputs.length - 1)];
  return op.host.includes(name.replace(/^\.\.\.|\?$/g, ""));
}

/** Throws InputError unless the number of inputs fits and the required ones are there. */
export function checkInputs(op: OpDef, inputs: readonly unknown[]): void {
  const names = op.inputs;
  const rest = names.length > 0 && variadic(names[names.length - 1]);
  if (inputs.length > names.length && !rest)
    throw new InputError(
      `${op.name}: takes at most ${names.length} inputs (${names.join(", ")}), got ${inputs.length}`,
      {
        op: op.name,
      },
    );
  names.forEach((name, i) => {
    if (!variadic(name) && !optional(name) && inputs[i] === undefined)
      throw new InputError(`${op.name}: input "${name}" is missing`, { op: op.name });
  });
}

const isValue = (v: unknown): v is Value => typeof v === "object" && v !== null && "executor" in v;

function splitArguments(op: OpDef, args: unknown[]): { values: unknown[]; attrs: Attrs } {
  const last = args[args.length - 1];
  const hasAttrs = typeof last === "object" && last !== null && !isValue(last) && !Array.isArray(last);
  const values = hasAttrs ? args.slice(0, -1) : args;
  while (values.length > 0 && values[values.length - 1] === undefined) values.pop();
  checkInputs(op, values);
  return { values, attrs: hasAttrs ? (last as Attrs) : {} };
}

function toValue(op: OpDef, v: unknown, i: number, executor: Executor<Value>): Value | undefined {
  if (v === undefined || isValue(v)) {
    if (v && v.executor !== executor)
      throw new InputError(`${op.name}: inputs belong to different devices or graphs`, { op: op.name });
    return v;
  }
  if (!isHostInput(op, i))
    throw new InputError(`${op.name}: input ${i} (${op.inputs[i]}) is not a tensor`, { op: op.name });
  const numbers = (typeof v === "number" ? [v] : v) as readonly number[];
  const whole = numbers.every(Number.isInteger);
  return executor.constant({
    dtype: whole ? "i64" : "f32",
    shape: typeof v === "number" ? [] : [numbers.length],
    data: whole ? BigInt64Array.from(numbers, BigInt) : Float32Array.from(numbers),
  });
}
