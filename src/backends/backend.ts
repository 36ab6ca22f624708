/**
 * What a backend is. It knows no graph: it offers kernels, and runs plans. A plan is a straight line of steps whose
 * shapes are all known; the session makes one for each combination of input shapes and keeps the latest few.
 */
import type { AnyOp, Attrs, AttrsOf, OpDef } from "../ops/op.ts";
import type { DeviceTensor } from "../tensor/device-tensor.ts";
import type { TypedArray } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";

/** An input as a kernel sees it when it decides whether it applies. */
export interface KernelInput extends TensorType {
  /** Its value, where it never changes: such inputs can be prepacked. */
  readonly constant?: HostTensor;
}

/** How a constant input is laid out once at compile. The original is not kept on the device. */
export interface Prepack {
  /** Which input. */
  readonly input: number;
  /** Same key, same layout: nodes that share a weight share the packed copy. */
  readonly key: string;
  /** What the packed copy looks like to the kernel. */
  readonly type: TensorType;
  /** Whether `pack` only moves f32 elements, and fills with zeros: the packed copy can then serve as the only one. */
  readonly moves?: boolean;
  /** For layouts that do more than that: gives what `pack` took, from what it made. */
  unpack?(packed: TypedArray): TypedArray;
  /**
   * Elements that `pack` may be given by themselves, and those that they become: so many of the source, or a multiple, and
   * what is left at its end, take their places in the packed copy one after the other. Missing: `pack` needs all.
   */
  readonly granule?: { readonly source: number; readonly packed: number };
  /** `pack` takes a HalfWeight's elements, and `unpack` gives these. */
  readonly stored?: boolean;
  /** Whether `pack` can be given one array as both, and then changes its layout. */
  readonly inPlace?: boolean;
  pack(source: TypedArray, packed: TypedArray): void;
}

/** Whether the packed copy of a constant can serve as its only one. */
export const isReversible = (prepack: Prepack): boolean => prepack.moves === true || prepack.unpack !== undefined;

/** The `size` elements that were packed by a reversible layout. One that `moves` packs their positions: slow, and rare. */
export function unpack(prepack: Prepack, packed: TypedArray, size: number): TypedArray {
  if (prepack.unpack) return prepack.unpack(packed);
  const { pack, type } = prepack;
  // Positions from 1 in two parts, each of which f32 holds exactly; what is 0 was filled in.
  const part = 1 << 20;
  const source = Float32Array.from({ length: size }, (_, i) => (i + 1) % part);
  const low = new Float32Array(sizeOf(type.shape));
  const high = new Float32Array(low.length);
  pack(source, low);
  for (let i = 0; i < size; i++) source[i] = Math.floor((i + 1) / part);
  pack(source, high);
  for (let i = 0; i < low.length; i++) {
    const position = low[i] + part * high[i];
    if (position > 0) source[position - 1] = packed[i] as number;
  }
  return source;
}

/** Copies of constants, by whose elements they are and by layout: "" is the plain one. */
export class Copies<T> {
  private readonly bySource = new Map<object, Map<string, T>>();

  /** @param make called the first time; receives the copies in other layouts that there are */
  get(source: object, key: string, make: (others: ReadonlyMap<string, T>) => T): T {
    let copies = this.bySource.get(source);
    if (!copies) this.bySource.set(source, (copies = new Map()));
    let copy = copies.get(key);
    if (copy === undefined) copies.set(key, (copy = make(copies)));
    return copy;
  }

  has(source: object, key: string): boolean {
    return this.bySource.get(source)?.has(key) === true;
  }

  delete(source: object, key: string): void {
    this.bySource.get(source)?.delete(key);
  }

  set(source: object, key: string, copy: T): void {
    this.bySource.get(source)?.set(key, copy);
  }

  *all(): Generator<T> {
    for (const copies of this.bySource.values()) yield* copies.values();
  }

  clear(): void {
    this.bySource.clear();
  }
}

/** What a kernel returns when it takes the job. Backends extend it by how the step runs. */
export interface Step {
  readonly workspaceBytes?: number;
  readonly prepack?: readonly Prepack[];
  /** Output 0 may be written over input 0, if that is dead afterwards and of the same size. */
  readonly inplace?: boolean;
  /** Commands to the device that it takes, where that is a GPU. */
  readonly dispatches?: number;
  /** Bytes that it moves to and from memory. Default: each operand once. */
  readonly bytes?: number;
}

export interface Kernel<S extends Step = Step> {
  readonly op: OpDef;
  /** `wasm/matmul/tile5x8`: also the profiler's row, the bench's row and the GPU's label. */
  readonly name: string;
  /**
   * Undefined: does not cover these shapes, dtypes or attributes. An output is undefined where nobody reads it.
   * Called once for each node and plan; everything that depends on shapes is computed here, not in the step.
   */
  plan(
    inputs: readonly (KernelInput | undefined)[],
    outputs: readonly (TensorType | undefined)[],
    attrs: Attrs,
  ): S | undefined;
}

/** Binds a kernel to its operator, with the attributes' type. */
export function kernel<S extends Step, O extends AnyOp>(
  op: O,
  name: string,
  plan: (inputs: readonly KernelInput[], outputs: readonly TensorType[], attrs: AttrsOf<O>) => S | undefined,
): Kernel<S> {
  return { op: op.op, name, plan: plan as Kernel<S>["plan"] };
}

/** A kernel that runs on typed arrays in this thread: `cpu`, and what `wasm` has no kernel for. */
export interface HostStep extends Step {
  /**
   * Arrays are views of exactly the planned sizes, in the operator's order; the same objects on every call.
   * Missing optional inputs and unread outputs are undefined.
   */
  run(inputs: TypedArray[], outputs: TypedArray[], workspace: ArrayBufferView): void;
}

/** `kernel` for the host: its step needs no type annotations. */
export const hostKernel = <O extends AnyOp>(
  op: O,
  name: string,
  plan: (inputs: readonly KernelInput[], outputs: readonly TensorType[], attrs: AttrsOf<O>) => HostStep | undefined,
): Kernel<HostStep> => kernel(op, name, plan);

/** Where a value of a plan lives. Exactly one of `offset`, `constant` and `state` is set. */
export interface Place extends TensorType {
  /** Bytes from the start of the plan's arena. */
  readonly offset?: number;
  /** Set with `offset`. Values of one number share their elements (views), or are never alive together. */
  readonly slot?: number;
  readonly constant?: HostTensor;
  readonly prepack?: Prepack;
  /** Number of the state that it is: where that lies, a run is told. */
  readonly state?: number;
}

export interface PlannedStep<S extends Step = Step> {
  readonly node: string;
  readonly op: OpDef;
  readonly attrs: Attrs;
  readonly kernel: string;
  readonly step: S;
  readonly inputs: readonly (Place | undefined)[];
  readonly outputs: readonly (Place | undefined)[];
  readonly workspaceOffset: number;
  /** May run at the same time as the step before it. */
  readonly beside?: boolean;
}

/** A node with its kernel, before there is memory for it. */
export interface ChosenStep<S extends Step = Step> {
  readonly node: {
    readonly op: OpDef;
    /** Numbers of values. */
    readonly inputs: readonly (number | undefined)[];
    readonly outputs: readonly number[];
  };
  /** Undefined for views. */
  readonly step: S | undefined;
  /** See `PlannedStep`: what either writes, and their workspaces, are then apart from all that the other uses. */
  readonly beside?: boolean;
}

export interface StagePlan<S extends Step = Step> {
  readonly steps: readonly PlannedStep<S>[];
  /** Written before the steps run. */
  readonly inputs: readonly Place[];
  /** Read after them. */
  readonly outputs: readonly Place[];
  readonly arenaBytes: number;
}

/** Asks a program to go step by step, so that it can be stopped or measured. */
export interface RunControl {
  /** Receives milliseconds per step. */
  readonly times?: Float64Array;
}

/** A plan made ready on a device. */
export interface Program {
  /**
   * Runs once. Yields a promise where it has to wait for the device and, with `control`, undefined between steps, where
   * the caller may stop it. Outputs are copies that belong to the caller.
   * @param inputs those on a device are in this session's `memory`
   * @param keep numbers of the outputs that may stay on the device
   * @param skip numbers of those that nobody wants: what they give may be undefined
   */
  run(
    inputs: readonly (HostTensor | DeviceTensor)[],
    control?: RunControl,
    keep?: ReadonlySet<number>,
    skip?: ReadonlySet<number>,
  ): Generator<Promise<unknown> | undefined, (HostTensor | DeviceTensor)[]>;
  /** The same at once, on devices that run in this thread. */
  runSync?(inputs: readonly HostTensor[], skip?: ReadonlySet<number>): HostTensor[];
  /** Does what its first run does before it computes. */
  prepare?(): void;
  dispose(): void;
}

/** The state of one sequence on a device: a block of memory for each state that the graph declares. */
export interface DeviceState {
  readonly bytes: number;
  /** Rows that there is room for; states with fewer in all have these. */
  readonly rows: number;
  /** Programs of the session that run from now on read and change this one, or these; see `severalStates`. */
  activate(others?: readonly DeviceState[]): void;
  /** Makes room for `rows` of the first axis, at least; what is there stays, new rows are zero. */
  reserve(rows: number): void;
  /** A copy of the first rows. */
  fork(rows: number): DeviceState;
  /** A copy of the elements of state `number` on the host. */
  read(number: number): TypedArray | Promise<TypedArray>;
  dispose(): void;
}

export interface Backend<S extends Step = Step> {
  readonly name: string;
  /** Every kernel that is loaded, in order of preference for each operator. */
  readonly kernels: readonly Kernel<S>[];
  /** In order of preference: the first whose `plan` accepts wins. */
  kernelsFor(op: OpDef): readonly Kernel<S>[];
  /** The step for an operator that no kernel covers, from its reference. Undefined where the host can't help (a GPU). */
  fallback?(
    op: OpDef,
    inputs: readonly (TensorType | undefined)[],
    outputs: readonly TensorType[],
    attrs: Attrs,
  ): S | undefined;
  /** Whether an output may take over the memory of an input that dies. Default true. */
  readonly inplace?: boolean;
  /** 16-bit floats are stored, not computed with: graphs of them compute in f32. Default false. */
  readonly widens?: boolean;
  /** It has kernels that read weights of f32 as the 16-bit floats that they are: see tensor/half-weight.ts. */
  readonly storesHalves?: boolean;
  /** Puts the steps of a stage in another order, and says which may run side by side. */
  arrange?<C extends ChosenStep<S>>(steps: readonly C[]): readonly C[];
  /** Rewrites a plan whose kernels are chosen: joins steps that run better as one. */
  refine?(plan: StagePlan<S>): StagePlan<S>;
  /**
   * Loads what graphs of these operators take beyond what is there. Called before `open`.
   * @param dtypes of the graph's inputs, and "add:i64" and "add:int" where an operator is known to compute with one
   */
  load?(ops: readonly OpDef[], dtypes: readonly string[]): Promise<void>;
  /** A store for constants and programs of one session. */
  open(): DeviceSession<S>;
}

/** What one session holds on a device. */
export interface DeviceSession<S extends Step = Step> {
  /** The memory whose tensors its programs take as they are. Missing where that is the host's. */
  readonly memory?: object;
  prepare(plan: StagePlan<S>): Program | Promise<Program>;
  /** Hears of a plan before its weights are read. */
  expect?(plan: StagePlan<S>): void;
  /** Whether a step of a plan, or the plan's outputs, will read a weight on the host. Default: always. */
  needs?(place: Place, step: PlannedStep<S> | undefined): boolean;
  /** Reads a weight that is pending and takes it over, without having all of it on the host. Undefined where it can't. */
  readInto?(place: Place, step: PlannedStep<S> | undefined): Promise<void> | undefined;
  /** Takes over a weight that has just been read, before the plan that wants it is prepared. */
  keep?(place: Place, step: PlannedStep<S> | undefined): void | Promise<void>;
  /** Takes back the array of an output, for a later run to write into. */
  recycle?(data: TypedArray): void;
  /** State of one more sequence, without rows. Missing, or undefined, on devices that can't hold any. */
  openState?(types: readonly TensorType[]): DeviceState | undefined;
  /** Whether a run can read and change the states of several sequences. Default: no. */
  readonly severalStates?: boolean;
  /** Whether threads are starting that later runs will have. They answer when the event loop has a turn. */
  readonly starting?: boolean;
  /** Bytes held: packed weights and arenas. */
  readonly bytes: number;
  dispose(): void;
}

/**
 * Kernels that belong together. `ops` are the names of their operators, separated by spaces, or what else asks for them of
 * what `load` is given as dtypes; "*": always loaded; "conv+f16": where both are asked for.
 */
export type KernelFamily<S extends Step> = readonly [ops: string, load: () => Promise<readonly Kernel<S>[]>];

/** The kernels of a backend, loaded by family when a graph has one of their operators. */
export class KernelFamilies<S extends Step> {
  private readonly loaded: (readonly Kernel<S>[])[];
  private readonly table = new Map<string, readonly Kernel<S>[]>();

  /** @param families in order of preference within each operator */
  constructor(private readonly families: readonly KernelFamily<S>[]) {
    this.loaded = families.map(() => []);
  }

  /** @param ops names of operators; default: every one */
  async load(ops?: ReadonlySet<string>): Promise<void> {
    const wanted = (names: string): boolean =>
      !ops || names.split(" ").some((name) => name === "*" || name.split("+").every((n) => ops.has(n)));
    await Promise.all(
      this.families.map(async ([names, load], i) => {
        if (this.loaded[i].length === 0 && wanted(names)) this.loaded[i] = await load();
      }),
    );
    this.table.clear();
  }

  /** Those that are loaded. */
  get kernels(): readonly Kernel<S>[] {
    return this.loaded.flat();
  }

  for({ name }: OpDef): readonly Kernel<S>[] {
    let list = this.table.get(name);
    if (!list) this.table.set(name, (list = this.kernels.filter((k) => k.op.name === name)));
    return list;
  }
}
