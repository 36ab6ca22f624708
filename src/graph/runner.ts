/**
 * Runs one graph on one device: stage by stage, and on the host what no stage can hold (strings, sequences, control
 * flow, results whose shape depends on data). Branches and loop bodies are graphs with runners of their own.
 */
import type { Backend, DeviceSession, Program, StagePlan, Step } from "../backends/backend.ts";
import { type EvaluateContext, isHostInput } from "../ops/op.ts";
import { DeviceTensor } from "../tensor/device-tensor.ts";
import { ForwardpassError, UnsupportedOpError } from "../tensor/errors.ts";
import { type AnyValue, emptyTensor, type HostTensor, type HostValue, isHostTensor } from "../tensor/tensor.ts";
import { PendingWeightError, Weight } from "../tensor/weight.ts";
import { type DirectRun, directRun, unwanted } from "./direct.ts";
import type { Work } from "./drive.ts";
import { checkOutput, defaultMemoryLimit, inferNode } from "./infer.ts";
import type { Graph, Node, ValueId } from "./ir.ts";
import { lastUses, type PlanLimits, planStage, type Stage, stageFits } from "./plan.ts";
import type { Environment } from "./shape-walk.ts";
import type { Verifier } from "./verify.ts";
import { isPending, loadPending, mayLoad } from "./weights.ts";

export interface ExecuteOptions {
  /** Measures each step. */
  profile?: boolean;
  /** Goes step by step, so that the driver can stop in between. */
  stoppable?: boolean;
  /** Outputs of the graph that may stay on the device. */
  keep?: ReadonlySet<ValueId>;
  /** Outputs of the graph that are read: the others may be null. Default: all. */
  wanted?: ReadonlySet<ValueId>;
}

interface Prepared<S extends Step> {
  readonly stage: Stage<S>;
  readonly program: Program | undefined;
  readonly direct: DirectRun | undefined;
  /** Milliseconds of each step in the latest profiled run, all turns of a loop together. */
  times?: Float64Array;
}

export class GraphRunner<S extends Step = Step> {
  private readonly memoryLimit: number;
  private readonly lastUse: ReadonlyMap<ValueId, number>;
  /** By position in the graph; the most recently used first. */
  private readonly stages = new Map<number, Prepared<S>[]>();
  private readonly runners = new Map<Graph, GraphRunner<S>>();

  constructor(
    readonly graph: Graph,
    private readonly backend: Backend<S>,
    private readonly device: DeviceSession<S>,
    private readonly limits: PlanLimits = {},
    /** Checks every new plan; `backend` is its own then. */
    private readonly verifier?: Verifier<S>,
  ) {
    this.lastUse = lastUses(graph);
    this.memoryLimit = limits.memoryLimit ?? defaultMemoryLimit;
  }

  /**
   * Runs the graph. The results belong to the caller: none shares memory with an input, a constant or another result.
   * @param inputs one for each of the graph's inputs
   */
  *execute(inputs: readonly AnyValue[], options: ExecuteOptions = {}): Work<AnyValue[]> {
    if (options.profile) for (const p of this.prepared()) p.times = undefined;
    const fresh = new WeakSet<object>();
    const kept: DeviceTensor[] = [];
    let given: AnyValue[] = [];
    try {
      const results = yield* this.interpret(inputs, options, fresh, kept);
      const own = (v: HostValue): HostValue => {
        if (v === null || fresh.delete(v)) return v;
        return isHostTensor(v) ? { dtype: v.dtype, shape: v.shape, data: v.data.slice() } : v.map(own);
      };
      const owned: AnyValue[] = [];
      // A tensor on the device that is an input too, or a second output, is copied by reading it.
      for (const v of results)
        owned.push(v instanceof DeviceTensor ? (fresh.delete(v) ? v : yield* resolve(v.toHost())) : own(v));
      return (given = owned);
    } finally {
      // A run that was stopped gives nothing.
      for (const t of kept) if (!given.includes(t)) t.dispose();
    }
  }

  /**
   * @param fresh receives the tensors that this run made and nothing else holds
   * @param kept receives those on the device
   */
  private *interpret(
    inputs: readonly AnyValue[],
    options: ExecuteOptions,
    fresh?: WeakSet<object>,
    kept?: DeviceTensor[],
  ): Work<AnyValue[]> {
    const { graph, lastUse } = this;
    const { profile = false, stoppable = false, keep, wanted } = options;
    const context: EvaluateContext = {
      memoryLimit: this.memoryLimit,
      run: (g, values) => this.runNested(g as Graph, values, { profile, stoppable }),
    };
    const env = this.environment(inputs);
    // What is read after a wait, for a plan or an earlier stage: its owner may write into it meanwhile.
    let own =
      fresh &&
      ((from: number): void => {
        own = undefined;
        for (const { id } of graph.inputs) {
          const v = env.get(id);
          if (lastUse.get(id)! >= from && v) env.set(id, copied(v));
        }
      });
    // What is compared with a reference has to be here.
    if (this.verifier) yield* bringHome([...env.keys()], env);
    const { nodes } = graph;
    for (let i = 0; i < nodes.length; ) {
      if (stoppable) yield undefined;
      const prepared = yield* this.prepare(i, env, own);
      const { stage, program } = prepared;
      if (stage.end < nodes.length) own?.(stage.end);
      if (program) {
        const times = profile ? new Float64Array(stage.plan.steps.length) : undefined;
        const given = stage.inputs.map((id) => env.get(id) as HostTensor | DeviceTensor);
        const stays = keep && new Set(stage.outputs.flatMap((id, k) => (keep.has(id) ? [k] : [])));
        // An earlier stage's may be read by a later one.
        const skip = wanted && stage.end === nodes.length ? unwanted(stage.outputs, wanted) : undefined;
        const results = yield* program.run(given, times ? { times } : stoppable ? {} : undefined, stays, skip);
        if (times) prepared.times = prepared.times?.map((t, k) => t + times[k]) ?? times;
        stage.outputs.forEach((id, k) => {
          const v = results[k];
          if (!v) return;
          fresh?.add(v);
          if (v instanceof DeviceTensor) kept?.push(v);
          env.set(id, v);
        });
      }
      for (const [id, value] of stage.folded) env.set(id, value);
      if (stage.end === i) yield* this.runOnHost(nodes[i], env, context);
      const next = Math.max(stage.end, i + 1);
      // What nobody reads any more may be collected while the run goes on.
      if (next === nodes.length) break;
      for (let k = i; k < next; k++)
        for (const id of nodes[k].inputs) if (id !== undefined && lastUse.get(id)! < next) env.delete(id);
      i = next;
    }
    const results = graph.outputs.map((port) => {
      if (wanted && !wanted.has(port.id)) return null;
      return checkOutput(port, env.get(port.id) ?? graph.constants.get(port.id) ?? null);
    });
    for (const v of results) yield* loadPending(v);
    return results;
  }

  /** Makes the first stage ready for inputs like these, without computing anything. */
  *planFor(inputs: readonly AnyValue[]): Work<void> {
    const { program } = yield* this.prepare(0, this.environment(inputs));
    program?.prepare?.();
  }

  /** The same at once, by the short way, where the latest plan fits and allows it. Undefined otherwise. */
  executeDirectly(inputs: readonly AnyValue[], wanted?: ReadonlySet<ValueId>): HostValue[] | undefined {
    return this.stages.get(0)?.[0]?.direct?.(inputs, wanted);
  }

  private environment(inputs: readonly AnyValue[]): Map<ValueId, AnyValue> {
    return new Map(this.graph.inputs.map((port, i) => [port.id, inputs[i]]));
  }

  /** A branch or a loop body. */
  private *runNested(graph: Graph, inputs: readonly HostValue[], options: ExecuteOptions): Work<HostValue[]> {
    let runner = this.runners.get(graph);
    if (!runner) {
      runner = new GraphRunner(graph, this.backend, this.device, this.limits, this.verifier);
      this.runners.set(graph, runner);
    }
    // Nothing is asked to stay on the device.
    return (yield* runner.interpret(inputs, options)) as HostValue[];
  }

  /** Plans and prepared programs that exist so far, in graph order, nested graphs included. */
  *prepared(): Generator<Prepared<S>> {
    for (const list of this.stages.values()) yield* list;
    for (const runner of this.runners.values()) yield* runner.prepared();
  }

  dispose(): void {
    for (const list of this.stages.values()) for (const p of list) p.program?.dispose();
    this.stages.clear();
    for (const runner of this.runners.values()) runner.dispose();
    this.runners.clear();
  }

  /** @param beforeWait called before a plan is made */
  private *prepare(
    start: number,
    env: Map<ValueId, AnyValue>,
    beforeWait?: (start: number) => void,
  ): Work<Prepared<S>> {
    const first = this.graph.nodes[start];
    // A stage begins where a shape depends on a value: that has to be here.
    yield* bringHome(
      first.inputs.filter((_, k) => isHostInput(first.op, k)),
      env,
    );
    let list = this.stages.get(start);
    if (!list) this.stages.set(start, (list = []));
    const at = list.findIndex((p) => stageFits(p.stage, env));
    if (at === 0) return list[0];
    let prepared: Prepared<S>;
    if (at > 0) prepared = list.splice(at, 1)[0];
    else {
      beforeWait?.(start);
      const stage = yield* this.plan(start, env);
      yield* this.readWeights(stage.plan);
      const program =
        stage.plan.steps.length || stage.plan.outputs.length
          ? yield* resolve(this.device.prepare(stage.plan))
          : undefined;
      prepared = { stage, program, direct: start === 0 ? directRun(this.graph, stage, program) : undefined };
    }
    list.unshift(prepared);
    if (list.length > (this.limits.plans ?? 8)) list.pop()!.program?.dispose();
    return prepared;
  }

  /** Planning looks at few weights: where one of them is pending it is read, and planning starts again. */
  private *plan(start: number, env: Environment): Work<Stage<S>> {
    for (;;)
      try {
        const stage = planStage(this.graph, start, env, this.lastUse, this.backend, this.limits);
        if (!this.verifier || !(yield* this.verifier.refusesAny(stage.choices, env, this.graph))) return stage;
      } catch (e) {
        if (!(e instanceof PendingWeightError)) throw e;
        yield* resolve(e.elements.load());
      }
  }

  /** Weights that are pending go to the device one by one. */
  private *readWeights(plan: StagePlan<S>): Work<void> {
    const { device } = this;
    const { steps, outputs } = plan;
    device.expect?.(plan);
    const places = steps.flatMap((step) => step.inputs.map((place) => ({ step, place })));
    for (const { step, place } of [...places, ...outputs.map((place) => ({ step: undefined, place }))]) {
      const weight = place?.constant;
      if (!isPending(weight) || device.needs?.(place!, step) === false || !(yield* mayLoad(weight))) continue;
      const reading = device.readInto?.(place!, step);
      if (reading) {
        yield* resolve(reading);
        continue;
      }
      yield* resolve(weight.elements.load());
      yield* resolve(device.keep?.(place!, step));
    }
  }

  private *runOnHost(node: Node, env: Map<ValueId, AnyValue>, context: EvaluateContext): Work<void> {
    yield* bringHome(node.inputs, env);
    const inputs = node.inputs.map((id) => {
      if (id === undefined) return undefined;
      const v = env.get(id) as HostValue | undefined;
      return v === undefined ? this.graph.constants.get(id) : v;
    });
    for (const v of inputs) yield* loadPending(v);
    try {
      const results = node.op.evaluate
        ? yield* finish(node.op.evaluate(inputs, node.attrs, context))
        : reference(node, inputs, this.memoryLimit);
      node.outputs.forEach((id, k) => {
        env.set(id, results[k] ?? null);
      });
    } catch (e) {
      throw e instanceof ForwardpassError ? e.at(node.name) : e;
    }
  }
}

/** Weights, which are defaults of inputs, nobody writes into. */
export function copied(v: AnyValue): AnyValue {
  if (Array.isArray(v)) return v.map(copied) as HostValue[];
  return isHostTensor(v) && !(v instanceof Weight) ? { ...v, data: v.data.slice() } : v;
}

/** Reads back those values that are on a device. */
function* bringHome(ids: readonly (ValueId | undefined)[], env: Map<ValueId, AnyValue>): Work<void> {
  for (const id of ids) {
    const v = id === undefined ? undefined : env.get(id);
    if (v instanceof DeviceTensor) env.set(id!, v.host ?? (yield* resolve(v.toHost())));
  }
}

function* resolve<T>(v: T | Promise<T>): Work<T> {
  return v instanceof Promise ? ((yield v) as T) : v;
}

function* finish(v: HostValue[] | Generator<unknown, HostValue[]>): Work<HostValue[]> {
  return Array.isArray(v) ? v : yield* v;
}

/** One node by its reference: for strings, which have no place in an arena. */
function reference(node: Node, inputs: readonly (HostValue | undefined)[], memoryLimit: number): HostTensor[] {
  const { op } = node;
  if (op.name === "identity") return [inputs[0] as HostTensor];
  const tensors = inputs.map((v, i) => {
    if (v === undefined || isHostTensor(v)) return v;
    throw new UnsupportedOpError(
      `${op.name}: input ${i} is ${v === null ? "an empty optional" : "a sequence"}, not a tensor`,
      {
        op: op.name,
      },
    );
  });
  const types = inferNode(
    node,
    tensors.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t }),
    memoryLimit,
  );
  if (!op.reference) throw new UnsupportedOpError(`${op.name}: cannot run on the host`, { op: op.name });
  const outputs = types.map(emptyTensor);
  op.reference(tensors, node.attrs, outputs);
  return outputs;
}
