/**
 * Copies between the caller's arrays and linear memory: of small models that multiply inputs, half the time.
 *
 * V8 copies to and from shared memory word by word. The copy of Node's buffers is a memmove, from Node 22 on of any views.
 * Microseconds for each MB, on one core of an AMD EPYC (Zen 4), Node 24:
 *
 *                              64 kB   1 MB   4 MB
 *   set, memory shared            72     72     72
 *   set, not shared               20     31     43     up to 4 kB 30 nanoseconds less than the next
 *   Buffer.prototype.copy         20     24     23     shared or not
 *   shared by way of a memory that is not (a module with two memories)
 *                                 40     54     86
 *   loops over 64-bit floats     155    157    159
 *
 * An array for a result costs 50 more, which is zeros and pages that are new: `slice` of shared memory 125, an array and
 * the copy 76. Bytes from `Buffer.allocUnsafeSlow`, which nobody fills with zeros, are not cheaper, pages being what
 * takes time. Node 20 has no such copy; its `set` takes 36.
 */
import type { TypedArray } from "../../tensor/dtype.ts";

type Copy = (this: TypedArray, to: TypedArray) => unknown;

/** Bytes from which the call of it pays off. */
const least = 4096;

/** Node's copy, where it takes arrays of all kinds: elsewhere it throws, or is another. */
const bufferCopy = /* @__PURE__ */ (() => {
  const copy = (globalThis as { Buffer?: { prototype: { copy: Copy } } }).Buffer?.prototype.copy;
  const to = new Float32Array(2);
  try {
    copy?.call(Float32Array.of(1, 2), to);
  } catch {}
  return to[1] === 2 ? copy : undefined;
})();

/** `to` = `from`, of the same kind and length. */
export function copyTo(from: TypedArray, to: TypedArray): void {
  if (bufferCopy && from.byteLength >= least) bufferCopy.call(from, to);
  else to.set(from as never);
}
