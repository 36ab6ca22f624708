/** A GPU device: its pipelines, shared by the sessions that use it, and its troubles as typed errors. */
import { DeviceError, DisposedError, ForwardpassError } from "../../tensor/errors.ts";
import { findAdapter } from "./gpu.ts";
import type { Binding } from "./step.ts";

/** Used where the adapter has them. */
const wantedFeatures = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"] as const;

const wantedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** Bits of GPUBufferUsage: the global is missing where WebGPU was loaded from a package. */
export const usage = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, storage: 0x80, queryResolve: 0x200 } as const;
/** Of GPUShaderStage. */
const computeStage = 4;
/** GPUMapMode.READ. */
export const mapRead = 1;

/** What is kept for tensors to come. */
const most = { buffers: 64, bytes: 2 ** 28 };

/** Sizes are rounded up to these, so that a buffer serves many values: eighths of a power of two. */
function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** Math.floor(Math.log2(bytes)) / 8);
  return Math.ceil(bytes / step) * step;
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const scopes = ["internal", "out-of-memory", "validation"] as const;

export class GpuDevice {
  private readonly pipelines = new Map<string, Promise<Pipeline>>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  /** Buffers of tensors that were given back, for the next of their size: the oldest first. */
  private readonly spare: GPUBuffer[] = [];
  private spareBytes = 0;
  private sessions = 0;
  private lostBecause: string | undefined;
  private holders = 0;
  /** Set when its last holder let go of it. */
  private closed = false;

  /** @param owned whether it was requested here, and may be destroyed here */
  constructor(
    readonly device: GPUDevice,
    private readonly owned: boolean,
  ) {
    device.lost.then(({ message, reason }) => {
      this.lostBecause = message || reason;
      this.pipelines.clear();
    });
  }

  get usable(): boolean {
    return this.lostBecause === undefined && !this.closed;
  }

  /** One more backend uses it. */
  hold(): this {
    this.holders++;
    return this;
  }

  /** The last to let go destroys it, if it was requested here. */
  release(): void {
    if (--this.holders > 0 || !this.owned) return;
    this.closed = true;
    this.device.destroy();
  }

  /** @throws DeviceError when it is lost */
  assertUsable(): void {
    if (this.closed) throw new DisposedError("webgpu: this backend was disposed");
    if (this.lostBecause === undefined) return;
    throw new DeviceError(
      `webgpu: the device was lost (${this.lostBecause}); load the model again, or on another device`,
    );
  }

  /** What went wrong in waiting for the device, as an error of ours. */
  async failure(cause: unknown): Promise<Error> {
    if (cause instanceof ForwardpassError) return cause;
    // A lost device fails first what waits for it.
    await new Promise((resolve) => setTimeout(resolve));
    try {
      this.assertUsable();
    } catch (e) {
      return e as Error;
    }
    return new DeviceError(`webgpu: ${(cause as Error).message ?? cause}`, { cause });
  }

  /**
   * Gives commands to the device. The promise settles when it has accepted or refused them.
   * @throws DeviceError
   */
  async guarded<T>(what: string, work: () => T): Promise<T> {
    this.assertUsable();
    const { device } = this;
    for (const scope of scopes) device.pushErrorScope(scope);
    let result: T;
    let errors: Promise<(GPUError | null)[]>;
    try {
      result = work();
    } finally {
      errors = Promise.all([...scopes].map(() => device.popErrorScope()));
      errors.catch(() => {});
    }
    const found = await errors.catch(async (e) => {
      throw await this.failure(e);
    });
    const [validation, memory, internal] = found;
    if (memory)
      throw new DeviceError(
        `webgpu: out of memory while ${what}: ${firstLine(memory)}; try smaller inputs or the wasm device`,
      );
    const error = validation ?? internal;
    if (error) throw new DeviceError(`webgpu: ${what} failed: ${error.message}`);
    return result;
  }

  /** @throws DeviceError where it is larger than the device allows */
  buffer(bytes: number, flags: number, label: string): GPUBuffer {
    const { maxBufferSize } = this.device.limits;
    if (bytes > maxBufferSize) throw tooLarge(label, bytes, "has buffers of at most", maxBufferSize);
    return this.device.createBuffer({ size: bytes, usage: flags, label });
  }

  /** A buffer that shaders work on. */
  memory(bytes: number, label: string): GPUBuffer {
    return this.buffer(bytes, usage.storage | usage.copySource | usage.copyTarget, label);
  }

  /** What a buffer for so many bytes is made for, so that it serves others. */
  sizeFor(bytes: number): number {
    const most = Math.floor(this.device.limits.maxBufferSize / 16) * 16;
    return Math.max(bytes, Math.min(sizeClass(bytes), most));
  }

  /** A buffer for a tensor that outlives its run. */
  take(bytes: number, label: string): GPUBuffer {
    const size = this.sizeFor(bytes);
    const at = this.spare.findIndex((b) => b.size === size);
    if (at < 0) return this.memory(size, label);
    this.spareBytes -= size;
    return this.spare.splice(at, 1)[0];
  }

  /** Gives one back that `take` gave. */
  giveBack(buffer: GPUBuffer): void {
    if (!this.usable) return;
    this.spare.push(buffer);
    this.spareBytes += buffer.size;
    this.trim(this.sessions > 0 ? most : { buffers: 0, bytes: 0 });
  }

  private trim({ buffers, bytes }: typeof most): void {
    while (this.spare.length > buffers || this.spareBytes > bytes) {
      const oldest = this.spare.shift()!;
      this.spareBytes -= oldest.size;
      oldest.destroy();
    }
  }

  /** One more session works on it. */
  enter(): void {
    this.sessions++;
  }

  /** When the last session leaves, nobody makes tensors for which something would be kept. */
  leave(): void {
    if (--this.sessions === 0) this.trim({ buffers: 0, bytes: 0 });
  }

  /** What is in a buffer, when all that was submitted is done. */
  async readBack(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    let staging: GPUBuffer | undefined;
    try {
      const accepted = this.guarded("reading back", () => {
        staging = this.buffer(Math.max(4, bytes), usage.mapRead | usage.copyTarget, "what is read back");
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
        this.device.queue.submit([encoder.finish()]);
      });
      await Promise.all([accepted, staging?.mapAsync(mapRead)]);
      return staging!.getMappedRange().slice(0, bytes);
    } catch (e) {
      throw await this.failure(e);
    } finally {
      staging?.destroy();
    }
  }

  /** The pipeline for a shader, compiled when it is first asked for. */
  pipeline(code: string, bindings: readonly Binding[], label: string): Promise<Pipeline> {
    const key = declarations(bindings) + code;
    let found = this.pipelines.get(key);
    if (!found) {
      this.pipelines.set(key, (found = this.compile(key, bindings, label)));
      found.catch(() => this.pipelines.delete(key));
    }
    return found;
  }

  private async compile(code: string, bindings: readonly Binding[], label: string): Promise<Pipeline> {
    const { device } = this;
    const layout = this.bindGroupLayout(bindings);
    let module: GPUShaderModule | undefined;
    try {
      module = await this.guarded(`compiling ${label}`, () =>
        device.createShaderModule({ code: header(code) + code, label }),
      );
      const pipeline = await device.createComputePipelineAsync({
        label,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: "main" },
      });
      return { pipeline, layout };
    } catch (cause) {
      const failed = await this.failure(cause);
      if (!this.usable || !(failed instanceof DeviceError)) throw failed;
      throw new DeviceError(`${failed.message} (shader of ${label})`, { cause });
    }
  }

  private bindGroupLayout(bindings: readonly Binding[]): GPUBindGroupLayout {
    const key = bindings.map((b) => b.access[0]).join("");
    let layout = this.layouts.get(key);
    if (!layout) {
      const type = (b: Binding): GPUBufferBindingType => (b.access === "read" ? "read-only-storage" : "storage");
      layout = this.device.createBindGroupLayout({
        entries: bindings.map((b, binding) => ({ binding, visibility: computeStage, buffer: { type: type(b) } })),
      });
      this.layouts.set(key, layout);
    }
    return layout;
  }
}

/** Drivers add where in their own code it was. */
const firstLine = ({ message }: GPUError): string => message.split("\n")[0];

/** What is too large for a device's limits. */
export const tooLarge = (what: string, bytes: number, verb: string, limit: number): DeviceError =>
  new DeviceError(
    `webgpu: ${what} takes ${bytes} bytes, and this device ${verb} ${limit}; try smaller inputs or the wasm device`,
  );

const declarations = (bindings: readonly Binding[]): string =>
  bindings
    .map(({ name, type, access }, i) => {
      const mode = access === "read" ? "read" : "read_write";
      return `@group(0) @binding(${i}) var<storage, ${mode}> ${name}: array<${type}>;\n`;
    })
    .join("");

/** Extensions that the code uses. */
function header(code: string): string {
  const f16 = /\bf16\b|\bvec\dh\b/.test(code) ? "enable f16;\n" : "";
  const subgroups = /\bsubgroup[A-Z]/.test(code) ? "enable subgroups;\n" : "";
  const matrices = code.includes("subgroup_matrix_") ? "enable chromium_experimental_subgroup_matrix;\n" : "";
  return f16 + subgroups + matrices;
}

let shared: GpuDevice | undefined;
let sharing: Promise<GpuDevice> | undefined;
const given = new WeakMap<GPUDevice, GpuDevice>();

/** Somebody else's device: never destroyed here. */
export function deviceOf(device: GPUDevice): GpuDevice {
  let found = given.get(device);
  if (!found) given.set(device, (found = new GpuDevice(device, false)));
  return found;
}

/**
 * The device that all backends without one of their own share, held for one more; a new one after it was lost. Nothing is
 * awaited between finding it usable and holding it: whoever else holds it may let go meanwhile.
 * @throws NoGpuError where there is no adapter, DeviceError where it gives no device
 */
export async function sharedDevice(powerPreference: GPUPowerPreference): Promise<GpuDevice> {
  if (shared?.usable) return shared.hold();
  sharing ??= requestDevice(powerPreference).finally(() => {
    sharing = undefined;
  });
  return (shared = await sharing).hold();
}

async function requestDevice(powerPreference: GPUPowerPreference): Promise<GpuDevice> {
  const adapter = await findAdapter({ powerPreference });
  const requiredLimits: Record<string, number> = {};
  for (const name of wantedLimits) requiredLimits[name] = adapter.limits[name];
  const requiredFeatures = wantedFeatures.filter((f) => adapter.features.has(f as GPUFeatureName)) as GPUFeatureName[];
  try {
    return new GpuDevice(await adapter.requestDevice({ requiredFeatures, requiredLimits, label: "forwardpass" }), true);
  } catch (cause) {
    throw new DeviceError(`webgpu: the adapter gave no device: ${(cause as Error).message}`, { cause });
  }
}
