/** A program of a session: one linked module over its linear memory. */
import { type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DeviceError, ForwardpassError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../../tensor/tensor.ts";
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
import { DispatchState, Failure } from "./dispatch-words.ts";
import type { Library } from "./library.ts";
import { type Linked, type LinkedStep, link } from "./link.ts";
import { type Block, stateEntryBytes } from "./memory.ts";
import type { WorkerPool } from "./pool.ts";
import type { WasmSession } from "./session.ts";
import { type AnyStep, isWasmStep } from "./step.ts";

/** Milliseconds that a worker has to leave a step after another thread failed. */
const endTimeout = 10_000;

type Run = (thread: number, from: number, to: number) => void;

const noStates: ReadonlySet<number> = new Set();

/** A browser's main thread may not sleep. Workers and servers may. */
const mainMayWait = typeof window === "undefined";

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
  private dispatch!: DispatchState;
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

  *run(
    inputs: readonly HostTensor[],
    control?: RunControl,
    _?: ReadonlySet<number>,
    skip?: ReadonlySet<number>,
  ): Generator<undefined, HostTensor[]> {
    if (!control) return this.runSync(inputs, skip);
    const run = this.begin(inputs);
    for (let i = 0; i < this.plan.steps.length; i++) {
      if (i > 0) yield undefined;
      const before = performance.now();
      this.execute(run, i, i + 1);
      if (control.times) control.times[i] = performance.now() - before;
    }
    return this.results(skip);
  }

  runSync(inputs: readonly HostTensor[], skip?: ReadonlySet<number>): HostTensor[] {
    const run = this.begin(inputs);
    this.execute(run, 0, this.plan.steps.length);
    return this.results(skip);
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

  private results(skip?: ReadonlySet<number>): HostTensor[] {
    const results: HostTensor[] = [];
    this.plan.outputs.forEach(({ dtype, shape }, i) => {
      if (!skip?.has(i)) results[i] = { dtype, shape, data: this.session.copyOut(this.outputs[i]) };
    });
    return results;
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
    const { pool, id, dispatch } = this;
    try {
      if (id !== undefined) {
        dispatch.begin(this.number);
        pool!.begin(id);
      }
      run(0, from, to);
      // Looking costs what a small step does.
      const failure = id === undefined ? undefined : dispatch.failure;
      if (failure === Failure.Refused) throw new WebAssembly.RuntimeError("unreachable");
      if (failure) throw new DeviceError("wasm: a worker thread failed or did not answer");
    } catch (e) {
      if (id !== undefined && !dispatch.recover(performance.now() + endTimeout))
        pool!.fail("a worker thread does not end");
      throw this.explain(e);
    }
  }

  /** What the step under way threw, as an error that names its node. */
  private explain(e: unknown): unknown {
    const { steps } = this.plan;
    const { current } = this.dispatch;
    const node = steps[current]?.node;
    if (!(e instanceof WebAssembly.RuntimeError)) return e instanceof ForwardpassError ? e.at(node) : e;
    const cause = { cause: e };
    // How kernels stop at an index that would lead out of their memory. Other traps are their own fault.
    if (!/unreachable/i.test(e.message)) return new DeviceError(`wasm: a kernel crashed: ${e.message}`, cause).at(node);
    let refusal: ForwardpassError | undefined;
    // Steps side by side are one.
    for (let i = current; !refusal && (i === current || steps[i]?.beside); i++) refusal = this.refusal(steps[i]);
    return refusal ?? new InputError("wasm: an index or position is outside of its tensor", cause).at(node);
  }

  /**
   * What the operator's reference says of the inputs that a kernel refused: they are in memory as long as no later step has
   * run. Of several sequences, which it can't be asked, their states. Undefined where these accept them.
   */
  private refusal({ node, op, attrs, inputs, outputs }: PlannedStep): ForwardpassError | undefined {
    const { active } = this.session;
    if (active.length > 1 && inputs.some((p) => p?.state !== undefined))
      return active[0].refusal(op, inputs, (p) => this.view(p))?.at(node);
    try {
      op.reference?.(
        inputs.map((p) => p && (p.constant ?? { ...p, data: this.view(p) })),
        attrs,
        outputs.map((p) => p && emptyTensor(p)) as HostTensor[],
      );
    } catch (e) {
      if (e instanceof ForwardpassError && !(e instanceof DeviceError)) return e.at(node);
    }
    return undefined;
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

  /** The linked module, with addresses in the session's memory. Without a library it stands alone. */
  emit(library?: Library): Linked {
    const { session, plan } = this;
    const { memory } = session;
    const address = (p: Place | undefined): number => {
      if (!p) return 0;
      return p.state === undefined ? this.addressOf(p) : session.stateTable(1) + stateEntryBytes * (p.state + 1);
    };
    const works = worksOf(plan);
    const steps = plan.steps.map((s, i): LinkedStep => {
      // Trailing optional inputs may be left out of a node.
      const inputs = new Array<number>(Math.max(s.op.inputs.length, s.inputs.length)).fill(0);
      let states = noStates;
      for (let k = 0; k < s.inputs.length; k++) {
        inputs[k] = address(s.inputs[k]);
        if (s.inputs[k]?.state !== undefined) states = new Set([...states, k]);
      }
      return {
        name: `${s.node}: ${s.kernel}`,
        planned: s,
        work: works[i],
        inputs,
        states,
        outputs: s.outputs.map(address),
        workspace: session.arenaAddress + s.workspaceOffset,
      };
    });
    this.number = ++session.linked;
    return link(steps, {
      ...session.target,
      threads: this.threads,
      dispatch: session.dispatch,
      program: this.number,
      mainMayWait,
      emitDispatch: this.threads > 1 ? this.pool!.emitDispatch : undefined,
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

  /** Of what is no state. */
  addressOf(p: Place): number {
    const { session } = this;
    return p.constant ? session.constantAddress(p, this.constants) : session.arenaAddress + p.offset!;
  }

  private view(p: Place): TypedArray {
    const { active, memory } = this.session;
    if (p.state !== undefined) return active[0].view(p.state);
    const type = p.prepack?.type ?? p;
    return viewOf(type.dtype, memory.memory.buffer, this.addressOf(p), sizeOf(type.shape));
  }

  private makeViews(): void {
    const { session, plan } = this;
    const { buffer } = session.memory.memory;
    const view = (p: Place): TypedArray => this.view(p);
    this.inputs = plan.inputs.map(view);
    this.outputs = plan.outputs.map(view);
    this.hostSteps = plan.steps.map((s) => {
      if (isWasmStep(s.step)) return () => {};
      return this.hostStep(s as PlannedStep<HostStep>);
    });
    this.dispatch = new DispatchState(session.memory.memory, session.dispatch);
    this.viewed = buffer;
    this.viewedState = session.active[0]?.blocks;
  }

  /** A step of the plain backend on views of linear memory. */
  private hostStep(s: PlannedStep<HostStep>): () => void {
    const [inputs, outputs] = [s.inputs, s.outputs].map((all) => all.map((p) => p && this.view(p)) as TypedArray[]);
    const { memory, arenaAddress } = this.session;
    const at = arenaAddress + s.workspaceOffset;
    const workspace = new Uint8Array(memory.memory.buffer, at, s.step.workspaceBytes ?? 0);
    return () => s.step.run(inputs, outputs, workspace);
  }
}
