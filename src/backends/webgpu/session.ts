/** What one session holds on a GPU device: weights, and buffers that its programs take turns in. */
import type { TypedArray } from "../../tensor/dtype.ts";
import { DisposedError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { emptyTensor, type TensorType } from "../../tensor/tensor.ts";
import { type Elements, sourceOf, Weight } from "../../tensor/weight.ts";
import {
  Copies,
  type DeviceSession,
  isReversible,
  type Place,
  type PlannedStep,
  type Prepack,
  type StagePlan,
  unpack,
} from "../backend.ts";
import { bufferBytes, copiedBytes, decode, encode } from "./border.ts";
import { type GpuDevice, usage } from "./device.ts";
import { GpuProgram } from "./program.ts";
import { GpuState } from "./state.ts";
import { type AnyStep, isGpuStep } from "./step.ts";
import type { GpuTarget } from "./target.ts";

/** A buffer for values of the programs that use it. */
export interface PoolBuffer {
  readonly buffer: GPUBuffer;
  /** Whether a value of the plan under preparation is in it. */
  busy: boolean;
  users: number;
}

export interface PipelineProgress {
  /** Pipelines compiled so far, of those that the plans made so far need. */
  readonly done: number;
  readonly total: number;
}

export class WebgpuSession implements DeviceSession<AnyStep> {
  /** Of the device: tensors that any of its sessions left there can be used. */
  readonly memory: object;
  /** All programs use the same buffers: they never run at the same time. */
  private readonly pool = new Set<PoolBuffer>();
  private readonly constants = new Copies<GPUBuffer>();
  private readonly programs = new Set<GpuProgram>();
  private readonly states = new Set<GpuState>();
  /** Weights that steps of the host read too. */
  private readonly onHost = new Set<Elements>();
  private staging: GPUBuffer | undefined;
  /** What undoes the allocations of the plan under preparation: those that failed look like any other. */
  private undo: (() => void)[] = [];
  private growth: Promise<unknown> | undefined;
  private done = 0;
  private total = 0;
  private disposed = false;
  /** The sequence that programs read and change. */
  state: GpuState | undefined;

  constructor(
    readonly gpu: GpuDevice,
    readonly target: GpuTarget,
    private readonly onProgress?: (progress: PipelineProgress) => void,
  ) {
    this.memory = gpu;
    gpu.enter();
  }

  async prepare(plan: StagePlan<AnyStep>): Promise<GpuProgram> {
    const program = new GpuProgram(plan, this);
    this.undo = [];
    try {
      await program.make();
      this.assertOpen();
    } catch (e) {
      program.dispose();
      for (const undo of this.undo) undo();
      throw await this.gpu.failure(e);
    }
    this.releaseWeights(plan);
    this.programs.add(program);
    program.onDispose = () => this.programs.delete(program);
    return program;
  }

  /**
   * Asked after waits: a session may be disposed while it makes a plan.
   * @throws DisposedError
   */
  assertOpen(): void {
    if (this.disposed) throw new DisposedError("this session was disposed");
  }

  needs(place: Place, step: PlannedStep<AnyStep> | undefined): boolean {
    if (!step || !isGpuStep(step.step)) return true;
    return !this.constants.has(sourceOf(place.constant!), layoutOf(place));
  }

  async keep(place: Place, step: PlannedStep<AnyStep> | undefined): Promise<void> {
    if (!step || !isGpuStep(step.step)) return;
    this.undo = [];
    await this.gpu.guarded("uploading weights", () => this.constantBuffer(place, this.constants));
    this.releaseWeight(place);
  }

  /** The host lets go of weights that only shaders read. */
  private releaseWeights({ steps, outputs }: StagePlan<AnyStep>): void {
    const given = [...steps.filter((s) => !isGpuStep(s.step)).flatMap((s) => s.inputs), ...outputs];
    for (const p of given) if (p?.constant instanceof Weight) this.onHost.add(p.constant.elements);
    for (const { inputs } of steps) for (const p of inputs) if (p) this.releaseWeight(p);
  }

  private releaseWeight(place: Place): void {
    const { constant: w, prepack } = place;
    if (!(w instanceof Weight) || this.onHost.has(w.elements) || !w.elements.onHost) return;
    if (!this.constants.has(w.elements, layoutOf(place))) return;
    const { gpu, target } = this;
    const type = prepack?.type ?? { dtype: w.dtype, shape: w.shape };
    const size = sizeOf(w.shape);
    const buffer = this.constantBuffer(place, this.constants);
    const read = async (): Promise<TypedArray> => {
      const bytes = await gpu.readBack(buffer, copiedBytes(target, type));
      const data = decode(target, type, bytes, 0).data as TypedArray;
      return prepack ? unpack(prepack, data, size) : data;
    };
    w.elements.release(!prepack || isReversible(prepack) ? read : undefined);
  }

  openState(types: readonly TensorType[]): GpuState {
    const state = new GpuState(this, types);
    this.states.add(state);
    return state;
  }

  forget(state: GpuState): void {
    this.states.delete(state);
    if (this.state === state) this.state = undefined;
  }

  /** Changes memory between runs. What the device has against it, the next run says: see `grown`. */
  grow<T>(work: () => T): T {
    this.gpu.assertUsable();
    let ended: { value: T } | { thrown: unknown } | undefined;
    const accepted = this.gpu.guarded("growing the state", () => {
      try {
        ended = { value: work() };
      } catch (thrown) {
        ended = { thrown };
      }
    });
    this.growth = Promise.all([this.growth, accepted]);
    this.growth.catch(() => {});
    if ("thrown" in ended!) throw ended.thrown;
    return ended!.value;
  }

  /** @throws DeviceError where the device has refused what `grow` asked for */
  async grown(): Promise<void> {
    const { growth } = this;
    this.growth = undefined;
    await growth;
  }

  get growing(): boolean {
    return this.growth !== undefined;
  }

  /** A free buffer of at least `bytes`, and not much more. */
  acquire(bytes: number, label: string): PoolBuffer {
    const wanted = this.gpu.sizeFor(bytes);
    let best: PoolBuffer | undefined;
    for (const b of this.pool)
      if (!b.busy && b.buffer.size >= wanted && (!best || b.buffer.size < best.buffer.size)) best = b;
    if (!best || best.buffer.size > 2 * wanted) {
      best = { buffer: this.gpu.memory(wanted, label), busy: false, users: 0 };
      this.pool.add(best);
    }
    best.busy = true;
    return best;
  }

  /** A program has no more use for a buffer. */
  letGo(used: PoolBuffer): void {
    if (--used.users > 0) return;
    this.pool.delete(used);
    used.buffer.destroy();
  }

  freeAll(): void {
    for (const b of this.pool) b.busy = false;
  }

  /** What results are copied to before the host reads them. */
  stagingBuffer(bytes: number): GPUBuffer {
    if (!this.staging || this.staging.size < bytes) {
      this.dropStaging();
      this.staging = this.gpu.buffer(this.gpu.sizeFor(bytes), usage.mapRead | usage.copyTarget, "the results");
    }
    return this.staging;
  }

  /** The next to be read is read through another one. */
  dropStaging(): void {
    this.staging?.destroy();
    this.staging = undefined;
  }

  /**
   * Where a constant lies, packed or as it is. Uploaded the first time: for the session where it is a weight, for the
   * program (`own`) where planning found it.
   */
  constantBuffer(place: Place, own: Copies<GPUBuffer>): GPUBuffer {
    const { constant, prepack, dtype, shape } = place;
    const t = constant!;
    const copies = t instanceof Weight ? this.constants : own;
    return copies.get(sourceOf(t), layoutOf(place), () => {
      const type = prepack?.type ?? { dtype, shape };
      const data = prepack ? packed(t.data as TypedArray, prepack) : (t.data as TypedArray);
      const buffer = this.gpu.memory(bufferBytes(this.target, type), "a weight");
      this.undo.push(() => {
        copies.delete(sourceOf(t), layoutOf(place));
        buffer.destroy();
      });
      this.write(buffer, type, data);
      return buffer;
    });
  }

  /** Puts a tensor's elements into a buffer. */
  write(buffer: GPUBuffer, { dtype }: TensorType, data: TypedArray): void {
    let words = encode(this.target, dtype, data);
    // Dawn takes no memory that threads share.
    if (Object.prototype.toString.call(words.buffer) === "[object SharedArrayBuffer]") words = words.slice();
    this.gpu.device.queue.writeBuffer(buffer, 0, words.buffer as ArrayBuffer, words.byteOffset, words.byteLength);
  }

  /** Runs `compile` for pipelines and counts them. */
  async counted<T>(work: readonly Promise<T>[]): Promise<T[]> {
    this.total += work.length;
    this.report();
    return await Promise.all(
      work.map(async (w) => {
        const result = await w;
        this.done++;
        this.report();
        return result;
      }),
    );
  }

  private report(): void {
    this.onProgress?.({ done: this.done, total: this.total });
  }

  get bytes(): number {
    let sum = this.staging?.size ?? 0;
    for (const { buffer } of this.pool) sum += buffer.size;
    for (const buffer of this.constants.all()) sum += buffer.size;
    return sum;
  }

  /** Gives back the session's memory. The device stays: others may use it. */
  dispose(): void {
    if (!this.disposed) this.gpu.leave();
    this.disposed = true;
    for (const p of [...this.programs]) p.dispose();
    for (const s of [...this.states]) s.dispose();
    for (const buffer of this.constants.all()) buffer.destroy();
    this.dropStaging();
    this.constants.clear();
  }
}

/** Key of a constant's copy. */
const layoutOf = ({ prepack, dtype }: Place): string => `${prepack?.key ?? ""}/${dtype}`;

function packed(source: TypedArray, prepack: Prepack): TypedArray {
  const copy = emptyTensor(prepack.type).data as TypedArray;
  prepack.pack(source, copy);
  return copy;
}
