/** The test machine's adapter computes: what the tests of the webgpu backend stand on. */
import { expect, test } from "vitest";
import { requestAdapter } from "./adapter.ts";

const code = `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&x)) { y[id.x] = fma(x[id.x], x[id.x], 1); }
}`;

test("a compute shader gives squares plus one", async () => {
  const adapter = await requestAdapter();
  if (process.env["VK_DRIVER_FILES"]) expect(adapter.info.architecture).toBe("swiftshader");
  const device = await adapter.requestDevice();
  const n = 1000;
  const x = Float32Array.from({ length: n }, (_, i) => i / 7);
  const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
  const input = device.createBuffer({ size: 4 * n, usage: STORAGE | COPY_DST });
  const output = device.createBuffer({ size: 4 * n, usage: STORAGE | COPY_SRC });
  const staging = device.createBuffer({ size: 4 * n, usage: MAP_READ | COPY_DST });
  device.queue.writeBuffer(input, 0, x);
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }) },
  });
  const entries = [input, output].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(Math.ceil(n / 64));
  pass.end();
  encoder.copyBufferToBuffer(output, 0, staging, 0, 4 * n);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const y = new Float32Array(staging.getMappedRange()).slice();
  staging.unmap();
  device.destroy();
  x.forEach((v, i) => {
    expect(Math.abs(y[i] - (v * v + 1))).toBeLessThan(1e-6 * (v * v + 1));
  });
});
