/**
 * Constants of a session. A device that has copied one into its own memory takes it over: the host lets go of the
 * elements, and reads them back in the rare case that somebody asks for them again. So weights are in memory once, and
 * the file that they came in can be collected. Elements may also be pending: in a file, or where reading them takes a
 * promise, until they are loaded. Of weights in files there is never more than one in memory beside the device's copies, or a
 * part of one.
 */
import { type DType, dtypes, type Half, type TypedArray, viewOf } from "./dtype.ts";
import { DeviceError } from "./errors.ts";
import { leaveScratch, partSize, takeScratch } from "./scratch.ts";
import type { Shape } from "./shape.ts";
import type { HostTensor } from "./tensor.ts";

/** Bytes up to which elements stay on the host: planning looks at small ones, and they cost nothing. */
const stayBytes = 1 << 16;

/** Asked for while pending: who can wait loads them and tries again. */
export class PendingWeightError extends DeviceError {
  override name = "PendingWeightError";
  constructor(readonly elements: Elements) {
    super("a weight is not in the host's memory: a run() reads it");
  }
}

/** `transfer` is newer than Node 20. */
interface Transferable {
  transfer?(newLength: number): unknown;
}

/**
 * Elements in order, each part a multiple of `granule` but for the last, and valid until the next one is asked for. Whoever
 * asks may write over them.
 */
export type ElementParts = (granule: number) => AsyncIterable<TypedArray>;

/** Where elements are that are not in memory. */
export interface StoredElements {
  /** Gives an array that nobody else holds, or a view of a larger one. */
  fetch(): Promise<TypedArray>;
  /** The same at once, where the host can: each time that somebody asks who cannot wait. */
  read?(): TypedArray;
  /** The same part by part, for devices that need no more of it at once. */
  readonly parts?: ElementParts;
  /** They are computed from what is in memory all the time. */
  readonly inMemory?: boolean;
}

/** Elements in bytes that others hold: copied, as they need not be aligned, part by part. */
export function inBytes(bytes: Uint8Array, dtype: DType): StoredElements {
  const size = dtypes[dtype].bytes;
  const copy = (): TypedArray => viewOf(dtype, bytes.slice().buffer, 0, bytes.length / size);
  return {
    inMemory: true,
    fetch: async () => copy(),
    read: copy,
    async *parts(granule) {
      const step = partSize(size * granule);
      const buffer = takeScratch(Math.min(step, bytes.length));
      try {
        for (let at = 0; at < bytes.length; at += step) {
          const part = bytes.subarray(at, at + step);
          buffer.set(part);
          yield viewOf(dtype, buffer.buffer, 0, part.length / size);
        }
      } finally {
        leaveScratch(buffer);
      }
    },
  };
}

/** Elements that tensors of several shapes may share. */
export class Elements {
  private readonly stay: boolean;
  private read: (() => TypedArray) | undefined;
  private fetch: (() => Promise<TypedArray>) | undefined;
  /** What they were read from. */
  private origin: StoredElements | undefined;

  /** @param owned nobody else has the array: its memory can be freed at once, instead of when garbage is collected */
  constructor(
    private held: TypedArray | undefined,
    private readonly owned = false,
  ) {
    this.stay = held !== undefined && held.byteLength <= stayBytes;
    // A view would keep all of the file.
    if (this.stay && held!.buffer.byteLength > held!.byteLength) this.held = held!.slice();
  }

  static stored(origin: StoredElements): Elements {
    const elements = new Elements(undefined, true);
    elements.origin = origin;
    elements.fetch = () => origin.fetch();
    return elements;
  }

  /** How they are read part by part, while they are pending and can be. */
  get parts(): ElementParts | undefined {
    return this.pending ? this.origin?.parts : undefined;
  }

  /** Whether those that are pending can be had without waiting. */
  get readable(): boolean {
    return this.origin?.read !== undefined;
  }

  /**
   * What pending elements become, computed each time that they are read.
   * @param change writes over the elements from number `at` on
   */
  changed(change: (part: TypedArray, at: number) => void): Elements {
    const origin = this.origin!;
    const { parts, inMemory } = origin;
    const all = (elements: TypedArray): TypedArray => {
      const own = elements.buffer.byteLength > elements.byteLength ? elements.slice() : elements;
      change(own, 0);
      return own;
    };
    return Elements.stored({
      inMemory,
      fetch: async () => all(await origin.fetch()),
      read: origin.read && (() => all(origin.read!())),
      parts:
        parts &&
        async function* (granule) {
          let at = 0;
          for await (const part of parts(granule)) {
            change(part, at);
            at += part.length;
            yield part;
          }
        },
    });
  }

  /** Whether they have to be loaded first. */
  get pending(): boolean {
    return this.fetch !== undefined;
  }

  /** Reads them. */
  async load(): Promise<void> {
    this.held = await this.fetch?.();
    this.fetch = undefined;
  }

  /** Whether the host still has them. */
  get onHost(): boolean {
    return this.held !== undefined;
  }

  /** @throws PendingWeightError */
  get data(): TypedArray {
    if (this.fetch) {
      if (this.origin?.read) return this.origin.read();
      throw new PendingWeightError(this);
    }
    return this.held ?? this.read!();
  }

  /** The array itself for a device that changes it, which `read` gives again when it is asked for; undefined where others have it. */
  takeOver(read: () => TypedArray): TypedArray | undefined {
    const { held } = this;
    if (this.stay || !this.owned || !held || held.buffer.byteLength > held.byteLength) return undefined;
    this.held = undefined;
    this.origin = undefined;
    this.read = read;
    return held;
  }

  /** Lets go of the host's copy. `read` gives the elements when they are asked for. */
  handOver(read: () => TypedArray): void {
    if (this.stay) return;
    this.drop();
    this.fetch = undefined;
    this.origin = undefined;
    this.read = read;
  }

  /**
   * The same where reading takes a promise: they are pending then. Those from files come from there again. Without either
   * the host has a copy, so that what they are a view of, or computed from, can go.
   */
  release(fetch?: () => Promise<TypedArray>): void {
    const { origin, held } = this;
    if (this.stay || !(held || this.fetch)) return;
    const again = origin && !origin.inMemory ? () => origin.fetch() : fetch;
    if (again) {
      this.drop();
      this.fetch = again;
    } else if (held) {
      if (held.buffer.byteLength > held.byteLength) this.held = held.slice();
    } else if (origin?.read) {
      this.held = origin.read();
      this.fetch = undefined;
      this.origin = undefined;
    }
  }

  private drop(): void {
    const { held } = this;
    // A view leaves the rest of its buffer to others.
    if (this.owned && held && held.buffer.byteLength === held.byteLength) (held.buffer as Transferable).transfer?.(0);
    this.held = undefined;
  }
}

export class Weight implements HostTensor {
  /** What the elements are, where they are narrower than the dtype: see half-weight.ts. */
  readonly stored?: Half;

  constructor(
    readonly dtype: DType,
    readonly shape: Shape,
    readonly elements: Elements,
  ) {}

  get data(): TypedArray {
    return this.elements.data;
  }

  /** Lets go of the host's copy. `read` gives `data` when it is asked for. */
  handOver(read: () => TypedArray): void {
    this.elements.handOver(read);
  }

  /** The same elements under another shape. */
  reshaped(shape: Shape): Weight {
    return new Weight(this.dtype, shape, this.elements);
  }
}

/** What tells constants apart: tensors of the same elements are one. */
export const sourceOf = (t: HostTensor): object => (t instanceof Weight ? t.elements : (t.data as object));
