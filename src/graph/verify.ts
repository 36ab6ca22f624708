/**
 * Verified mode: before a plan runs for the first time, its steps run one by one on the values of that run, and each
 * combination of kernel and types that is new is compared with the operator's float64 reference. A kernel that is off is
 * refused from then on: the plan is made anew with the next variant, or the reference.
 *
 * Steps that read or change a session's state run on copies of the run's sequences, which are thrown away.
 */
import type {
  Backend,
  DeviceSession,
  DeviceState,
  Kernel,
  KernelInput,
  PlannedStep,
  Step,
} from "../backends/backend.ts";
import type { Attrs } from "../ops/op.ts";
import { toF64 } from "../tensor/convert.ts";
import { type DType, isFloat, type TypedArray } from "../tensor/dtype.ts";
import { formatType, sizeOf } from "../tensor/shape.ts";
import { type AnyValue, emptyTensor, type HostTensor, isHostTensor, type TensorType } from "../tensor/tensor.ts";
import { GraphBuilder } from "./builder.ts";
import type { Choice } from "./choose.ts";
import type { Work } from "./drive.ts";
import { inferNode } from "./infer.ts";
import { type Graph, stateValues, type ValueId } from "./ir.ts";
import { GraphRunner } from "./runner.ts";
import type { Environment } from "./shape-walk.ts";
import { loadPending } from "./weights.ts";

/** The largest difference between a kernel and its reference. */
export interface KernelError {
  readonly absolute: number;
  /** To the largest magnitude in the reference's result. */
  readonly relative: number;
}

/** Relative errors that are taken for rounding. */
const tolerances: Partial<Record<DType, number>> = { f64: 1e-9, f32: 1e-3, f16: 2 ** -7, bf16: 2 ** -4 };
/** Operators that may round their inputs to 8 bits. */
const coarse: ReadonlySet<string> = new Set(["quantizedMatmul", "matmulNBits"]);
/** Quantised results may round to the neighbour. */
const rounded: ReadonlySet<DType> = new Set(["i8", "u8", "i4", "u4"]);

type Types = readonly (KernelInput | TensorType | undefined)[];

/** Names a kernel's work: steps with the same key do the same to other values. */
function workKey(kernel: string, inputs: Types, outputs: Types, attrs: Attrs): string {
  const type = (t: Types[number]): string => (t ? formatType(t) + ("constant" in t && t.constant ? "c" : "") : "");
  const plain = JSON.stringify(attrs, (_, v) => (typeof v === "bigint" ? `${v}n` : ArrayBuffer.isView(v) ? null : v));
  return `${kernel}(${inputs.map(type)}) -> ${outputs.map(type)} ${plain}`;
}

export class Verifier<S extends Step = Step> {
  /** By `workKey`, of kernels that passed. */
  private readonly errors = new Map<string, KernelError>();
  private readonly refused = new Set<string>();
  /** The backend without the kernels that were refused. */
  readonly backend: Backend<S>;
  /** The sequences of the run that is about to be planned. */
  states: readonly DeviceState[] = [];

  /** @param warn told of every kernel that is refused */
  constructor(
    private readonly original: Backend<S>,
    private readonly device: DeviceSession<S>,
    private readonly warn: (message: string) => void,
  ) {
    this.backend = {
      ...original,
      kernels: original.kernels,
      kernelsFor: (op) => original.kernelsFor(op).map((k) => this.guarded(k)),
    };
  }

  private guarded(kernel: Kernel<S>): Kernel<S> {
    return {
      ...kernel,
      plan: (inputs, outputs, attrs) =>
        this.refused.has(workKey(kernel.name, inputs, outputs, attrs))
          ? undefined
          : kernel.plan(inputs, outputs, attrs),
    };
  }

  /** What was found of a planned step. */
  errorOf(choices: readonly Choice<S>[], { node, kernel }: PlannedStep): KernelError | undefined {
    const choice = choices.find((c) => c.node.name === node && c.kernel === kernel);
    return choice && this.errors.get(workKey(kernel, choice.inputs, choice.outputs, choice.node.attrs));
  }

  /** Runs the steps on the values of `env`. True where a kernel had to be refused: the plan is to be made anew. */
  *refusesAny(choices: readonly Choice<S>[], env: Environment, graph: Graph): Work<boolean> {
    for (const { inputs } of choices) for (const t of inputs) yield* loadPending(t?.constant);
    if (!graph.states?.length || this.states.length === 0) return yield* this.checkAll(choices, new Map(env));
    const [first, ...others] = this.states;
    const copies = this.states.map((s) => s.fork(s.rows));
    try {
      copies[0].activate(copies.slice(1));
      return yield* this.checkAll(choices, new Map(env), { graph, copies, numbers: stateValues(graph) });
    } finally {
      for (const copy of copies) copy.dispose();
      first.activate(others);
    }
  }

  /** @param values receives what the steps give */
  private *checkAll(choices: readonly Choice<S>[], values: Map<ValueId, AnyValue>, held?: HeldState): Work<boolean> {
    for (const choice of choices) {
      const { node } = choice;
      const inputs: (AnyValue | undefined)[] = [];
      let stateful = false;
      for (const [i, t] of choice.inputs.entries()) {
        const number = held?.numbers.get(node.inputs[i]!);
        stateful ||= number !== undefined;
        inputs.push(
          t && (number === undefined ? (t.constant ?? values.get(node.inputs[i]!)) : yield* contents(held!, number)),
        );
      }
      if (choice.inputs.some((t, i) => t && !isHostTensor(inputs[i]))) continue;
      const given = inputs as (HostTensor | undefined)[];
      // A reference that changes state has to do it on the device as well.
      const runs = choice.step && (stateful || !choice.fallback);
      const results = runs ? yield* this.check(choice, given, held) : reference(choice, given);
      if (!results) return true;
      node.outputs.forEach((id, i) => {
        if (results[i]) values.set(id, results[i]);
      });
    }
    return false;
  }

  /** The kernel's results, or undefined when they are wrong. */
  private *check(
    choice: Choice<S>,
    inputs: readonly (HostTensor | undefined)[],
    held: HeldState | undefined,
  ): Work<(HostTensor | undefined)[] | undefined> {
    const { node, kernel } = choice;
    const results = yield* this.runAlone(choice, inputs, held);
    const key = workKey(kernel, choice.inputs, choice.outputs, node.attrs);
    if (choice.fallback || this.errors.has(key) || node.op.random || !node.op.reference) return results;
    const want = reference(choice, inputs);
    let worst: KernelError = { absolute: 0, relative: 0 };
    let within = true;
    results.forEach((got, i) => {
      if (!got) return;
      const error = difference(got, want[i]);
      within &&= withinTolerance(node.op.name, got.dtype, error);
      if (error.relative >= worst.relative) worst = error;
    });
    if (within) {
      this.errors.set(key, worst);
      return results;
    }
    this.refused.add(key);
    this.warn(
      `${kernel} is off by ${worst.absolute} (relative ${worst.relative.toExponential(1)}) from the reference of ` +
        `${node.op.name} on ${choice.inputs.map((t) => t && formatType(t))} (node "${node.name}"): not used`,
    );
    return undefined;
  }

  private *runAlone(
    { node, kernel, fallback, inputs, outputs }: Choice<S>,
    values: readonly (HostTensor | undefined)[],
    held: HeldState | undefined,
  ): Work<(HostTensor | undefined)[]> {
    const builder = new GraphBuilder("verify");
    const data: HostTensor[] = [];
    // All states, so that each keeps its number.
    const states = held?.graph.states?.map((s) => builder.state(s.name, s));
    const stateOf = (id: ValueId | undefined): number | undefined => held?.numbers.get(id!);
    const symbols = inputs.map((t, i) => {
      if (!t) return undefined;
      const state = stateOf(node.inputs[i]);
      if (state !== undefined) return states![state];
      // Not the weight itself, which the device would take over: the reference reads it next.
      if (t.constant) return builder.constant({ dtype: t.dtype, shape: t.shape, data: t.constant.data });
      data.push(values[i]!);
      return builder.input(`x${i}`, t.dtype, t.shape);
    });
    const symbolic = builder.run(node.op, symbols, node.attrs);
    const changed = outputs.map((_, i) => stateOf(node.outputs[i]));
    outputs.forEach((t, i) => {
      if (t && changed[i] === undefined) builder.output(`y${i}`, symbolic[i]);
    });
    const kernels = fallback ? [] : this.original.kernelsFor(node.op).filter((k) => k.name === kernel);
    const only: Backend<S> = { ...this.original, kernels, kernelsFor: () => kernels };
    const runner = new GraphRunner(builder.build(), only, this.device);
    try {
      const given = (yield* runner.execute(data)) as HostTensor[];
      const results: (HostTensor | undefined)[] = [];
      for (const [i, t] of outputs.entries()) {
        const state = changed[i];
        results.push(t && (state === undefined ? given.shift() : yield* contents(held!, state)));
      }
      return results;
    } finally {
      runner.dispose();
    }
  }
}

/** Copies of a run's sequences, and which values of its graph are their state. */
interface HeldState {
  readonly graph: Graph;
  readonly copies: readonly DeviceState[];
  readonly numbers: ReadonlyMap<ValueId, number>;
}

/** A state as references take it: of several sequences side by side, where there are several. */
function* contents({ graph, copies }: HeldState, number: number): Work<HostTensor> {
  const { dtype, shape } = graph.states![number];
  const arrays: TypedArray[] = [];
  for (const copy of copies) {
    const read = copy.read(number);
    arrays.push(read instanceof Promise ? ((yield read) as TypedArray) : read);
  }
  if (arrays.length === 1) return { dtype, shape, data: arrays[0] };
  const longest = Math.max(...arrays.map((a) => a.length));
  const rest = shape.slice(1);
  const all = emptyTensor({ dtype, shape: [arrays.length, longest / sizeOf(rest), ...rest] });
  arrays.forEach((a, i) => {
    (all.data as TypedArray).set(a as never, i * longest);
  });
  return all;
}

function reference<S extends Step>({ node }: Choice<S>, inputs: readonly (HostTensor | undefined)[]): HostTensor[] {
  const operands = inputs.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t });
  const outputs = inferNode(node, operands).map(emptyTensor);
  // A state may have fewer rows than it is declared with.
  if (node.op.mutates) outputs[0] = { ...outputs[0], data: (inputs[0]!.data as TypedArray).slice() };
  node.op.reference?.(inputs, node.attrs, outputs);
  return outputs;
}

function difference(got: HostTensor, want: HostTensor): KernelError {
  const [g, w] = [toF64(got), toF64(want)];
  let absolute = 0;
  let scale = 0;
  for (let i = 0; i < w.length; i++) {
    if (Object.is(g[i], w[i]) || g[i] === w[i]) {
      if (Number.isFinite(w[i])) scale = Math.max(scale, Math.abs(w[i]));
      continue;
    }
    const d = Math.abs(g[i] - w[i]);
    // NaN on one side only, or another infinity.
    absolute = Math.max(absolute, Number.isNaN(d) ? Number.POSITIVE_INFINITY : d);
    if (Number.isFinite(w[i])) scale = Math.max(scale, Math.abs(w[i]));
  }
  return { absolute, relative: absolute === 0 ? 0 : absolute / (scale || 1) };
}

function withinTolerance(op: string, dtype: DType, { absolute, relative }: KernelError): boolean {
  if (!isFloat(dtype)) return absolute <= (rounded.has(dtype) ? 1 : 0);
  // Beside results that are all but zero every rounding looks large.
  return relative <= (coarse.has(op) ? 0.05 : (tolerances[dtype] ?? 0.1)) || absolute < 1e-7;
}
