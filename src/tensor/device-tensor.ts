/** Tensors whose elements stay in the memory of a device, until somebody asks for them. */
import { symbolDispose } from "./dispose.ts";
import type { TensorData } from "./dtype.ts";
import { DisposedError } from "./errors.ts";
import type { Shape } from "./shape.ts";
import type { HostTensor, TensorType } from "./tensor.ts";

/** Elements where a device has them. */
export interface DeviceElements {
  /** Whose memory it is: devices with the same one can use each other's elements. */
  readonly memory: object;
  /** Tensors that have them: the last one frees them. */
  users: number;
  read(): Promise<HostTensor>;
  free(): void;
}

function letGo(elements: DeviceElements): void {
  if (--elements.users === 0) elements.free();
}

/** The safety net: tensors that nobody disposed give their memory back when they are collected. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<DeviceElements>(letGo);

/** A result of `run(inputs, { keepOnDevice })`. It may be an input of any session on the same device. */
export class DeviceTensor implements TensorType {
  readonly dtype: TensorType["dtype"];
  readonly shape: Shape;
  private held: DeviceElements | HostTensor | undefined;

  /** @param held on devices that compute in the host's memory, the elements themselves */
  constructor({ dtype, shape }: TensorType, held: DeviceElements | HostTensor) {
    this.dtype = dtype;
    this.shape = shape;
    this.held = held;
    if (!("memory" in held)) return;
    held.users++;
    forgotten.register(this, held, this);
  }

  /**
   * The elements, read back from the device.
   * @throws DisposedError after `dispose()`, DeviceError when the device was lost
   */
  async data(): Promise<TensorData> {
    return (await this.toHost()).data;
  }

  /** The same as `{ dtype, shape, data }`. */
  async toHost(): Promise<HostTensor> {
    const held = this.assertHeld();
    return "memory" in held ? await held.read() : { dtype: held.dtype, shape: held.shape, data: held.data.slice() };
  }

  /** Gives the memory back: when they have ended, if runs that take it are under way. */
  dispose(): void {
    if (this.held && "memory" in this.held) {
      forgotten.unregister(this);
      letGo(this.held);
    }
    this.held = undefined;
  }

  [symbolDispose](): void {
    this.dispose();
  }

  /** @internal One of the same elements, which lasts when this one is disposed. */
  share(): DeviceTensor {
    return new DeviceTensor(this, this.assertHeld());
  }

  /** @internal On a device with memory of its own. */
  get elements(): DeviceElements | undefined {
    const held = this.assertHeld();
    return "memory" in held ? held : undefined;
  }

  /** @internal Without waiting, where the host has it. */
  get host(): HostTensor | undefined {
    const held = this.assertHeld();
    return "memory" in held ? undefined : held;
  }

  private assertHeld(): DeviceElements | HostTensor {
    if (!this.held) throw new DisposedError("this tensor was disposed");
    return this.held;
  }
}
