/** Values on their way back: copied to memory that the host can map, as many at once as one buffer holds. */
import type { HostTensor } from "../../tensor/tensor.ts";
import type { Place } from "../backend.ts";
import { copiedBytes, decode } from "./border.ts";
import { mapRead } from "./device.ts";
import type { WebgpuSession } from "./session.ts";

export type Work<T> = Generator<Promise<unknown> | undefined, T>;

export function* waitFor<T>(p: Promise<T>): Work<T> {
  return (yield p) as T;
}

/**
 * Submits what `begin` encodes, and reads values when it is done.
 * @param bufferAt where a value lies that is no constant
 */
export function* readBack(
  session: WebgpuSession,
  places: readonly Place[],
  bufferAt: (p: Place) => GPUBuffer,
  begin: (encoder: GPUCommandEncoder) => void,
): Work<HostTensor[]> {
  const { gpu } = session;
  const most = gpu.device.limits.maxBufferSize;
  const bytesOf = places.map((p) => (p.constant ? 0 : aligned(copiedBytes(session.target, p))));
  const results: HostTensor[] = [];
  do {
    const from = results.length;
    let to = from;
    let bytes = 0;
    while (to < places.length && (to === from || bytes + bytesOf[to] <= most)) bytes += bytesOf[to++];
    const round = places.slice(from, to);
    results.push(...(yield* readTogether(session, round, bytes, bufferAt, from === 0 ? begin : undefined)));
  } while (results.length < places.length);
  return results;
}

function* readTogether(
  session: WebgpuSession,
  places: readonly Place[],
  bytes: number,
  bufferAt: (p: Place) => GPUBuffer,
  begin: ((encoder: GPUCommandEncoder) => void) | undefined,
): Work<HostTensor[]> {
  const { gpu, target } = session;
  let staging: GPUBuffer | undefined;
  const accepted = gpu.guarded("running the model", () => {
    if (bytes > 0) staging = session.stagingBuffer(bytes);
    const encoder = gpu.device.createCommandEncoder();
    begin?.(encoder);
    let offset = 0;
    for (const p of places) {
      const size = p.constant ? 0 : copiedBytes(target, p);
      if (size > 0) encoder.copyBufferToBuffer(bufferAt(p), 0, staging!, offset, size);
      offset += aligned(size);
    }
    gpu.device.queue.submit([encoder.finish()]);
  });
  try {
    yield* waitFor(Promise.all([accepted, staging?.mapAsync(mapRead, 0, bytes)]));
    const mapped = staging?.getMappedRange(0, bytes) ?? new ArrayBuffer(0);
    let offset = 0;
    return places.map((p) => {
      if (p.constant) return { dtype: p.dtype, shape: p.shape, data: p.constant.data.slice() };
      const t = decode(target, p, mapped, offset);
      offset += aligned(copiedBytes(target, p));
      return t;
    });
  } catch (e) {
    session.dropStaging();
    // What the device has against it says more than that there is nothing to read.
    yield* waitFor(accepted);
    throw e;
  } finally {
    staging?.unmap();
  }
}

/** Rows of 8-byte elements start where views of them may. */
const aligned = (bytes: number): number => Math.ceil(bytes / 8) * 8;
