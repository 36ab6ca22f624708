/** Programs of one session: linked modules over its linear memory. */
import { type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DeviceError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type {
  DeviceSession,
  HostStep,
  Place,
  PlannedStep,
  Prepack,
  Program,
  RunControl,
  StagePlan,
} from "../backend.ts";
import { type LinkedStep, link } from "./link.ts";
import { LinearMemory } from "./memory.ts";
import { type AnyStep, isWasmStep, type WasmTarget } from "./step.ts";

export class WasmSession implements DeviceSession<AnyStep> {
  readonly memory: LinearMemory;
  private arena = { at: 0, bytes: 0 };
  private readonly programs = new Set<WasmProgram>();
  private readonly constants = new Map<TypedArray, Map<string, number>>();

  constructor(readonly target: WasmTarget) {
    this.memory = new LinearMemory(target.threads > 1);
  }

  prepare(plan: StagePlan<AnyStep>): Program {
    this.growArena(plan.arenaBytes);
    const program = new WasmProgram(plan, this);
    this.programs.add(program);
    program.onDispose = () => this.programs.delete(program);
    return program;
  }

  get arenaAddress(): number {
    return this.arena.at;
  }

  get bytes(): number {
    return this.memory.bytes;
  }

  dispose(): void {
    for (const p of this.programs) p.dispose();
    this.constants.clear();
  }

  /** Where a constant lies, packed or as it is. Copied in the first time. */
  constantAddress({ constant, prepack }: Place): number {
    const source = constant!.data as TypedArray;
    const key = prepack?.key ?? "";
    let copies = this.constants.get(source);
    if (!copies) this.constants.set(source, (copies = new Map()));
    let at = copies.get(key);
    if (at === undefined) {
      at = this.copyIn(constant!, prepack);
      copies.set(key, at);
    }
    return at;
  }

  private copyIn(constant: HostTensor, prepack: Prepack | undefined): number {
    const type = prepack?.type ?? constant;
    const size = sizeOf(type.shape);
    const source = constant.data as TypedArray;
    const at = this.memory.allocate(Math.max(1, size) * source.BYTES_PER_ELEMENT);
    const target = viewOf(type.dtype, this.memory.memory.buffer, at, size);
    if (prepack) prepack.pack(source, target);
    else target.set(source as never);
    return at;
  }

  /** All programs share one arena: they never run at the same time. When it moves they link anew. */
  private growArena(bytes: number): void {
    if (bytes <= this.arena.bytes) return;
    this.memory.release(this.arena.at, this.arena.bytes);
    this.arena = { at: this.memory.allocate(bytes), bytes };
    for (const p of this.programs) p.unlink();
  }
}

type Run = (thread: number, from: number, to: number) => void;

class WasmProgram implements Program {
  onDispose: (() => void) | undefined;
  private run_: Run | undefined;
  private inputs: TypedArray[] = [];
  private outputs: TypedArray[] = [];
  private hostSteps: (() => void)[] = [];
  /** The buffer that the views are made on: growing memory makes another. */
  private viewed: ArrayBufferLike | undefined;

  constructor(
    private readonly plan: StagePlan<AnyStep>,
    private readonly session: WasmSession,
  ) {}

  *run(inputs: readonly HostTensor[], control?: RunControl): Generator<undefined, HostTensor[]> {
    const run = this.run_ ?? this.link();
    if (this.viewed !== this.session.memory.memory.buffer) this.makeViews();
    for (let i = 0; i < inputs.length; i++) this.inputs[i].set(inputs[i].data as never);
    const steps = this.plan.steps.length;
    if (!control) run(0, 0, steps);
    else
      for (let i = 0; i < steps; i++) {
        if (i > 0) yield undefined;
        const before = performance.now();
        run(0, i, i + 1);
        if (control.times) control.times[i] = performance.now() - before;
      }
    return this.plan.outputs.map(({ dtype, shape }, i) => ({ dtype, shape, data: this.outputs[i].slice() }));
  }

  dispose(): void {
    this.unlink();
    this.onDispose?.();
  }

  unlink(): void {
    this.run_ = undefined;
    this.viewed = undefined;
  }

  private link(): Run {
    const { session, plan } = this;
    const { memory } = session;
    const address = (p: Place | undefined): number =>
      !p ? 0 : p.constant ? session.constantAddress(p) : session.arenaAddress + p.offset!;
    const steps = plan.steps.map(
      (s): LinkedStep => ({
        name: `${s.node}: ${s.kernel}`,
        step: s.step,
        inputs: s.inputs.map(address),
        outputs: s.outputs.map(address),
        workspace: session.arenaAddress + s.workspaceOffset,
      }),
    );
    const bytes = link(steps, { ...session.target, barrier: 0, memory: memory.limits });
    try {
      const module = new WebAssembly.Module(bytes);
      const env = { memory: memory.memory, host: (i: number) => this.hostSteps[i]() };
      const instance = new WebAssembly.Instance(module, { env });
      this.run_ = instance.exports["run"] as Run;
      return this.run_;
    } catch (cause) {
      throw new DeviceError(`wasm: the linked module was refused: ${(cause as Error).message}`, { cause });
    }
  }

  private makeViews(): void {
    const { session, plan } = this;
    const { buffer } = session.memory.memory;
    const view = (p: Place): TypedArray => {
      const type = p.prepack?.type ?? p;
      const at = p.constant ? session.constantAddress(p) : session.arenaAddress + p.offset!;
      return viewOf(type.dtype, buffer, at, sizeOf(type.shape));
    };
    this.inputs = plan.inputs.map(view);
    this.outputs = plan.outputs.map(view);
    this.hostSteps = plan.steps.map((s) => {
      if (isWasmStep(s.step)) return () => {};
      return this.hostStep(s as PlannedStep<HostStep>, view, buffer);
    });
    this.viewed = buffer;
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
