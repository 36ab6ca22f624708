/**
 * Memory for what is read in passing, such as the parts of weights: one buffer after the other is the same one, until it is
 * collected. Engines let garbage outside of their heap grow to many times as much before they collect it.
 */
let spare: WeakRef<Uint8Array<ArrayBuffer>> | undefined;

/** A buffer of so many bytes or more. What is in it is left over from others. */
export function takeScratch(bytes: number): Uint8Array<ArrayBuffer> {
  const left = spare?.deref();
  spare = undefined;
  return left && left.length >= bytes ? left : new Uint8Array(bytes);
}

/** Leaves it to the next, who may write over it. */
export function leaveScratch(buffer: Uint8Array<ArrayBuffer>): void {
  spare = new WeakRef(buffer);
}

/**
 * About as many bytes make a part of what is read in passing: below the 128 kB from which the C library maps memory for what
 * is asked for. Once such a piece is freed, it keeps more of all that is freed after it.
 */
const partBytes = 7 << 14;

/** Bytes of a part: a multiple of `granule`. */
export const partSize = (granule: number): number => granule * Math.max(1, Math.floor(partBytes / granule));
