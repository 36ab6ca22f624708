/** A program of a session: one linked module over its linear memory. */
import { type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DeviceError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import {
  Copies,
  type HostStep,
  type Place,
  type PlannedStep,
  type Program,
  type RunControl,
  type StagePlan,
} from "../backend.ts";
import { copyTo } from "./copy.ts";
import { DispatchState, Failure } from "./dispatch.ts";
import type { Library } from "./library.ts";
import { type Linked, type LinkedStep, link } from "./link.ts";
import type { Block } from "./memory.ts";
import type { WorkerPool } from "./pool.ts";
import type { WasmSession } from "./session.ts";
import { stateEntryBytes } from "./state.ts";
import { type AnyStep, isWasmStep } from "./step.ts";

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

/** Of each step, or of those that run side by side with it: see `WasmStep.work`. */
export function worksOf({ steps }: StagePlan<AnyStep>): number[] {
  const sums: number[] = [];
  for (const [i, s] of steps.entries()) sums.push(workOf(s) + (s.beside ? sums[i - 1] : 0));
  for (let i = sums.length - 2; i >= 0; i--) if (steps[i + 1].beside) sums[i] = sums[i + 1];
  return sums;
}

/** Host steps have none, as they are not divided. */
export function workOf({ step, inputs, outputs }: PlannedStep<AnyStep>): number {
  if (!isWasmStep(step)) return 0;
  return step.work ?? [...inputs, ...outputs].reduce((n, p) => n + (p ? sizeOf(p.shape) : 0), 0);
}

export class WasmProgram implements Program {
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
  private viewedState: readonly Block[] | undefined;
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

  prepare(): void {
    this.linked();
  }

  private begin(inputs: readonly HostTensor[]): Run {
    const run = this.linked();
    const { memory, active } = this.session;
    if (this.viewsState && active.length > 1)
      throw new UnsupportedOpError("wasm: these caches have no kernel that serves several sequences in a run");
    if (this.viewed !== memory.memory.buffer || (this.viewsState && this.viewedState !== active[0]?.blocks))
      this.makeViews();
    for (let i = 0; i < inputs.length; i++) copyTo(inputs[i].data as TypedArray, this.inputs[i]);
    return run;
  }

  private results(): HostTensor[] {
    return this.plan.outputs.map(({ dtype, shape }, i) => ({
      dtype,
      shape,
      data: this.session.copyOut(this.outputs[i]),
    }));
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
    const module = this.emit().bytes;
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

  /** The linked module, with addresses in the session's memory. Without a library it stands alone. */
  private emit(library?: Library): Linked {
    const { session, plan } = this;
    const { memory } = session;
    const address = (p: Place | undefined): number => {
      if (!p) return 0;
      if (p.state !== undefined) return session.stateTable(1) + stateEntryBytes * (p.state + 1);
      return p.constant ? session.constantAddress(p, this.constants) : session.arenaAddress + p.offset!;
    };
    const works = worksOf(plan);
    const steps = plan.steps.map(
      (s, i): LinkedStep => ({
        name: `${s.node}: ${s.kernel}`,
        planned: s,
        work: works[i],
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
      library,
      memory: memory.limits,
    });
  }

  private link(): Run {
    const { memory, dispatch } = this.session;
    const library = this.session.libraryFor(this.threads);
    const { bytes, shared } = this.emit(library);
    try {
      const module = new WebAssembly.Module(bytes);
      const env = { memory: memory.memory, host: (i: number) => this.hostSteps[i]() };
      const instance = new WebAssembly.Instance(module, { env, ...library.imports });
      library.add(shared, instance.exports);
      this.run_ = instance.exports["run"] as Run;
      if (this.threads > 1) {
        this.id = this.pool!.add({ module, memory: memory.memory, dispatch, library: library.id });
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
