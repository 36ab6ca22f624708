/** onnxruntime with whatever execution provider its options name. */
import type { InferenceSession, Tensor } from "onnxruntime-web";
import { type Feed, type Task, widened } from "../task.ts";
import type { Engine, Loaded } from "./engine.ts";

export type Ort = typeof import("onnxruntime-web");

const types = { f32: "float32", f16: "float16", i64: "int64", u8: "uint8" } as const;

/** GPUBufferUsage: STORAGE, COPY_DST and COPY_SRC. */
const usage = 0x80 | 0x8 | 0x4;

export function ortEngine(name: string, ort: Ort, options: InferenceSession.SessionOptions, baseline: string): Engine {
  return {
    name,
    baseline,
    load: ({ onnx, inputs, resident }: Task) =>
      resident ? loadResident(ort, options, onnx, inputs) : load(ort, options, onnx, inputs),
  };
}

const quiet = { logSeverityLevel: 3 } as const;

const tensorsOf = (inputs: Task["inputs"], make: (feed: Feed) => Tensor): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(inputs).map(([name, feed]) => [name, make(feed)]));

async function load(
  ort: Ort,
  options: InferenceSession.SessionOptions,
  onnx: Uint8Array,
  inputs: Task["inputs"],
): Promise<Loaded> {
  const session = await ort.InferenceSession.create(onnx, { ...quiet, ...options });
  const feeds = tensorsOf(inputs, (t) => new ort.Tensor(types[t.dtype], t.data as Float32Array, t.shape));
  const output = session.outputNames[0];
  return {
    run: () => session.run(feeds),
    values: (result) => floats((result as InferenceSession.OnnxValueMapType)[output].data),
    dispose: () => session.release(),
  };
}

/** With its webgpu provider: inputs and outputs are buffers of its device. */
async function loadResident(
  ort: Ort,
  options: InferenceSession.SessionOptions,
  onnx: Uint8Array,
  inputs: Task["inputs"],
): Promise<Loaded> {
  const preferredOutputLocation = "gpu-buffer";
  const session = await ort.InferenceSession.create(onnx, { ...quiet, ...options, preferredOutputLocation });
  const device = (await ort.env.webgpu.device) as GPUDevice;
  const buffers: GPUBuffer[] = [];
  const feeds = tensorsOf(inputs, ({ dtype, shape, data }) => {
    const buffer = device.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage });
    device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    buffers.push(buffer);
    return ort.Tensor.fromGpuBuffer(buffer as never, { dataType: types[dtype] as "float32", dims: [...shape] });
  });
  const output = session.outputNames[0];
  let held: Tensor | undefined;
  return {
    async run() {
      const result = await session.run(feeds);
      held?.dispose();
      return (held = result[output]);
    },
    finish: () => device.queue.onSubmittedWorkDone(),
    values: async (result) => floats(await (result as Tensor).getData()),
    async dispose() {
      held?.dispose();
      await session.release();
      for (const b of buffers) b.destroy();
    },
  };
}

const floats = (data: unknown): Float32Array =>
  data instanceof Float32Array
    ? data
    : data instanceof Uint16Array
      ? widened(data)
      : Float32Array.from(data as ArrayLike<number>);
