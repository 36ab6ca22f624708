/** What an operator holds on the host, within the memory limit of its run. */
import { DeviceError } from "../tensor/errors.ts";
import { type HostValue, memoryOf, type TensorType } from "../tensor/tensor.ts";
import type { EvaluateContext } from "./op.ts";

/** About what a tensor takes besides its elements: a list of many small ones is mostly this. */
const overhead = 400;

export class HostMemory {
  private readonly limit: number;
  private bytes = 0;

  constructor(
    readonly op: string,
    { memoryLimit }: Pick<EvaluateContext, "memoryLimit">,
  ) {
    this.limit = memoryLimit;
  }

  /** Counts a value, or one that is about to be made. @throws DeviceError where it is too much */
  hold<V extends HostValue | TensorType>(v: V): V {
    this.bytes += bytesOf(v);
    if (this.bytes <= this.limit) return v;
    const { op, limit } = this;
    throw new DeviceError(
      `${op}: would hold more than the limit of ${limit} bytes on the host; try smaller inputs, or load with a higher ` +
        "{ memoryLimit }",
      { op },
    );
  }
}

function bytesOf(v: HostValue | TensorType): number {
  if (v === null || "dtype" in v) return overhead + (v ? memoryOf(v) : 0);
  return v.reduce((sum, each) => sum + bytesOf(each), overhead);
}
