/** State of a sequence in device memory: buffers that grow by doubling. Programs bind them anew when they have moved. */
import type { TypedArray } from "../../tensor/dtype.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { DeviceState } from "../backend.ts";
import { bufferBytes, copiedBytes, decode } from "./border.ts";
import type { WebgpuSession } from "./session.ts";

export class GpuState implements DeviceState {
  /** Another array whenever they have moved. */
  buffers: readonly GPUBuffer[];
  rows = 0;

  constructor(
    private readonly session: WebgpuSession,
    private readonly types: readonly TensorType[],
  ) {
    this.buffers = this.allocate(0);
  }

  get bytes(): number {
    return this.buffers.reduce((sum, b) => sum + b.size, 0);
  }

  activate(): void {
    this.session.state = this;
  }

  reserve(rows: number): void {
    if (rows <= this.rows) return;
    const before = this.buffers;
    const kept = this.rows;
    const wanted = Math.max(rows, 2 * this.rows);
    this.buffers = this.allocate(wanted);
    this.rows = wanted;
    this.copy(before, kept);
    for (const b of before) b.destroy();
  }

  fork(rows: number): GpuState {
    const copy = this.session.openState(this.types);
    copy.reserve(rows);
    copy.copy(this.buffers, Math.min(rows, this.rows));
    return copy;
  }

  async read(number: number): Promise<TypedArray> {
    const { gpu, target } = this.session;
    const type = sized(this.types[number], this.rows);
    const bytes = await gpu.readBack(this.buffers[number], copiedBytes(target, type));
    return decode(target, type, bytes, 0).data as TypedArray;
  }

  dispose(): void {
    for (const b of this.buffers) b.destroy();
    this.buffers = [];
    this.rows = 0;
    this.session.forget(this);
  }

  /** New buffers are zero. */
  private allocate(rows: number): GPUBuffer[] {
    const { gpu, target } = this.session;
    return this.session.grow(() => this.types.map((t) => gpu.memory(bufferBytes(target, sized(t, rows)), "the state")));
  }

  /** Takes over the first rows of other buffers. */
  private copy(from: readonly GPUBuffer[], rows: number): void {
    const { gpu, target } = this.session;
    this.session.grow(() => {
      const encoder = gpu.device.createCommandEncoder();
      this.types.forEach((t, i) => {
        const bytes = Math.min(copiedBytes(target, sized(t, rows)), from[i].size, this.buffers[i].size);
        if (bytes > 0) encoder.copyBufferToBuffer(from[i], 0, this.buffers[i], 0, bytes);
      });
      gpu.device.queue.submit([encoder.finish()]);
    });
  }
}

const sized = ({ dtype, shape }: TensorType, rows: number): TensorType => ({
  dtype,
  shape: [Math.min(rows, shape[0]), ...shape.slice(1)],
});
