/** A compiled model: checks inputs by name, runs the graph, gives named host tensors. */

import type { Backend, DeviceSession } from "../backends/backend.ts";
import { DeviceTensor } from "../tensor/device-tensor.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { bytesOf, type TypedArray } from "../tensor/dtype.ts";
import { DeviceError, DisposedError, InputError, UnsupportedOpError } from "../tensor/errors.ts";
import type { OptionNames } from "../tensor/options.ts";
import { formatType, sizeOf } from "../tensor/shape.ts";
import type { AnyValue, HostTensor, HostValue } from "../tensor/tensor.ts";
import type { CompileOptions } from "./compile.ts";
import { drive, driveSync, nextTurn, type Work } from "./drive.ts";
import { checkInput, checkType, isElsewhere, isUnknown, type LazyTensor, letGo } from "./inputs.ts";
import type { Graph, GraphPort, ValueInfo } from "./ir.ts";
import type { PlanLimits } from "./plan.ts";
import { copied, type ExecuteOptions, GraphRunner } from "./runner.ts";
import { idsOf, named, type Selection, selectionOf } from "./selection.ts";
import { SessionState } from "./state.ts";
import type { KernelError, Verifier } from "./verify.ts";
import { withWeights } from "./weights.ts";

/**
 * What `run` takes for an input: a tensor, a lazy Tensor, a typed array whose shape follows from the model, a sequence, or
 * what an earlier run on the same device left there.
 */
export type InputValue = HostTensor | DeviceTensor | TypedArray | LazyTensor | readonly HostValue[] | null;
export type Inputs = Readonly<Record<string, InputValue | undefined>>;
/** What nearly every model gives. Sequences are arrays of host tensors, empty optionals null: see `run`. */
export type Outputs = Record<string, HostTensor>;
/** Of a run with `keepOnDevice`: the named outputs, or all of them. Sequences and empty optionals are on the host all the same. */
export type KeptOutputs<Name extends string = string> = Record<Name, DeviceTensor>;

export interface RunOptions<Keep extends boolean | readonly string[] = false> {
  /** Stops the run between steps; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Measures each step; see `explain()`. */
  profile?: boolean;
  /** The sequence that the run reads and changes, or several, for graphs that declare state. */
  state?: SessionState | readonly SessionState[];
  /** Rows of the state that the run needs, or of each. Default: those that there are. */
  rows?: number | readonly number[];
  /**
   * Outputs that stay in the device's memory, by name, or all of them: each is a DeviceTensor, which may be an input of
   * another run, is read by `await t.data()`, and given back by `t.dispose()`.
   */
  keepOnDevice?: Keep;
  /** The outputs to give, by name. Default: all. Others are not copied, nor read back from a GPU. */
  outputs?: readonly string[];
}

/** One step of a plan, for people and tools. */
export interface StepInfo {
  readonly node: string;
  readonly op: string;
  readonly kernel: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Bytes that the step reads and writes, weights included. */
  readonly bytes: number;
  /** Commands to the device, where that is a GPU. */
  readonly dispatches?: number;
  /** Milliseconds in the latest profiled run. Of steps that threads share as one, the first has the time of all. */
  readonly ms?: number;
  /** The kernel's largest difference from the reference, in verified mode. */
  readonly error?: KernelError;
}

/** The names of what `run` takes: the one list, as a typo is looked for in each run. */
export const runOptions: OptionNames<RunOptions> = {
  signal: true,
  profile: true,
  state: true,
  rows: true,
  keepOnDevice: true,
  outputs: true,
};

export class Session {
  /** Names, dtypes and shapes of the inputs; named dimensions are free. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  graph: Graph;
  /** @internal What plans are made with. */
  readonly limits: PlanLimits;
  private readonly store: DeviceSession;
  private runner: GraphRunner;
  private readonly verifier: Verifier | undefined;
  private readonly names: ReadonlySet<string>;
  private queue: Promise<unknown> = Promise.resolve();
  private pending = 0;
  private disposed = false;

  constructor(
    graph: Graph,
    readonly device: Backend,
    { ownsWeights, ...limits }: PlanLimits & Pick<CompileOptions, "ownsWeights"> = {},
    verification?: typeof import("./verify.ts"),
  ) {
    graph = withWeights(graph, ownsWeights);
    this.graph = graph;
    this.limits = limits;
    this.inputs = graph.inputs.map(describe);
    this.outputs = graph.outputs.map(describe);
    this.names = new Set(graph.inputs.map((p) => p.name));
    // Objects of results can't hold it as an entry like others.
    if ([...graph.inputs, ...graph.outputs].some((p) => p.name === "__proto__"))
      throw new InputError('compile: an input or output cannot be called "__proto__": rename it in the model');
    this.store = device.open();
    this.verifier = verification && new verification.Verifier(device, this.store, (message) => console.warn(message));
    this.runner = new GraphRunner(graph, this.verifier?.backend ?? device, this.store, limits, this.verifier);
  }

  /**
   * Runs the model. Calls may overlap: they take turns, each with its inputs as they were when it was called.
   * @typeParam O what the model gives, unchecked. To be told for sequences and optionals: `run<{ boxes: HostTensor[] }>(inputs)`
   * @throws InputError, DTypeError, ShapeError for inputs that don't fit; InputError for unknown options; ShapeError,
   * DeviceError where values would take more than the memory limit; DeviceError for a tensor on another device; the signal's
   * reason when aborted
   */
  async run<O extends Record<string, HostValue> = Outputs>(inputs: Inputs, options?: RunOptions): Promise<O>;
  async run<Name extends string>(
    inputs: Inputs,
    options: RunOptions<readonly Name[]>,
  ): Promise<KeptOutputs<Name> & Record<string, HostTensor | DeviceTensor>>;
  async run<O extends Record<string, AnyValue> = KeptOutputs>(
    inputs: Inputs,
    options: RunOptions<true | readonly string[]>,
  ): Promise<O>;
  async run(inputs: Inputs, options: RunOptions<boolean | readonly string[]> = {}): Promise<object> {
    let usual = !options?.signal || "throwIfAborted" in Object(options.signal);
    for (const name in options ?? "?") usual &&= Object.hasOwn(runOptions, name);
    if (!usual) (await import("./compile-options.ts")).checkRunOptions(options);
    const { signal, profile } = options;
    this.assertUsable();
    signal?.throwIfAborted();
    const selection = selectionOf(this.graph.outputs, options);
    const values: AnyValue[] = [];
    try {
      const waiting = this.collect(inputs, values);
      if (waiting) await waiting;
      this.assertUsable();
      if (this.pending === 0 && !signal && !profile) {
        this.enter(options);
        const direct = this.executeDirectly(values, selection);
        if (direct) {
          // A program that awaits nothing but runs gives the event loop no turn, and would never have the threads.
          if (this.store.starting) await nextTurn();
          return direct;
        }
      }
      // Who does not wait may write into arrays that are not read yet.
      const own = this.pending > 0 ? values.map(copied) : values;
      return await this.inTurn(async () => {
        this.enter(options);
        const stoppable = signal !== undefined;
        const work = this.execute(own, { profile, stoppable }, selection);
        const outputs = await drive(work, signal, this.assertUsable);
        if (this.store.starting) await nextTurn();
        return outputs;
      });
    } finally {
      letGo(values);
    }
  }

  /**
   * Does all that a first run does beyond computing, by running on zeros: plans, compiles shaders, uploads weights.
   * @param sizes of the free dimensions, by name
   * @throws InputError for a free dimension without a size, a size of none that there is, and for a graph with state
   */
  async warmup(sizes: Readonly<Record<string, number>> = {}): Promise<void> {
    this.assertUsable();
    if (this.graph.states?.length) throw new InputError("warmup: this graph has state: run it with one");
    const { zeros } = await import("./zeros.ts");
    await this.run(zeros(this.graph.inputs, sizes));
  }

  /**
   * Makes a plan for inputs of these shapes and does what its first run would do before it computes: of graphs whose shapes
   * follow from those of their inputs. Runs of the same shapes find it, as long as it is among the plans that are kept.
   * @throws as `run`
   */
  async plan(inputs: Inputs, { state }: Pick<RunOptions, "state"> = {}): Promise<void> {
    this.assertUsable();
    const values: AnyValue[] = [];
    try {
      await this.collect(inputs, values);
      await this.inTurn(() => {
        this.enter({ state });
        return drive(this.runner.planFor(values), undefined, this.assertUsable);
      });
    } finally {
      letGo(values);
    }
  }

  /**
   * State for one more sequence: the KV caches of a text, empty at first.
   * @throws InputError for a graph without state, UnsupportedOpError on a device that can't hold any
   */
  openState(): SessionState {
    this.assertUsable();
    const { states } = this.graph;
    if (!states?.length) throw new InputError("openState: this graph declares no state");
    const state = this.store.openState?.(states);
    if (!state) throw new UnsupportedOpError(`${this.device.name} cannot hold state`);
    return new SessionState(state, this.inTurn);
  }

  /** Whether `run` takes several states. */
  get severalStates(): boolean {
    return this.store.severalStates ?? false;
  }

  /**
   * The same without a promise, where the device is this thread (`cpu`, `wasm`). Threads that the first run starts join
   * once the event loop has had some turns.
   * @throws DeviceError where the model has to wait for its device; at the first run for weights that come from a URL or a Blob
   * when they are needed, as those of encoders and language models in GGUF; or while a `run` is under way. InputError for
   * other options and inputs
   */
  runSync<O extends Record<string, HostValue> = Outputs>(inputs: Inputs, options: Omit<RunOptions, "signal"> = {}): O {
    for (const name in options ?? "?")
      if (!Object.hasOwn(runOptions, name))
        throw new InputError("runSync: options are an object of profile, state, rows, outputs");
    const { profile } = options;
    this.assertUsable();
    if (options.keepOnDevice || (options as RunOptions).signal)
      throw new InputError("runSync: keepOnDevice and signal take run()");
    if (this.pending > 0) throw new DeviceError("runSync: a run() of this session is still under way");
    this.checkNames(inputs);
    const values = this.graph.inputs.map((port) => this.check(port, inputs[port.name]));
    const selection = selectionOf(this.graph.outputs, options);
    this.enter(options);
    const direct = profile ? undefined : this.executeDirectly(values, selection);
    return (direct ?? driveSync(this.execute(values, { profile }, selection))) as O;
  }

  /**
   * @internal A run on host tensors that is repeated with other elements in the same arrays: what can be checked once is. Given
   * the rows that it needs, it gives undefined, and has done nothing, where it takes `run`: while another one is under way.
   * @param state of this session
   */
  repeated(
    inputs: Inputs,
    state: SessionState,
    { outputs }: Pick<RunOptions, "outputs">,
  ): (rows: number) => Outputs | undefined {
    const selection = selectionOf(this.graph.outputs, { outputs });
    const wanted = idsOf(selection.wanted);
    const values = this.graph.inputs.map((port) => this.check(port, inputs[port.name]));
    return (rows) => {
      this.assertUsable();
      if (this.pending > 0 || this.store.starting || this.verifier) return undefined;
      state.enterAlone(rows);
      const results = this.runner.executeDirectly(values, wanted);
      return results && (named(this.graph.outputs, results, selection) as Outputs);
    };
  }

  /**
   * Gives back the array of an output that nobody reads any more: a later run may write its own into it. Large outputs of
   * many runs are garbage otherwise, of which engines let much accumulate.
   */
  recycle(data: TypedArray): void {
    this.store.recycle?.(data);
  }

  /** The steps of every plan made so far, with the kernel that runs each. */
  explain(): StepInfo[] {
    const rows: StepInfo[] = [];
    for (const { stage, times } of this.runner.prepared())
      stage.plan.steps.forEach((s, i) => {
        const places = [...s.inputs, ...s.outputs].filter((p) => p !== undefined);
        const bytes = places.reduce((sum, p) => sum + sizeOf(p.shape) * bytesOf(p.dtype), 0);
        rows.push({
          node: s.node,
          op: s.op.name,
          kernel: s.kernel,
          inputs: s.inputs.map((p) => (p ? formatType(p) : "")),
          outputs: s.outputs.map((p) => (p ? formatType(p) : "")),
          bytes: s.step.bytes ?? bytes,
          dispatches: s.step.dispatches,
          ms: times?.[i],
          error: this.verifier?.errorOf(stage.choices, s),
        });
      });
    return rows;
  }

  /** Bytes held on the device: packed weights and arenas. */
  get bytes(): number {
    return this.store.bytes;
  }

  /** Frees the device's memory. Later calls throw DisposedError, as do runs that are under way. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.runner.dispose();
    this.store.dispose();
    // Who keeps the session keeps no weights.
    this.graph = { ...this.graph, nodes: [], constants: new Map() };
    this.runner = new GraphRunner(this.graph, this.device, this.store);
  }

  [symbolDispose](): void {
    this.dispose();
  }

  /** Runs and changes of state take turns. */
  private readonly inTurn = async <T>(work: () => T | Promise<T>): Promise<T> => {
    const turn = this.queue;
    this.pending++;
    const result = (async () => {
      if (this.pending > 1) await turn;
      this.assertUsable();
      return await work();
    })();
    this.queue = result.catch(() => {});
    try {
      return await result;
    } finally {
      this.pending--;
    }
  };

  /** Makes the sequence of a run the one that programs work on. */
  private enter({ state, rows = 0 }: Pick<RunOptions, "state" | "rows">): void {
    if (!this.graph.states?.length) return;
    if (!state || (Array.isArray(state) && state.length === 0))
      throw new InputError("run: this graph has state: pass { state }, from openState()");
    const states: readonly SessionState[] = Array.isArray(state) ? state : [state];
    if (states.length > 1 && !this.severalStates)
      throw new UnsupportedOpError(`${this.device.name} cannot run several sequences at once`);
    const each = Array.isArray(rows) ? rows : states.map(() => rows as number);
    const active = SessionState.enter(states, each, this.inTurn);
    if (this.verifier) this.verifier.states = active;
  }

  private *execute(values: readonly AnyValue[], options: ExecuteOptions, selection: Selection): Work<object> {
    const { kept, wanted } = selection;
    const results = yield* this.runner.execute(values, { ...options, keep: idsOf(kept), wanted: idsOf(wanted) });
    return named(this.graph.outputs, results, selection);
  }

  /** The short way, where a plan fits that allows it. */
  private executeDirectly(values: readonly AnyValue[], selection: Selection): object | undefined {
    const results = this.runner.executeDirectly(values, idsOf(selection.wanted));
    return results && named(this.graph.outputs, results, selection);
  }

  /** Puts inputs into `values`, as they are now; tensors on the device there are shares. Waits only for lazy tensors. */
  private collect(inputs: Inputs, values: AnyValue[]): Promise<unknown> | undefined {
    this.checkNames(inputs);
    const { inputs: ports } = this.graph;
    let waits = false;
    for (let i = 0; i < ports.length; i++) {
      const v = inputs[ports[i].name];
      if (isUnknown(v)) waits = true;
      else {
        const value = this.check(ports[i], v);
        values[i] = value instanceof DeviceTensor ? value.share() : value;
      }
    }
    if (!waits) return undefined;
    return Promise.all(
      ports.map(async (port, i) => {
        const v = inputs[port.name];
        // Who does not wait may write into the others meanwhile.
        values[i] = isUnknown(v) ? this.check(port, await v.toHost()) : copied(values[i]);
      }),
    );
  }

  private check(port: GraphPort, v: InputValue | undefined): AnyValue {
    const value = isElsewhere(v) ? (v.host ?? v) : v;
    if (!(value instanceof DeviceTensor)) return checkInput(port, value as HostTensor | undefined);
    if (value.elements!.memory !== this.store.memory)
      throw new DeviceError(`input "${port.name}" is a tensor on another device: pass await t.toHost()`);
    checkType(port, value);
    return value;
  }

  private checkNames(inputs: Inputs): void {
    if (typeof inputs !== "object" || inputs === null)
      throw new InputError(`run: takes an object of inputs by name: ${this.inputs.map((p) => p.name).join(", ")}`);
    for (const name in inputs)
      if (!this.names.has(name))
        throw new InputError(
          `run: the model has no input "${name}"; it has ${this.inputs.map((p) => `"${p.name}"`).join(", ") || "none"}`,
        );
  }

  private readonly assertUsable = (): void => {
    if (this.disposed) throw new DisposedError("this session was disposed");
  };
}

const describe = ({ name, dtype, shape }: GraphPort): ValueInfo => ({ name, dtype, shape });
