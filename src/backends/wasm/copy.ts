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
 * An array for a result costs 50 to 80 more, which is zeros and pages that are new. Bytes that nobody fills with zeros
 * are often pages that the C library has had before: a product of 512 x 512 takes 2.52 ms on two threads instead of 2.60,
 * one of 1024 x 1024 24.3 instead of 25.6. Node 20 has no such copy; its `set` takes 36.
 */
import type { TypedArray, TypedArrayConstructor } from "../../tensor/dtype.ts";

type Copy = (this: TypedArray, to: TypedArray) => unknown;

/** What Node's buffers offer here. */
interface NodeBuffer {
  allocUnsafeSlow(bytes: number): { readonly buffer: ArrayBuffer };
  readonly prototype: { readonly copy: Copy };
}

const nodeBuffer = (globalThis as { Buffer?: NodeBuffer }).Buffer;

/** Bytes from which the call of it pays off. */
const least = 4096;
/** Bytes from which zeros do not come for nothing. */
const large = 65_536;

/** Node's copy, where it takes arrays of all kinds: elsewhere it throws, or is another. */
const bufferCopy = /* @__PURE__ */ (() => {
  const copy = nodeBuffer?.prototype.copy;
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

/** An array of that kind and length, for someone who writes all of it: its elements may be anything. */
export function arrayLike(like: TypedArray): TypedArray {
  const Kind = like.constructor as TypedArrayConstructor;
  if (!nodeBuffer || like.byteLength < large) return new Kind(like.length);
  return new Kind(nodeBuffer.allocUnsafeSlow(like.byteLength).buffer);
}
