/** Programs of one session: linked modules over its linear memory. */
import { bytesOf, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DeviceError, DisposedError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { Weight } from "../../tensor/weight.ts";
import {
  Copies,
  type DeviceSession,
  type HostStep,
  isReversible,
  type Place,
  type PlannedStep,
  type Prepack,
  type Program,
  type RunControl,
  type StagePlan,
  unpack,
} from "../backend.ts";
import { DispatchState, dispatchBytes, Failure } from "./dispatch.ts";
import { type LinkedStep, link } from "./link.ts";
import { LinearMemory } from "./memory.ts";
import type { WorkerPool } from "./pool.ts";
import { stateEntryBytes, WasmState } from "./state.ts";
import { type AnyStep, isWasmStep, type WasmTarget } from "./step.ts";

/** A range of linear memory. */
interface Block {
  readonly at: number;
  readonly bytes: number;
}

/** Sessions that nobody disposed: workers let go of their programs, and with them of their memory. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<{ pool: WorkerPool; posted: ReadonlySet<number> }>(
  ({ pool, posted }) => {
    for (const id of posted) pool.remove(id);
    pool.release();
  },
);

export class WasmSession implements DeviceSession<AnyStep> {
  readonly memory: LinearMemory;
  private arena = { at: 0, bytes: 0 };
  private readonly programs = new Set<WasmProgram>();
  /** Weights, packed or as they are. */
  private readonly constants = new Copies<Block>();
  /** Addresses of constant bytes that kernels look up, by name. */
  private readonly tables = new Map<string, number>();

  /** Address of the words by which threads share steps. */
  readonly dispatch: number;
  /** Modules that were linked. */
  linked = 0;
  /** The active states, and where programs find them: see state.ts. */
  active: readonly WasmState[] = [];
  readonly severalStates = true;
  private table = { at: 0, bytes: 0 };
  /** Of one sequence in the table. */
  stateBytes = 0;
  private disposed = false;
  /** Numbers of the programs that workers know. */
  readonly posted = new Set<number>();

  constructor(
    readonly target: WasmTarget,
    readonly pool: WorkerPool | undefined,
  ) {
    this.memory = new LinearMemory(pool !== undefined);
    this.dispatch = this.memory.allocate(dispatchBytes);
    if (!pool) return;
    pool.acquire();
    forgotten.register(this, { pool, posted: this.posted }, this);
  }

  prepare(plan: StagePlan<AnyStep>): Program {
    this.growArena(plan.arenaBytes);
    const parallel = this.pool !== undefined && workOf(plan) >= this.target.parallelWork;
    const program = new WasmProgram(plan, this, parallel ? this.pool : undefined);
    this.programs.add(program);
    program.onDispose = () => this.programs.delete(program);
    return program;
  }

  keep(place: Place): void {
    this.constantAddress(place, new Copies());
  }

  openState(types: readonly TensorType[]): WasmState {
    this.stateBytes = stateEntryBytes * types.length;
    return new WasmState(this, types);
  }

  /** When it moves, programs link anew. */
  stateTable(sequences: number): number {
    const bytes = stateEntryBytes + this.stateBytes * sequences;
    if (bytes > this.table.bytes) {
      if (this.table.bytes) this.memory.release(this.table.at, this.table.bytes);
      this.table = { at: this.memory.allocate(bytes), bytes };
      for (const p of this.programs) p.unlink();
    }
    return this.table.at;
  }

  get arenaAddress(): number {
    return this.arena.at;
  }

  get bytes(): number {
    return this.memory.bytes;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const p of this.programs) p.dispose();
    this.constants.clear();
    forgotten.unregister(this);
    this.pool?.release();
    this.memory.dispose();
  }

  /**
   * Where a constant lies, packed or as it is. Copied in the first time: for the session where it is a weight, whose
   * original may go then; for the program (`own`) where planning found it.
   */
  constantAddress({ constant, prepack }: Place, own: Copies<Block>): number {
    const key = prepack?.key ?? "";
    if (!(constant instanceof Weight))
      return own.get(constant!.data as TypedArray, key, () => this.copyIn(constant!, prepack)).at;
    const { elements } = constant;
    const copy = this.constants.get(elements, key, (others) => {
      const { length } = elements.data;
      const block = this.copyIn(constant, prepack);
      const view = (type: TensorType): TypedArray => {
        if (this.disposed) throw new DisposedError("this session was disposed, and its weights with it");
        return viewOf(type.dtype, this.memory.memory.buffer, block.at, sizeOf(type.shape));
      };
      // Not the view itself: memory that grows takes views away.
      if (!prepack) elements.handOver(() => view(constant).slice());
      else if (isReversible(prepack) && !others.has(""))
        elements.handOver(() => unpack(prepack, view(prepack.type), length));
      return block;
    });
    return copy.at;
  }

  /** Where constant bytes of kernels are. */
  tableAddress(name: string, make: () => Uint8Array): number {
    let at = this.tables.get(name);
    if (at === undefined) {
      const bytes = make();
      this.tables.set(name, (at = this.memory.allocate(bytes.length)));
      new Uint8Array(this.memory.memory.buffer).set(bytes, at);
    }
    return at;
  }

  private copyIn(constant: HostTensor, prepack: Prepack | undefined): Block {
    const type = prepack?.type ?? constant;
    const size = sizeOf(type.shape);
    const bytes = Math.max(1, size) * bytesOf(type.dtype);
    const at = this.memory.allocate(bytes);
    const source = constant.data as TypedArray;
    const target = viewOf(type.dtype, this.memory.memory.buffer, at, size);
    if (prepack) prepack.pack(source, target);
    else target.set(source as never);
    return { at, bytes };
  }

  /** All programs share one arena: they never run at the same time. When it moves they link anew. */
  private growArena(bytes: number): void {
    if (bytes <= this.arena.bytes) return;
    this.memory.release(this.arena.at, this.arena.bytes);
    this.arena = { at: this.memory.allocate(bytes), bytes };
    for (const p of this.programs) p.unlink();
  }
}

/** A rough count: a step's own, or the elements that it reads and writes. */
function workOf(plan: StagePlan<AnyStep>): number {
  return plan.steps.reduce((sum, s) => {
    if (!isWasmStep(s.step)) return sum;
    const elements = [...s.inputs, ...s.outputs].reduce((n, p) => n + (p ? sizeOf(p.shape) : 0), 0);
    return sum + (s.step.work ?? elements);
  }, 0);
}

/** Milliseconds that a worker has to leave a step after another thread failed. */
const endTimeout = 10_000;

type Run = (thread: number, from: number, to: number) => void;

/** A browser's main thread may not sleep. Workers and servers may. */
const mainMayWait = typeof window === "undefined";

/** Kernels stop by `unreachable` at an index that would lead out of their memory. Other traps are their own fault. */
function trapped(e: unknown): unknown {
  if (!(e instanceof WebAssembly.RuntimeError)) return e;
  return /unreachable/i.test(e.message)
    ? refused(e)
    : new DeviceError(`wasm: a kernel crashed: ${e.message}`, { cause: e });
}

const refused = (cause?: unknown): InputError =>
  new InputError("wasm: an index or position is outside of its tensor", { cause });

/** A value that goes in or out of a program, in its memory. */
export interface PlacedValue extends TensorType {
  readonly at: number;
}

/** A program with all it needs, apart from the session that made it. */
export interface ProgramImage {
  /** A module that imports `env.memory` and exports `run(0, 0, steps)`. */
  readonly module: Uint8Array<ArrayBuffer>;
  readonly steps: number;
  /** What memory holds before the first run: weights, from this address on. */
  readonly data: Uint8Array<ArrayBuffer>;
  readonly dataAt: number;
  readonly pages: number;
  readonly inputs: readonly PlacedValue[];
  readonly outputs: readonly PlacedValue[];
}

/** A plan as an image for one thread. All its steps have to be wasm's own. */
export function imageOf(plan: StagePlan<AnyStep>, target: WasmTarget): ProgramImage {
  const session = new WasmSession({ ...target, threads: 1 }, undefined);
  try {
    return (session.prepare(plan) as WasmProgram).image();
  } finally {
    session.dispose();
  }
}

class WasmProgram implements Program {
  onDispose: (() => void) | undefined;
  private run_: Run | undefined;
  /** Threads that it was linked for. */
  private threads = 1;
  /** Of the linked module, in the session. */
  private number = 0;
  /** The program's number in the pool. */
  private id: number | undefined;
  private inputs: TypedArray[] = [];
  private outputs: TypedArray[] = [];
  private hostSteps: (() => void)[] = [];
  /** The buffer that the views are made on: growing memory makes another. */
  private viewed: ArrayBufferLike | undefined;
  /** Where the state was, where host steps have views of it. */
  private viewedState: readonly number[] | undefined;
  private readonly viewsState: boolean;
  /** Constants that planning found. */
  private readonly constants = new Copies<Block>();

  constructor(
    private readonly plan: StagePlan<AnyStep>,
    private readonly session: WasmSession,
    private readonly pool: WorkerPool | undefined,
  ) {
    this.viewsState = plan.steps.some((s) => !isWasmStep(s.step) && s.inputs.some((p) => p?.state !== undefined));
  }

  *run(inputs: readonly HostTensor[], control?: RunControl): Generator<undefined, HostTensor[]> {
    if (!control) return this.runSync(inputs);
    const run = this.begin(inputs);
    for (let i = 0; i < this.plan.steps.length; i++) {
      if (i > 0) yield undefined;
      const before = performance.now();
      this.execute(run, i, i + 1);
      if (control.times) control.times[i] = performance.now() - before;
    }
    return this.results();
  }

  runSync(inputs: readonly HostTensor[]): HostTensor[] {
    const run = this.begin(inputs);
    this.execute(run, 0, this.plan.steps.length);
    return this.results();
  }

  private begin(inputs: readonly HostTensor[]): Run {
    const run = this.linked();
    const { memory, active } = this.session;
    if (this.viewsState && active.length > 1)
      throw new UnsupportedOpError("wasm: these caches have no kernel that serves several sequences in a run");
    if (this.viewed !== memory.memory.buffer || (this.viewsState && this.viewedState !== active[0]?.blocks))
      this.makeViews();
    for (let i = 0; i < inputs.length; i++) this.inputs[i].set(inputs[i].data as never);
    return run;
  }

  private results(): HostTensor[] {
    return this.plan.outputs.map(({ dtype, shape }, i) => ({ dtype, shape, data: this.outputs[i].slice() }));
  }

  dispose(): void {
    this.unlink();
    for (const { at, bytes } of this.constants.all()) this.session.memory.release(at, bytes);
    this.constants.clear();
    this.onDispose?.();
  }

  unlink(): void {
    if (this.id !== undefined) {
      this.pool?.remove(this.id);
      this.session.posted.delete(this.id);
    }
    this.id = undefined;
    this.run_ = undefined;
    this.viewed = undefined;
  }

  /** Steps [from, to) on all threads. */
  private execute(run: Run, from: number, to: number): void {
    const { pool, session } = this;
    if (!pool || this.id === undefined) {
      try {
        run(0, from, to);
      } catch (e) {
        throw trapped(e);
      }
      return;
    }
    const dispatch = new DispatchState(session.memory.memory, session.dispatch);
    dispatch.begin(this.number);
    pool.begin(this.id);
    try {
      run(0, from, to);
      const { failure } = dispatch;
      if (failure === Failure.Refused) throw refused();
      if (failure) throw new DeviceError("wasm: a worker thread failed or did not answer");
    } catch (e) {
      if (!dispatch.recover(performance.now() + endTimeout)) pool.fail("a worker thread does not end");
      throw trapped(e);
    }
  }

  /**
   * The linked program. Threads take longer to start than a small model to run, so they start with the first plan that
   * has work for them, and its first runs go without.
   */
  private linked(): Run {
    const { pool } = this;
    if (pool && !pool.started) pool.startInBackground();
    const threads = pool?.started ? pool.threads : 1;
    if (this.run_ && this.threads === threads) return this.run_;
    this.unlink();
    this.threads = threads;
    return this.link();
  }

  /** The memory of a session is the arena, then what never changes. */
  image(): ProgramImage {
    const { session, plan } = this;
    const module = this.emit();
    const place = (p: Place): PlacedValue => ({
      dtype: p.dtype,
      shape: p.shape,
      at: p.constant ? session.constantAddress(p, this.constants) : session.arenaAddress + p.offset!,
    });
    const [inputs, outputs] = [plan.inputs.map(place), plan.outputs.map(place)];
    const { buffer } = session.memory.memory;
    const dataAt = session.arenaAddress + plan.arenaBytes;
    const data = new Uint8Array(buffer as ArrayBuffer).slice(dataAt, session.memory.end);
    return { module, steps: plan.steps.length, inputs, outputs, data, dataAt, pages: buffer.byteLength / 65536 };
  }

  /** The linked module, with addresses in the session's memory. */
  private emit(): Uint8Array<ArrayBuffer> {
    const { session, plan } = this;
    const { memory } = session;
    const address = (p: Place | undefined): number => {
      if (!p) return 0;
      if (p.state !== undefined) return session.stateTable(1) + stateEntryBytes * (p.state + 1);
      return p.constant ? session.constantAddress(p, this.constants) : session.arenaAddress + p.offset!;
    };
    const steps = plan.steps.map(
      (s): LinkedStep => ({
        name: `${s.node}: ${s.kernel}`,
        step: s.step,
        // Trailing optional inputs may be left out of a node.
        inputs: Array.from({ length: Math.max(s.op.inputs.length, s.inputs.length) }, (_, i) => address(s.inputs[i])),
        states: new Set(s.inputs.flatMap((p, i) => (p?.state === undefined ? [] : [i]))),
        outputs: s.outputs.map(address),
        workspace: session.arenaAddress + s.workspaceOffset,
      }),
    );
    this.number = ++session.linked;
    return link(steps, {
      ...session.target,
      threads: this.threads,
      dispatch: session.dispatch,
      program: this.number,
      mainMayWait,
      table: (name, make) => session.tableAddress(name, make),
      stateTable: session.stateBytes ? session.stateTable(1) : 0,
      stateBytes: session.stateBytes,
      memory: memory.limits,
    });
  }

  private link(): Run {
    const { memory, dispatch } = this.session;
    const bytes = this.emit();
    try {
      const module = new WebAssembly.Module(bytes);
      const env = { memory: memory.memory, host: (i: number) => this.hostSteps[i]() };
      const instance = new WebAssembly.Instance(module, { env });
      this.run_ = instance.exports["run"] as Run;
      if (this.threads > 1) {
        this.id = this.pool!.add(module, memory.memory, dispatch);
        this.session.posted.add(this.id);
      }
      return this.run_;
    } catch (cause) {
      throw new DeviceError(`wasm: the linked module was refused: ${(cause as Error).message}`, { cause });
    }
  }

  private makeViews(): void {
    const { session, plan } = this;
    const { buffer } = session.memory.memory;
    const view = (p: Place): TypedArray => {
      if (p.state !== undefined) return session.active[0].view(p.state);
      const type = p.prepack?.type ?? p;
      const at = p.constant ? session.constantAddress(p, this.constants) : session.arenaAddress + p.offset!;
      return viewOf(type.dtype, buffer, at, sizeOf(type.shape));
    };
    this.inputs = plan.inputs.map(view);
    this.outputs = plan.outputs.map(view);
    this.hostSteps = plan.steps.map((s) => {
      if (isWasmStep(s.step)) return () => {};
      return this.hostStep(s as PlannedStep<HostStep>, view, buffer);
    });
    this.viewed = buffer;
    this.viewedState = session.active[0]?.blocks;
  }

  /** A step of the plain backend on views of linear memory. */
  private hostStep(s: PlannedStep<HostStep>, view: (p: Place) => TypedArray, buffer: ArrayBufferLike): () => void {
    const inputs = s.inputs.map((p) => p && view(p)) as TypedArray[];
    const outputs = s.outputs.map((p) => p && view(p)) as TypedArray[];
    const at = this.session.arenaAddress + s.workspaceOffset;
    const workspace = new Uint8Array(buffer, at, s.step.workspaceBytes ?? 0);
    return () => s.step.run(inputs, outputs, workspace);
  }
}
