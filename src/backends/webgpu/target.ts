/** What kernels are generated for, and how each dtype lies in device memory. */
import { bytesOf, type DType } from "../../tensor/dtype.ts";

/** A WGSL scalar type that shaders compute in. */
export type Scalar = "f32" | "i32" | "u32";

/** How elements of a dtype are stored. */
export interface Storage {
  /** Element of the buffer. */
  readonly element: Scalar | "f16";
  readonly bytes: 2 | 4;
  /** What it is computed in. */
  readonly scalar: Scalar;
}

/** A product [m, k] x [k, n] that a subgroup computes at once, with sums in f32. */
export interface MatrixUnit {
  readonly component: "f32" | "f16";
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

export interface GpuTarget {
  /** Whether `f16` may be used: else tensors of 16-bit floats lie in memory as f32. */
  readonly f16: boolean;
  /** Sizes that a subgroup may have; undefined where they are not to be used. */
  readonly subgroups?: { readonly min: number; readonly max: number };
  /** Where subgroups are all of one size. */
  readonly matrixUnits?: readonly MatrixUnit[];
  /** Whether shaders have `dot4I8Packed`. */
  readonly packedDot: boolean;
  readonly limits: GpuLimits;
}

/** Those of the device that kernels and plans keep to. */
export const limitNames = [
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
] as const;
export type GpuLimits = Readonly<Record<(typeof limitNames)[number], number>>;

const f32: Storage = { element: "f32", bytes: 4, scalar: "f32" };
const f16: Storage = { element: "f16", bytes: 2, scalar: "f32" };
const i32: Storage = { element: "i32", bytes: 4, scalar: "i32" };
const u32: Storage = { element: "u32", bytes: 4, scalar: "u32" };

/**
 * i64 and u64 are narrowed to 32 bits, with a range check where they come in, and wrap there; smaller integers and bool take a word each,
 * so that invocations never write to one word together. 16-bit floats without `shader-f16` are f32 until they are read
 * back. Undefined for what shaders cannot compute with: f64, fp8, packed formats.
 */
const storages: Partial<Record<DType, Storage>> = {
  f32,
  bf16: f32,
  i64: i32,
  i32,
  i16: i32,
  i8: i32,
  i4: i32,
  i2: i32,
  u64: u32,
  u32,
  u16: u32,
  u8: u32,
  u4: u32,
  u2: u32,
  bool: u32,
};

export function storageOf(target: Pick<GpuTarget, "f16">, dtype: DType): Storage | undefined {
  if (dtype === "f16") return target.f16 ? f16 : f32;
  return storages[dtype];
}

/** Bytes of an element on the device; dtypes that shaders can't compute with are kept as they are. */
export const deviceBytes = (target: Pick<GpuTarget, "f16">, dtype: DType): number =>
  storageOf(target, dtype)?.bytes ?? bytesOf(dtype);
