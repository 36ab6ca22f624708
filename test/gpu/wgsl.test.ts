/**
 * Every kernel's WGSL for devices that are not at hand: with f16, with wide subgroups, with next to nothing. A device of
 * Dawn's that computes nothing has all features and compiles every shader, down to the checks of a pipeline.
 */
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { create } from "webgpu";
import type { Kernel } from "../../src/backends/backend.ts";
import { deviceOf } from "../../src/backends/webgpu/device.ts";
import { familiesFor } from "../../src/backends/webgpu/index.ts";
import type { Dispatch, GpuStep } from "../../src/backends/webgpu/step.ts";
import type { GpuTarget } from "../../src/backends/webgpu/target.ts";
import { inferNode } from "../../src/graph/infer.ts";
import { isHostInput } from "../../src/ops/op.ts";
import { ForwardpassError } from "../../src/tensor/errors.ts";
import type { OpCase } from "../cases/case.ts";
import { cases } from "../cases/index.ts";
import { installDawn } from "./dawn.ts";
import { targets } from "./targets.ts";

// Its globals.
await installDawn();
// Kept here: what it gave stops working when it is collected.
const nothing = { gpu: create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]) };
const adapter = (await nothing.gpu.requestAdapter())!;
const features = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
const device = await adapter.requestDevice({ requiredFeatures: features });
afterAll(() => {
  device.destroy();
  expect(nothing.gpu).toBeDefined();
});

/** Cases that a kernel takes, of those that are drawn for its operator. */
const perKernel = Number(process.env["FORWARDPASS_RUNS"] ?? 10);
const draws = 250;

const drawn = new Map<string, OpCase[]>();
function casesOf(op: string): OpCase[] {
  let list = drawn.get(op);
  if (!list) {
    const arbitrary = (cases as Record<string, fc.Arbitrary<OpCase>>)[op];
    drawn.set(op, (list = fc.sample(arbitrary, { numRuns: draws, seed: 5 })));
  }
  return list;
}

/** The step of a kernel for a case, all inputs but the first being constant or not. Undefined where it declines. */
function stepOf(kernel: Kernel<GpuStep>, { inputs, attrs }: OpCase, constant: boolean): GpuStep | undefined {
  try {
    const operands = inputs.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t });
    const outputs = inferNode({ op: kernel.op, name: "", inputs: [], outputs: [], attrs }, operands);
    const isConstant = (i: number): boolean => (constant && i > 0) || isHostInput(kernel.op, i);
    const given = inputs.map(
      (t, i) => t && { dtype: t.dtype, shape: t.shape, constant: isConstant(i) ? t : undefined },
    );
    return kernel.plan(given, outputs, attrs);
  } catch (e) {
    if (e instanceof ForwardpassError) return undefined;
    throw e;
  }
}

/** By their code. Every kernel has some. */
async function shadersFor(target: GpuTarget): Promise<Map<string, { dispatch: Dispatch; kernel: string }>> {
  const unreached = new Set<string>();
  const shaders = new Map<string, { dispatch: Dispatch; kernel: string }>();
  for (const [, load] of familiesFor(target))
    for (const kernel of await load()) {
      let reached = 0;
      for (const [i, c] of casesOf(kernel.op.name).entries()) {
        const run = stepOf(kernel, c, i % 2 === 1)?.run ?? [];
        for (const dispatch of run) shaders.set(dispatch.code, { dispatch, kernel: kernel.name });
        if (run.length > 0 && ++reached === perKernel) break;
      }
      if (reached === 0) unreached.add(kernel.name);
    }
  const withoutTarget = target.packedDot ? [] : ["webgpu/quantizedMatmul/dot"];
  expect([...unreached]).toEqual(withoutTarget);
  return shaders;
}

test.each(Object.entries(targets))(
  "shaders for %s compile",
  async (_, target) => {
    const shaders = await shadersFor(target);
    expect(shaders.size).toBeGreaterThan(300);
    const codes = [...shaders.keys()];
    expect(codes.some((code) => /\bf16\b|vec4h/.test(code))).toBe(target.f16);
    expect(codes.some((code) => /subgroup[A-Z]/.test(code))).toBe(target.subgroups !== undefined);
    expect(codes.some((code) => code.includes("dot4I8Packed"))).toBe(target.packedDot);
    for (const { dispatch, kernel } of shaders.values()) {
      expect(dispatch.bindings.length, kernel).toBeLessThanOrEqual(target.limits.maxStorageBuffersPerShaderStage);
      await deviceOf(device).pipeline(dispatch.code, dispatch.bindings, kernel);
    }
  },
  300_000,
);
