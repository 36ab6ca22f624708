/**
 * A plan on a GPU: buffers, pipelines and bind groups are made once; a run writes its inputs, submits its dispatches and
 * reads all its outputs back together. Steps that fall back to the host part it into several submissions.
 */

import { DeviceTensor } from "../../tensor/device-tensor.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { ForwardpassError } from "../../tensor/errors.ts";
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
import { bufferBytes, copiedBytes } from "./border.ts";
import { Clock } from "./clock.ts";
import { type Pipeline, tooLarge } from "./device.ts";
import { bufferOf, type KeptElements, keptElements } from "./kept.ts";
import { readBack, type Work, waitFor } from "./read-back.ts";
import type { PoolBuffer, WebgpuSession } from "./session.ts";
import { sourceBytes } from "./split.ts";
import { type AnyStep, type Binding, type Dispatch, type GpuStep, isGpuStep } from "./step.ts";

/** A dispatch with what it needs. */
export interface Command {
  readonly step: number;
  readonly dispatch: Dispatch;
  readonly pipeline: Pipeline;
  /** Buffer of each binding; for state, its number. */
  readonly buffers: readonly (GPUBuffer | number)[];
  group?: GPUBindGroup;
}

/** Commands between two steps of the host, and the step that follows them. */
interface Segment {
  readonly commands: Command[];
  readonly host?: { readonly planned: PlannedStep<HostStep>; readonly step: number };
}

export class GpuProgram implements Program {
  onDispose: (() => void) | undefined;
  private readonly segments: Segment[] = [];
  private readonly slots = new Map<number, PoolBuffer>();
  /** Those of the slots, and scratch memory. */
  private readonly used = new Set<PoolBuffer>();
  private readonly constants = new Copies<GPUBuffer>();
  /** Buffers of the state that bind groups were made for. */
  private boundState: readonly GPUBuffer[] | undefined;
  private clock: Clock | undefined;
  /** Of inputs that are on the device: they go before the next commands. */
  private copies: ((encoder: GPUCommandEncoder) => void)[] = [];

  constructor(
    private readonly plan: StagePlan<AnyStep>,
    private readonly session: WebgpuSession,
  ) {}

  async make(): Promise<void> {
    const { plan, session } = this;
    const scratch = await session.gpu.guarded("making buffers", () => {
      session.freeAll();
      return this.assignBuffers();
    });
    const dispatches = plan.steps.flatMap(({ step, kernel }, i) =>
      isGpuStep(step) ? step.run.map((dispatch) => ({ dispatch, kernel, i })) : [],
    );
    const pipelines = await session.counted(
      dispatches.map(({ dispatch, kernel }) => session.gpu.pipeline(dispatch.code, dispatch.bindings, kernel)),
    );
    session.assertOpen();
    await session.gpu.guarded("uploading weights", () => {
      const commands = dispatches.map(({ dispatch, i }, k): Command => {
        const buffers = dispatch.bindings.map((b) => this.bufferOf(b, plan.steps[i], scratch[i]));
        const command: Command = { step: i, dispatch, pipeline: pipelines[k], buffers };
        if (!buffers.some((b) => typeof b === "number")) command.group = this.bindGroup(command, []);
        return command;
      });
      this.divide(commands);
    });
  }

  /** A buffer for each slot while it is in use; scratch memory by step. */
  private assignBuffers(): GPUBuffer[][] {
    const { plan, session } = this;
    const uses = lastUses(plan);
    const bytes = new Map<number, number>();
    for (const p of placesOf(plan)) {
      if (p.slot === undefined) continue;
      bytes.set(p.slot, Math.max(bytes.get(p.slot) ?? 0, bufferBytes(session.target, p)));
    }
    const take = (size: number, label: string): PoolBuffer => {
      const taken = session.acquire(size, label);
      if (!this.used.has(taken)) taken.users++;
      this.used.add(taken);
      return taken;
    };
    const acquire = (slot: number, label: string): void => {
      if (!this.slots.has(slot)) this.slots.set(slot, take(bytes.get(slot)!, label));
    };
    for (const p of plan.inputs) acquire(p.slot!, "an input");
    return plan.steps.map((s, i) => {
      for (const p of s.outputs) if (p?.slot !== undefined) acquire(p.slot, `the output of "${s.node}"`);
      const sizes = (isGpuStep(s.step) && s.step.scratch) || [];
      const own = sizes.map((b) => take(Math.max(16, b), `the workspace of "${s.node}"`));
      for (const b of own) b.busy = false;
      for (const [slot, last] of uses) if (last === i) this.slots.get(slot)!.busy = false;
      return own.map((b) => b.buffer);
    });
  }

  private bufferOf({ source }: Binding, s: PlannedStep<AnyStep>, scratch: readonly GPUBuffer[]): GPUBuffer | number {
    if ("scratch" in source) return scratch[source.scratch];
    if ("table" in source) {
      const table = (s.step as GpuStep).tables![source.table];
      return this.session.constantBuffer({ ...table, constant: table }, this.constants);
    }
    const place = "input" in source ? s.inputs[source.input] : s.outputs[source.output];
    if (place!.state !== undefined) return place!.state;
    return place!.constant ? this.session.constantBuffer(place!, this.constants) : this.slots.get(place!.slot!)!.buffer;
  }

  private bindGroup({ step, pipeline, buffers, dispatch }: Command, state: readonly GPUBuffer[]): GPUBindGroup {
    return this.session.gpu.device.createBindGroup({
      layout: pipeline.layout,
      entries: buffers.map((b, binding) => {
        const buffer = typeof b === "number" ? state[b] : b;
        const { range } = dispatch.bindings[binding];
        const size = range?.bytes ?? this.boundBytes(buffer.size, dispatch.bindings[binding], this.plan.steps[step]);
        return { binding, resource: { buffer, offset: range?.offset, size } };
      }),
    });
  }

  /** All of a buffer, or as much as may be bound where only what it was rounded up to is more than that. */
  private boundBytes(size: number, binding: Binding, s: PlannedStep<AnyStep>): number {
    const { target } = this.session;
    const most = target.limits.maxStorageBufferBindingSize;
    if (size <= most) return size;
    const needed = sourceBytes(binding, s, target) || size;
    if (needed > most) throw tooLarge(`"${binding.name}" of "${s.node}"`, needed, "binds at most", most);
    return Math.ceil(needed / 4) * 4;
  }

  /** Parts the commands where a step runs on the host. */
  private divide(commands: readonly Command[]): void {
    let from = 0;
    this.plan.steps.forEach(({ step }, i) => {
      if (isGpuStep(step)) return;
      const upTo = commands.findIndex((c) => c.step > i);
      const to = upTo < 0 ? commands.length : upTo;
      const planned = this.plan.steps[i] as PlannedStep<HostStep>;
      this.segments.push({ commands: commands.slice(from, to), host: { planned, step: i } });
      from = to;
    });
    this.segments.push({ commands: commands.slice(from) });
  }

  *run(
    inputs: readonly Tensor[],
    control?: RunControl,
    keep?: ReadonlySet<number>,
    skip?: ReadonlySet<number>,
  ): Work<Tensor[]> {
    const { session, plan } = this;
    const { times } = control ?? {};
    session.gpu.assertUsable();
    try {
      if (session.growing) yield* waitFor(session.grown());
      this.bindState();
      this.writeInputs(inputs);
      for (const { commands, host } of this.segments) {
        const wanted = host ? host.planned.inputs.filter((p) => p !== undefined) : plan.outputs;
        const read = yield* this.submit(commands, wanted, times, host ? {} : { keep, skip });
        if (!host) return read;
        if (control) yield undefined;
        const before = performance.now();
        this.runOnHost(host.planned, read as HostTensor[]);
        if (times) times[host.step] = performance.now() - before;
      }
      return [];
    } catch (e) {
      throw yield* waitFor(session.gpu.failure(e));
    }
  }

  /** Tensors of the host are uploaded, those of the device copied within it. */
  private writeInputs(inputs: readonly Tensor[]): void {
    const { session, plan } = this;
    this.copies = [];
    inputs.forEach((t, i) => {
      const place = plan.inputs[i];
      const { buffer } = this.slots.get(place.slot!)!;
      const size = copiedBytes(session.target, place);
      if (!(t instanceof DeviceTensor)) {
        session.write(buffer, place, t.data as TypedArray);
        return;
      }
      const source = bufferOf(t);
      if (size > 0) this.copies.push((encoder) => encoder.copyBufferToBuffer(source, 0, buffer, 0, size));
    });
  }

  private encodeCopies(encoder: GPUCommandEncoder): void {
    for (const copy of this.copies) copy(encoder);
    this.copies = [];
  }

  /** Runs commands and reads values back, but for those to keep and those that nobody wants. */
  private *submit(
    commands: readonly Command[],
    all: readonly Place[],
    times: Float64Array | undefined,
    { keep, skip }: { readonly keep?: ReadonlySet<number>; readonly skip?: ReadonlySet<number> },
  ): Work<Tensor[]> {
    const { gpu, target } = this.session;
    const stays = (i: number): boolean => keep?.has(i) === true && !all[i].constant;
    const isRead = (i: number): boolean => !stays(i) && !skip?.has(i);
    if (times && !this.clock && commands.length > 0) this.clock = yield* waitFor(Clock.make(gpu, this.commandCount));
    const clock = times && this.clock;
    if (times && !clock) yield* this.timeByWaiting(commands, times);
    /** By number in `all`. */
    const kept = new Map<number, KeptElements>();
    const begin = (encoder: GPUCommandEncoder): void => {
      this.encodeCopies(encoder);
      if (clock) clock.encode(encoder, commands, issue);
      else if (!times) encodeTogether(encoder, commands);
      all.forEach((p, i) => {
        if (!stays(i)) return;
        const elements = keptElements(this.session, p);
        kept.set(i, elements);
        const size = copiedBytes(target, p);
        if (size > 0) encoder.copyBufferToBuffer(this.bufferAt(p), 0, elements.buffer, 0, size);
      });
    };
    const wanted = all.filter((_, i) => isRead(i));
    let done = false;
    try {
      const read = yield* readBack(this.session, wanted, (p) => this.bufferAt(p), begin);
      if (clock) yield* waitFor(clock.read(commands, times!));
      done = true;
      const results: Tensor[] = [];
      all.forEach((p, i) => {
        const elements = kept.get(i);
        if (elements) results[i] = new DeviceTensor(p, elements);
        else if (isRead(i)) results[i] = read.shift()!;
      });
      return results;
    } finally {
      // Stopped or failed: nobody gets them. They may not even be there, so no other tensor gets them either.
      if (!done) for (const { buffer } of kept.values()) buffer.destroy();
    }
  }

  /** Without timestamps: one step at a time, from giving it to the device until that is done. */
  private *timeByWaiting(commands: readonly Command[], times: Float64Array): Work<void> {
    const { gpu } = this.session;
    for (let from = 0; from < commands.length; ) {
      const { step } = commands[from];
      const next = commands.findIndex((c) => c.step > step);
      const to = next < 0 ? commands.length : next;
      const before = performance.now();
      const accepted = gpu.guarded("running the model", () => {
        const encoder = gpu.device.createCommandEncoder();
        this.encodeCopies(encoder);
        encodeTogether(encoder, commands.slice(from, to));
        gpu.device.queue.submit([encoder.finish()]);
      });
      yield* waitFor(Promise.all([accepted, gpu.device.queue.onSubmittedWorkDone()]));
      times[step] = performance.now() - before;
      from = to;
    }
  }

  private get commandCount(): number {
    return Math.max(...this.segments.map((s) => s.commands.length));
  }

  /** A step of the host: on copies of what it reads, and back. */
  private runOnHost({ node, step, outputs, inputs }: PlannedStep<HostStep>, read: readonly HostTensor[]): void {
    let next = 0;
    const given = inputs.map((p) => p && (read[next++].data as TypedArray)) as TypedArray[];
    const results = outputs.map((p) => p && emptyTensor(p));
    const workspace = new Uint8Array(step.workspaceBytes ?? 0);
    try {
      step.run(given, results.map((t) => t?.data) as TypedArray[], workspace);
    } catch (e) {
      throw e instanceof ForwardpassError ? e.at(node) : e;
    }
    results.forEach((t, i) => {
      if (t) this.session.write(this.bufferAt(outputs[i]!), t, t.data as TypedArray);
    });
  }

  private bufferAt({ slot, state }: Place): GPUBuffer {
    return state === undefined ? this.slots.get(slot!)!.buffer : this.session.state!.buffers[state];
  }

  /** Bind groups with state are made anew when it is another, or has moved. */
  private bindState(): void {
    const buffers = this.session.state?.buffers;
    if (this.boundState === buffers) return;
    this.boundState = buffers;
    for (const { commands } of this.segments)
      for (const c of commands) if (c.buffers.some((b) => typeof b === "number")) c.group = this.bindGroup(c, buffers!);
  }

  dispose(): void {
    for (const buffer of this.constants.all()) buffer.destroy();
    this.constants.clear();
    for (const b of this.used) this.session.letGo(b);
    this.used.clear();
    this.clock?.dispose();
    this.segments.length = 0;
    this.onDispose?.();
  }
}

type Tensor = HostTensor | DeviceTensor;

function issue(pass: GPUComputePassEncoder, { pipeline, group, dispatch }: Command): void {
  pass.setPipeline(pipeline.pipeline);
  pass.setBindGroup(0, group!);
  pass.dispatchWorkgroups(...dispatch.workgroups);
}

function encodeTogether(encoder: GPUCommandEncoder, commands: readonly Command[]): void {
  if (commands.length === 0) return;
  const pass = encoder.beginComputePass();
  for (const c of commands) issue(pass, c);
  pass.end();
}

function* placesOf(plan: StagePlan<AnyStep>): Generator<Place> {
  yield* plan.inputs;
  yield* plan.outputs;
  for (const s of plan.steps) for (const p of [...s.inputs, ...s.outputs]) if (p) yield p;
}

/** The last step that uses each slot: past the last one for what the plan gives. */
function lastUses(plan: StagePlan<AnyStep>): Map<number, number> {
  const last = new Map<number, number>();
  plan.steps.forEach((s, i) => {
    for (const p of [...s.inputs, ...s.outputs]) if (p?.slot !== undefined) last.set(p.slot, i);
  });
  for (const p of plan.outputs) if (p.slot !== undefined) last.set(p.slot, plan.steps.length);
  return last;
}
