/** What tiled products bring in from memory: counted by the shaders themselves, and as `explain()` tells it. */
import { expect, test } from "vitest";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import { matmulKernels } from "../../src/backends/webgpu/matmul.ts";
import type { Dispatch } from "../../src/backends/webgpu/step.ts";
import { compile, graph, matmul } from "../../src/index.ts";
import { installDawn } from "./dawn.ts";
import { targets } from "./targets.ts";

await installDawn();
const { device } = await openWebgpu();

const type = (shape: number[]) => ({ dtype: "f32", shape }) as const;
const buffer = (size: number) => device.createBuffer({ size, usage: 128 | 4 });

/** Loads from `a` and `b`, and stores to `y`, in bytes. */
async function traffic({ bindings, code, workgroups }: Dispatch, bytes: Readonly<Record<string, number>>) {
  const lanes = (name: string): number => (bindings.find((b) => b.name === name)!.type === "vec4f" ? 16 : 4);
  const counting = code
    .replace(/(?<![.\w])a\[/g, "a[counted(0u) + ")
    .replace(/(?<![.\w])b\[/g, "b[counted(1u) + ")
    .replace(/(?<![.\w])y\[/g, "y[counted(2u) + ");
  const module = device.createShaderModule({
    code: `@group(0) @binding(${bindings.length}) var<storage, read_write> counts: array<atomic<u32>>;
fn counted(which: u32) -> u32 { atomicAdd(&counts[which], 1u); return 0u; }
${bindings.map((b, i) => `@group(0) @binding(${i}) var<storage, ${b.access === "read" ? "read" : "read_write"}> ${b.name}: array<${b.type}>;`).join("\n")}
${counting}`,
  });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const counts = buffer(16);
  const buffers = [...bindings.map((b) => buffer(bytes[b.name])), counts];
  const entries = buffers.map((b, binding) => ({ binding, resource: { buffer: b } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...workgroups);
  pass.end();
  const staging = device.createBuffer({ size: 16, usage: 1 | 8 });
  encoder.copyBufferToBuffer(counts, 0, staging, 0, 16);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(1);
  const [a, b, y] = new Uint32Array(staging.getMappedRange());
  for (const each of [...buffers, staging]) each.destroy();
  return a * lanes("a") + b * lanes("b") + y * lanes("y");
}

test.each([
  [64, 64, 64],
  [130, 70, 33],
  // Large tiles, that are full and that are not.
  [512, 512, 32],
  [500, 516, 20],
])("a product [%s, %s] over %s moves what its tiling takes", async (m, n, k) => {
  const tile = matmulKernels(targets["the least"]).find((kernel) => kernel.name === "webgpu/matmul/tile")!;
  const step = tile.plan([type([m, k]), type([k, n]), undefined, undefined], [type([m, n])], {})!;
  const [dispatch] = step.run;
  const [across, down] = dispatch.workgroups;
  const least = 4 * (m * k * across + k * n * down + m * n);
  const moved = await traffic(dispatch, { a: 4 * m * k + 16, b: 4 * k * n + 16, y: 4 * m * n + 16 });
  expect(moved).toBeGreaterThanOrEqual(least);
  expect(moved / least).toBeLessThan(1.15);
  expect(step.bytes).toBe(moved);
});

test("explain() tells it, and the product is right in every tile", async () => {
  const [m, n, k] = [500, 516, 20];
  const g = graph(({ input }) => ({ y: matmul(input("a", "f32", [m, k]), input("b", "f32", [k, n])) }));
  using session = await compile(g, { device: await openWebgpu() });
  const a = Float32Array.from({ length: m * k }, (_, i) => (i % 17) - 8);
  const b = Float32Array.from({ length: k * n }, (_, i) => (i % 13) - 6);
  const { y } = await session.run({ a, b });
  let wrong = 0;
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let d = 0; d < k; d++) sum += a[i * k + d] * b[d * n + j];
      if (y.data[i * n + j] !== sum) wrong++;
    }
  expect(wrong).toBe(0);
  const [{ kernel, bytes }] = session.explain();
  expect(kernel).toBe("webgpu/matmul/tile");
  expect(bytes).toBe(4 * (m * k * Math.ceil(n / 128) + k * n * Math.ceil(m / 128) + m * n));
});
