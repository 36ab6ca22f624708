/** What one session holds on a GPU device: weights, and buffers that its programs take turns in. */
import type { TypedArray } from "../../tensor/dtype.ts";
import { emptyTensor, type TensorType } from "../../tensor/tensor.ts";
import { Weight } from "../../tensor/weight.ts";
import { Copies, type DeviceSession, type Place, type Prepack, type StagePlan } from "../backend.ts";
import { bufferBytes, encode } from "./border.ts";
import { type GpuDevice, sizeClass, usage } from "./device.ts";
import { GpuProgram } from "./program.ts";
import { GpuState } from "./state.ts";
import type { AnyStep } from "./step.ts";
import type { GpuTarget } from "./target.ts";

/** A buffer for values, and whether a value of the plan under preparation is in it. */
export interface PoolBuffer {
  readonly buffer: GPUBuffer;
  busy: boolean;
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
  private readonly pool: PoolBuffer[] = [];
  private readonly constants = new Copies<GPUBuffer>();
  private readonly programs = new Set<GpuProgram>();
  private readonly states = new Set<GpuState>();
  private staging: GPUBuffer | undefined;
  private done = 0;
  private total = 0;
  /** The sequence that programs read and change. */
  state: GpuState | undefined;

  constructor(
    readonly gpu: GpuDevice,
    readonly target: GpuTarget,
    private readonly onProgress?: (progress: PipelineProgress) => void,
  ) {
    this.memory = gpu;
  }

  async prepare(plan: StagePlan<AnyStep>): Promise<GpuProgram> {
    const program = new GpuProgram(plan, this);
    try {
      await program.prepare();
    } catch (e) {
      program.dispose();
      throw await this.gpu.failure(e);
    }
    this.programs.add(program);
    program.onDispose = () => this.programs.delete(program);
    return program;
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

  /** A free buffer of at least `bytes`, and not much more. */
  acquire(bytes: number, label: string): PoolBuffer {
    const wanted = sizeClass(bytes);
    let best: PoolBuffer | undefined;
    for (const b of this.pool)
      if (!b.busy && b.buffer.size >= wanted && (!best || b.buffer.size < best.buffer.size)) best = b;
    if (!best || best.buffer.size > 2 * wanted) {
      const flags = usage.storage | usage.copySource | usage.copyTarget;
      best = { buffer: this.gpu.buffer(wanted, flags, label), busy: false };
      this.pool.push(best);
    }
    best.busy = true;
    return best;
  }

  freeAll(): void {
    for (const b of this.pool) b.busy = false;
  }

  /** What results are copied to before the host reads them. */
  stagingBuffer(bytes: number): GPUBuffer {
    if (!this.staging || this.staging.size < bytes) {
      this.staging?.destroy();
      this.staging = this.gpu.buffer(sizeClass(bytes), usage.mapRead | usage.copyTarget, "the results");
    }
    return this.staging;
  }

  /**
   * Where a constant lies, packed or as it is. Uploaded the first time: for the session where it is a weight, for the
   * program (`own`) where planning found it.
   */
  constantBuffer({ constant, prepack, dtype, shape }: Place, own: Copies<GPUBuffer>): GPUBuffer {
    const t = constant!;
    const copies = t instanceof Weight ? this.constants : own;
    const source = t instanceof Weight ? t.elements : (t.data as object);
    return copies.get(source, `${prepack?.key ?? ""}/${dtype}`, () => {
      const type = prepack?.type ?? { dtype, shape };
      const data = prepack ? packed(t.data as TypedArray, prepack) : (t.data as TypedArray);
      const buffer = this.gpu.buffer(bufferBytes(this.target, type), usage.storage | usage.copyTarget, "a weight");
      this.write(buffer, type, data);
      return buffer;
    });
  }

  /** Puts a tensor's elements into a buffer. */
  write(buffer: GPUBuffer, { dtype }: TensorType, data: TypedArray): void {
    const words = encode(this.target, dtype, data);
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
    for (const p of [...this.programs]) p.dispose();
    for (const s of [...this.states]) s.dispose();
    for (const { buffer } of this.pool) buffer.destroy();
    for (const buffer of this.constants.all()) buffer.destroy();
    this.staging?.destroy();
    this.pool.length = 0;
    this.constants.clear();
    this.staging = undefined;
  }
}

function packed(source: TypedArray, prepack: Prepack): TypedArray {
  const copy = emptyTensor(prepack.type).data as TypedArray;
  prepack.pack(source, copy);
  return copy;
}
