/** Devices that kernels are made for, beside those at hand. */
import type { GpuTarget } from "../../src/backends/webgpu/target.ts";

/** The least that WebGPU promises. */
const limits = {
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
};

/** All that kernels know how to use. */
export const everything: GpuTarget = {
  f16: true,
  subgroups: { min: 32, max: 32 },
  packedDot: true,
  matrixUnits: [
    { component: "f32", m: 8, n: 8, k: 8 },
    { component: "f16", m: 8, n: 8, k: 8 },
  ],
  limits,
};

export const targets: Readonly<Record<string, GpuTarget>> = {
  everything,
  "larger matrix units": {
    ...everything,
    matrixUnits: [
      { component: "f16", m: 16, n: 16, k: 16 },
      { component: "f32", m: 16, n: 16, k: 8 },
    ],
  },
  "f16 without subgroups": { f16: true, packedDot: false, limits },
  "narrow subgroups": { f16: false, subgroups: { min: 4, max: 4 }, packedDot: true, limits },
  "the least": { f16: false, packedDot: false, limits },
};
