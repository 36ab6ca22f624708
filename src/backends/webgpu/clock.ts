/** Times of commands by the device's own timestamps. */
import { type GpuDevice, usage } from "./device.ts";
import type { Command } from "./program.ts";

/** Of a query set, by the specification. */
const maxQueries = 4096;

export class Clock {
  private constructor(
    private readonly queries: GPUQuerySet,
    private readonly resolved: GPUBuffer,
    private readonly staging: GPUBuffer,
  ) {}

  /** Undefined where the device has no timestamps, or not enough of them. */
  static async make(gpu: GpuDevice, commands: number): Promise<Clock | undefined> {
    const count = 2 * commands;
    if (!gpu.device.features.has("timestamp-query") || count > maxQueries) return undefined;
    return await gpu.guarded("making a clock", () => {
      const queries = gpu.device.createQuerySet({ type: "timestamp", count });
      const resolved = gpu.buffer(8 * count, usage.queryResolve | usage.copySource, "timestamps");
      return new Clock(queries, resolved, gpu.buffer(8 * count, usage.mapRead | usage.copyTarget, "timestamps"));
    });
  }

  /** Each command in a pass of its own, with the times before and after it. */
  encode(
    encoder: GPUCommandEncoder,
    commands: readonly Command[],
    issue: (pass: GPUComputePassEncoder, c: Command) => void,
  ): void {
    if (commands.length === 0) return;
    commands.forEach((c, i) => {
      const pass = encoder.beginComputePass({
        timestampWrites: {
          querySet: this.queries,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        },
      });
      issue(pass, c);
      pass.end();
    });
    encoder.resolveQuerySet(this.queries, 0, 2 * commands.length, this.resolved, 0);
    encoder.copyBufferToBuffer(this.resolved, 0, this.staging, 0, 16 * commands.length);
  }

  /** Adds up milliseconds by step. Reading the clock is no part of what it measures. */
  async read(commands: readonly Command[], times: Float64Array): Promise<void> {
    if (commands.length === 0) return;
    await this.staging.mapAsync(1);
    const stamps = new BigUint64Array(this.staging.getMappedRange(0, 16 * commands.length));
    commands.forEach(({ step }, i) => {
      times[step] += Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6;
    });
    this.staging.unmap();
  }

  dispose(): void {
    this.queries.destroy();
    this.resolved.destroy();
    this.staging.destroy();
  }
}
