/**
 * Weights of f32 whose elements are 16-bit floats: in files, on the host, and in kernels that read them as they are. To
 * everybody else they are f32, widened each time that `data` is asked for.
 */
import type { Half, TypedArray } from "./dtype.ts";
import { decodeTable, encodeFloats } from "./float.ts";
import type { Shape } from "./shape.ts";
import type { HostTensor } from "./tensor.ts";
import { Elements, Weight } from "./weight.ts";

/** Elements up to which weights are widened at once: passes look at small ones again and again. */
const fewElements = 4096;

/** The f32 of each 16-bit float. */
export function decodeHalves(bits: ArrayLike<number>, dtype: Half): Float32Array {
  const table = decodeTable(dtype);
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = table[bits[i]];
  return out;
}

export class HalfWeight extends Weight {
  override readonly stored: Half;

  /** @param elements 16-bit floats, perhaps pending */
  constructor(stored: Half, shape: Shape, elements: Elements) {
    super("f32", shape, elements);
    this.stored = stored;
  }

  override get data(): Float32Array {
    return decodeHalves(this.elements.data as Uint16Array, this.stored);
  }

  /** Widened numbers become the bits that they were. */
  override handOver(read: () => TypedArray): void {
    this.elements.handOver(() => {
      const wide = read() as Float32Array;
      const bits = new Uint16Array(wide.length);
      encodeFloats(this.stored, wide, bits);
      return bits;
    });
  }

  override reshaped(shape: Shape): HalfWeight {
    return new HalfWeight(this.stored, shape, this.elements);
  }

  /** Plain f32, for devices whose kernels read nothing else. */
  widened(): HostTensor {
    const { elements, shape } = this;
    if (!elements.pending) return { dtype: "f32", shape, data: this.data };
    const fetch = async (): Promise<Float32Array> => {
      await elements.load();
      const { data } = this;
      // The file has them still.
      elements.release();
      return data;
    };
    const read = elements.readable ? () => this.data : undefined;
    return new Weight("f32", shape, Elements.stored({ fetch, read }));
  }
}

/** A tensor of 16-bit floats as f32: a HalfWeight where it is large. @param owned nobody else has its array */
export function halfWeight(t: HostTensor, stored: Half, owned: boolean): HostTensor {
  const elements = t instanceof Weight ? t.elements : new Elements(t.data as Uint16Array, owned);
  const half = new HalfWeight(stored, t.shape, elements);
  return !elements.pending && elements.data.length <= fewElements ? half.widened() : half;
}
