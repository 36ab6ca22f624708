/** What a GPU can do at best, as plain shaders measure it: copying memory, and multiplying and adding in registers. */

export interface Ceilings {
  /** Gigabytes a second, what is read and what is written together. */
  readonly copy: number;
  /** Gigaflops; a multiplication and an addition are two. */
  readonly f32: number;
  /** Undefined where shaders have no f16. */
  readonly f16?: number;
}

/** GPUBufferUsage: the global is missing in Node. */
const usage = { copySource: 0x4, copyTarget: 0x8, storage: 0x80 } as const;
const lanes = 256;

/** @param span milliseconds that a measured submission takes at least */
export async function measureCeilings(device: GPUDevice, span: number): Promise<Ceilings> {
  const f32 = await multiplyAdd(device, "f32", span);
  return {
    copy: await copying(device, span),
    f32,
    f16: device.features.has("shader-f16") ? await multiplyAdd(device, "f16", span) : undefined,
  };
}

const accumulators = 8;
const unrolled = 4;
/** Enough invocations for every core of a large GPU. */
const groups = 1024;

/** Chains that do not wait for each other, of multiplications and additions in registers. The faster of two spellings. */
async function multiplyAdd(device: GPUDevice, type: "f32" | "f16", span: number): Promise<number> {
  const vector = `vec4<${type}>`;
  const spelled = [(a: string) => `fma(${a}, m, c)`, (a: string) => `${a} * m + c`];
  let best = 0;
  for (const spell of spelled) {
    const chains = Array.from({ length: accumulators }, (_, i) => `a${i}`);
    const line = chains.map((a) => `${a} = ${spell(a)};`).join(" ");
    const code = `${type === "f16" ? "enable f16;" : ""}
struct Parameters { rounds: u32, m: f32, c: f32 }
@group(0) @binding(0) var<storage, read> p: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(${lanes}) fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = ${vector}(${type}(p.m));
  let c = ${vector}(${type}(p.c));
${chains.map((a, i) => `  var ${a} = ${vector}(${type}(f32(id.x % 64u) * 0.01 + ${i}.0));`).join("\n")}
  for (var i = 0u; i < p.rounds; i++) {
${`    ${line}\n`.repeat(unrolled)}  }
  let sum = ${chains.join(" + ")};
  y[id.x] = f32(sum.x + sum.y + sum.z + sum.w);
}`;
    const parameters = device.createBuffer({ size: 16, usage: usage.storage | usage.copyTarget });
    const results = device.createBuffer({ size: 4 * lanes * groups, usage: usage.storage });
    const dispatch = await dispatcher(device, code, [parameters, results]);
    const rate = await fastest(span, async (rounds) => {
      const words = new ArrayBuffer(16);
      new Uint32Array(words)[0] = rounds;
      new Float32Array(words).set([0.999, 0.001], 1);
      device.queue.writeBuffer(parameters, 0, words);
      await timed(device, (encoder) => dispatch(encoder, groups, 1));
      return 2 * 4 * accumulators * unrolled * rounds * lanes * groups;
    });
    parameters.destroy();
    results.destroy();
    best = Math.max(best, rate);
  }
  return best / 1e6;
}

/** Larger than any cache, where bindings may be that large. */
const copiedBytes = 256 << 20;

/** By the copy command, and by a shader: the faster one. */
async function copying(device: GPUDevice, span: number): Promise<number> {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const bytes = Math.min(copiedBytes, maxBufferSize, maxStorageBufferBindingSize);
  const [from, to] = [0, 1].map(() =>
    device.createBuffer({ size: bytes, usage: usage.storage | usage.copySource | usage.copyTarget }),
  );
  const vectors = bytes / 16;
  const width = Math.min(4096, Math.ceil(vectors / lanes));
  const code = `
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(${lanes}) fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var i = id.x; i < ${vectors}u; i += ${lanes * width}u) { y[i] = x[i]; }
}`;
  // Pages that nobody wrote may all be the same one.
  const fill = new Float32Array(1 << 20).fill(1);
  for (let offset = 0; offset < bytes; offset += fill.byteLength)
    device.queue.writeBuffer(from, offset, fill, 0, Math.min(fill.length, (bytes - offset) / 4));
  const dispatch = await dispatcher(device, code, [from, to]);
  const ways: ((encoder: GPUCommandEncoder, times: number) => void)[] = [
    (encoder, times) => dispatch(encoder, width, times),
    (encoder, times) => {
      for (let i = 0; i < times; i++) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
    },
  ];
  let best = 0;
  for (const way of ways)
    best = Math.max(
      best,
      await fastest(span, async (times) => {
        await timed(device, (encoder) => way(encoder, times));
        return 2 * bytes * times;
      }),
    );
  from.destroy();
  to.destroy();
  return best / 1e6;
}

type Dispatch = (encoder: GPUCommandEncoder, groups: number, times: number) => void;

async function dispatcher(device: GPUDevice, code: string, buffers: readonly GPUBuffer[]): Promise<Dispatch> {
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
  });
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  return (encoder, groups, times) => {
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < times; i++) pass.dispatchWorkgroups(groups);
    pass.end();
  };
}

async function timed(device: GPUDevice, encode: (encoder: GPUCommandEncoder) => void): Promise<void> {
  const encoder = device.createCommandEncoder();
  encode(encoder);
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
}

const trials = 5;

/** Units per millisecond of the fastest trial; `work` is told how often to repeat, and gives the units of that. */
async function fastest(span: number, work: (repeats: number) => Promise<number>): Promise<number> {
  const run = async (repeats: number): Promise<{ ms: number; units: number }> => {
    const start = performance.now();
    const units = await work(repeats);
    return { ms: performance.now() - start, units };
  };
  let repeats = 1;
  while ((await run(repeats)).ms < span && repeats < 1 << 24) repeats *= 2;
  let best = 0;
  for (let i = 0; i < trials; i++) {
    const { ms, units } = await run(repeats);
    best = Math.max(best, units / ms);
  }
  return best;
}
