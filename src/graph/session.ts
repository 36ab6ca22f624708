/** A compiled model: checks inputs by name, runs the graph, gives named host tensors. */
import type { Backend, DeviceSession } from "../backends/backend.ts";
import { bytesOf, type DType, type TypedArray } from "../tensor/dtype.ts";
import {
  DeviceError,
  DisposedError,
  DTypeError,
  InputError,
  ShapeError,
  UnsupportedOpError,
} from "../tensor/errors.ts";
import { formatType, sizeOf } from "../tensor/shape.ts";
import { checkHostTensor, dtypeOfArray, type HostTensor, type HostValue, isHostTensor } from "../tensor/tensor.ts";
import { drive, driveSync, type Work } from "./drive.ts";
import type { Graph, GraphPort, ValueInfo } from "./ir.ts";
import { operatorsToRun, optimize } from "./passes/index.ts";
import { type ExecuteOptions, GraphRunner } from "./runner.ts";
import { SessionState } from "./state.ts";
import type { KernelError, Verifier } from "./verify.ts";
import { withWeights } from "./weights.ts";

/** What `run` takes for an input: a tensor, a lazy Tensor, a typed array whose shape follows from the model, a sequence. */
export type InputValue = HostTensor | TypedArray | { toHost(): Promise<HostTensor> } | readonly HostValue[] | null;
export type Inputs = Readonly<Record<string, InputValue | undefined>>;
export type Outputs = Record<string, HostTensor>;

export interface RunOptions {
  /** Stops the run between steps; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Measures each step; see `explain()`. */
  profile?: boolean;
  /** The sequence that the run reads and changes, for graphs that declare state. */
  state?: SessionState;
  /** Rows of the state that the run needs. Default: those that there are. */
  rows?: number;
}

export interface CompileOptions {
  device: Backend;
  /** Default true: fold constants and fuse. False runs the graph as it was written. */
  optimize?: boolean;
  /**
   * Nobody else uses the arrays of the graph's constants: they are freed as the device takes them over. Default: they are
   * left to their owner.
   */
  ownsWeights?: boolean;
  /** Bytes that the values of a run may take at once: a plan that needs more is refused. Default: 4 GiB. */
  memoryLimit?: number;
  /**
   * Compares every kernel with its operator's reference on the values of the first run with each combination of shapes,
   * which takes long. `explain()` tells the errors; a kernel that is off is replaced, with a warning on the console.
   */
  verify?: boolean;
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
  /** Milliseconds in the latest profiled run. */
  readonly ms?: number;
  /** The kernel's largest difference from the reference, in verified mode. */
  readonly error?: KernelError;
}

/** Optimises a graph and makes it ready to run. Plans are made on the first run with each combination of shapes. */
export async function compile(graph: Graph, options: CompileOptions): Promise<Session> {
  const { device } = options;
  const ready = options.optimize === false ? graph : optimize(graph);
  const dtypes = ready.inputs.map((p) => p.dtype).filter((t) => t !== undefined);
  await device.load?.(operatorsToRun(ready), dtypes);
  // Loaded for those who ask: most pages don't.
  const verification = options.verify ? await import("./verify.ts") : undefined;
  return new Session(ready, device, options, verification);
}

export class Session {
  /** Names, dtypes and shapes of the inputs; named dimensions are free. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  graph: Graph;
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
    { ownsWeights, memoryLimit }: Pick<CompileOptions, "ownsWeights" | "memoryLimit"> = {},
    verification?: typeof import("./verify.ts"),
  ) {
    graph = withWeights(graph, ownsWeights);
    this.graph = graph;
    this.inputs = graph.inputs.map(describe);
    this.outputs = graph.outputs.map(describe);
    this.names = new Set(graph.inputs.map((p) => p.name));
    this.store = device.open();
    this.verifier = verification && new verification.Verifier(device, this.store, (message) => console.warn(message));
    this.runner = new GraphRunner(graph, this.verifier?.backend ?? device, this.store, memoryLimit, this.verifier);
  }

  /**
   * Runs the model. Calls may overlap: they take turns.
   * @throws InputError, DTypeError, ShapeError for inputs that don't fit; ShapeError, DeviceError where values would take
   * more than the memory limit; the signal's reason when aborted
   */
  async run(inputs: Inputs, options: RunOptions = {}): Promise<Outputs> {
    const { signal, profile } = options;
    this.assertUsable();
    signal?.throwIfAborted();
    const collected = this.collect(inputs);
    const values = collected instanceof Promise ? await collected : collected;
    if (this.pending === 0 && !signal && !profile) {
      this.enter(options);
      const direct = this.runner.executeDirectly(values);
      if (direct) return this.named(direct);
    }
    return this.inTurn(() => {
      this.enter(options);
      return drive(this.execute(values, { profile, stoppable: signal !== undefined }), signal);
    });
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
    return new SessionState(state, (work) => this.inTurn(work));
  }

  /**
   * The same without a promise, where the device is this thread (`cpu`, `wasm`).
   * @throws DeviceError where the model has to wait for its device, or while a `run` is under way
   */
  runSync(inputs: Inputs, options: Omit<RunOptions, "signal"> = {}): Outputs {
    const { profile } = options;
    this.assertUsable();
    if (this.pending > 0) throw new DeviceError("runSync: a run() of this session is still under way");
    this.checkNames(inputs);
    const values = this.graph.inputs.map((port) => checkInput(port, inputs[port.name] as HostTensor | undefined));
    this.enter(options);
    const direct = profile ? undefined : this.runner.executeDirectly(values);
    return direct ? this.named(direct) : driveSync(this.execute(values, { profile }));
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

  /** Frees the device's memory. Later calls throw DisposedError. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.runner.dispose();
    this.store.dispose();
    // Who keeps the session keeps no weights.
    this.graph = { ...this.graph, nodes: [], constants: new Map() };
    this.runner = new GraphRunner(this.graph, this.device, this.store);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Runs and changes of state take turns. */
  private async inTurn<T>(work: () => T | Promise<T>): Promise<T> {
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
  }

  /** Makes the sequence of a run the one that programs work on. */
  private enter({ state, rows }: RunOptions): void {
    if (!this.graph.states?.length) return;
    if (!state) throw new InputError("run: this graph has state: pass { state }, from openState()");
    state.enter(rows);
  }

  private *execute(values: readonly HostValue[], options: ExecuteOptions): Work<Outputs> {
    return this.named(yield* this.runner.execute(values, options));
  }

  private named(results: readonly HostValue[]): Outputs {
    const outputs: Record<string, HostValue> = {};
    const { outputs: ports } = this.graph;
    for (let i = 0; i < ports.length; i++) outputs[ports[i].name] = results[i];
    return outputs as Outputs;
  }

  /** Waits only for lazy tensors. */
  private collect(inputs: Inputs): HostValue[] | Promise<HostValue[]> {
    this.checkNames(inputs);
    const given = this.graph.inputs.map((port) => inputs[port.name]);
    const check = (all: readonly InputValue[]): HostValue[] =>
      this.graph.inputs.map((port, i) => checkInput(port, all[i] as HostTensor | undefined));
    if (!given.some(isLazy)) return check(given as InputValue[]);
    return Promise.all(given.map((v) => (isLazy(v) ? v.toHost() : (v as InputValue)))).then(check);
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

  private assertUsable(): void {
    if (this.disposed) throw new DisposedError("this session was disposed");
  }
}

const isLazy = (v: InputValue | undefined): v is { toHost(): Promise<HostTensor> } =>
  typeof v === "object" && v !== null && "toHost" in v;

const describe = ({ name, dtype, shape }: GraphPort): ValueInfo => ({ name, dtype, shape });

/** An input as a host value, checked against what the model declares. */
function checkInput(port: GraphPort, v: HostValue | TypedArray | undefined): HostValue {
  const who = `input "${port.name}"`;
  if (v === undefined || (v === null && port.dtype)) {
    if (port.default) return port.default;
    throw new InputError(`${who} (${declared(port)}) is missing`);
  }
  if (!port.dtype) return v as HostValue;
  const t = ArrayBuffer.isView(v) ? fromArray(port, v as TypedArray, who) : v;
  if (!isHostTensor(t as HostValue) || typeof t !== "object")
    throw new InputError(`${who} takes a tensor, a typed array or { dtype, shape, data }`);
  const tensor = checkHostTensor(t as HostTensor, who);
  if (tensor.dtype !== port.dtype)
    throw new DTypeError(`${who} is ${declared(port)}, got ${formatType(tensor)}`, { types: [formatType(tensor)] });
  const { shape } = port;
  if (
    shape &&
    (shape.length !== tensor.shape.length || shape.some((d, i) => typeof d === "number" && d !== tensor.shape[i]))
  )
    throw new ShapeError(`${who} is ${declared(port)}, got ${formatType(tensor)}`, { types: [formatType(tensor)] });
  return tensor;
}

const declared = ({ dtype, shape }: ValueInfo): string => `${dtype ?? "any"}${shape ? `[${shape.join(",")}]` : ""}`;

/**
 * A bare typed array takes the declared shape; one free dimension is worked out from the length. Where the batch is free
 * as well, the array is a batch of one.
 */
function fromArray(port: GraphPort, data: TypedArray, who: string): HostTensor {
  const dtype = port.dtype as DType;
  const given = dtypeOfArray(data);
  // f16, bool and the like have no array of their own: checkHostTensor compares the kind of array.
  if (given !== dtype && (dtype === "f32" || dtype === "f64"))
    throw new DTypeError(`${who} is ${declared(port)}, got a ${Object.prototype.toString.call(data).slice(8, -1)}`);
  if (!port.shape) return { dtype, shape: [data.length], data };
  const single = port.shape.filter((d) => typeof d === "string").length > 1;
  const shape = port.shape.map((d, i) => (i === 0 && single && /^batch/i.test(`${d}`) ? 1 : d));
  const free = shape.filter((d) => typeof d === "string");
  if (free.length > 1)
    throw new InputError(
      `${who} is ${declared(port)}: a bare array leaves ${free.length} dimensions open, pass { dtype, shape, data }`,
    );
  const rest = sizeOf(shape.filter((d) => typeof d === "number"));
  return { dtype, shape: shape.map((d) => (typeof d === "number" ? d : rest === 0 ? 0 : data.length / rest)), data };
}
