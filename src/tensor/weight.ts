/**
 * Constants of a session. A device that has copied one into its own memory takes it over: the host lets go of the
 * elements, and reads them back in the rare case that somebody asks for them again. So weights are in memory once, and
 * the file that they came in can be collected. Elements may also be pending: in a file, or where reading them takes a
 * promise, until they are loaded. Of weights in files there is never more than one in memory beside the device's copies, or a
 * part of one.
 */
import type { DType, Half, TypedArray } from "./dtype.ts";
import { DeviceError } from "./errors.ts";
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

/** Elements in order, each part a multiple of `granule` but for the last, and valid until the next one is asked for. */
export type ElementParts = (granule: number) => AsyncIterable<TypedArray>;

/** Elements that tensors of several shapes may share. */
export class Elements {
  private readonly stay: boolean;
  private read: (() => TypedArray) | undefined;
  private fetch: (() => Promise<TypedArray>) | undefined;
  /** From the file that they came in. */
  private origin: (() => Promise<TypedArray>) | undefined;
  private inParts: ElementParts | undefined;

  /** @param owned nobody else has the array: its memory can be freed at once, instead of when garbage is collected */
  constructor(
    private held: TypedArray | undefined,
    private readonly owned = false,
  ) {
    this.stay = held !== undefined && held.byteLength <= stayBytes;
    // A view would keep all of the file.
    if (this.stay && held!.buffer.byteLength > held!.byteLength) this.held = held!.slice();
  }

  /**
   * @param fetch gives an array that nobody else holds, or a view of a larger one
   * @param parts the same part by part, for devices that need no more of it at once
   */
  static stored(fetch: () => Promise<TypedArray>, parts?: ElementParts): Elements {
    const elements = new Elements(undefined, true);
    elements.fetch = elements.origin = fetch;
    elements.inParts = parts;
    return elements;
  }

  /** How they are read part by part, while they are pending and can be. */
  get parts(): ElementParts | undefined {
    return this.pending ? this.inParts : undefined;
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
    if (this.fetch) throw new PendingWeightError(this);
    return this.held ?? this.read!();
  }

  /** The array itself for a device that changes it, which `read` gives again when it is asked for; undefined where others have it. */
  takeOver(read: () => TypedArray): TypedArray | undefined {
    const { held } = this;
    if (this.stay || !this.owned || !held || held.buffer.byteLength > held.byteLength) return undefined;
    this.held = undefined;
    this.read = read;
    return held;
  }

  /** Lets go of the host's copy. `read` gives the elements when they are asked for. */
  handOver(read: () => TypedArray): void {
    if (this.stay) return;
    this.drop();
    this.fetch = undefined;
    this.read = read;
  }

  /** The same where reading takes a promise: they are pending then. Stored ones come from their file again. */
  release(fetch: (() => Promise<TypedArray>) | undefined): void {
    const again = this.origin ?? fetch;
    if (this.stay || this.held === undefined || !again) return;
    this.drop();
    this.fetch = again;
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
