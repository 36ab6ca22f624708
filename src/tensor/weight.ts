/**
 * Constants of a session. A device that has copied one into its own memory takes it over: the host lets go of the
 * elements, and reads them back in the rare case that somebody asks for them again. So weights are in memory once, and
 * the file that they came in can be collected.
 */
import type { DType, TypedArray } from "./dtype.ts";
import type { Shape } from "./shape.ts";
import type { HostTensor } from "./tensor.ts";

/** Bytes up to which elements stay on the host: planning looks at small ones, and they cost nothing. */
const stayBytes = 1 << 16;

/** `transfer` is newer than Node 20. */
interface Transferable {
  transfer?(newLength: number): unknown;
}

/** Elements that tensors of several shapes may share. */
export class Elements {
  private readonly stay: boolean;
  private read: (() => TypedArray) | undefined;

  /** @param owned nobody else has the array: its memory can be freed at once, instead of when garbage is collected */
  constructor(
    private held: TypedArray | undefined,
    private readonly owned = false,
  ) {
    this.stay = held!.byteLength <= stayBytes;
    // A view would keep all of the file.
    if (this.stay && held!.buffer.byteLength > held!.byteLength) this.held = held!.slice();
  }

  /** Whether the host still has them. */
  get onHost(): boolean {
    return this.held !== undefined;
  }

  get data(): TypedArray {
    return this.held ?? this.read!();
  }

  /** Lets go of the host's copy. `read` gives the elements when they are asked for. */
  handOver(read: () => TypedArray): void {
    if (this.stay) return;
    const { held } = this;
    // A view leaves the rest of its buffer to others.
    if (this.owned && held && held.buffer.byteLength === held.byteLength) (held.buffer as Transferable).transfer?.(0);
    this.held = undefined;
    this.read = read;
  }
}

export class Weight implements HostTensor {
  constructor(
    readonly dtype: DType,
    readonly shape: Shape,
    readonly elements: Elements,
  ) {}

  get data(): TypedArray {
    return this.elements.data;
  }
}
