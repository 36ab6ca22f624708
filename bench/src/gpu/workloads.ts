/** What is measured on a GPU, the same in Node and in a page. */
import type { WebgpuBackend } from "../../../src/backends/webgpu/index.ts";
import type * as Tasks from "../../../src/tasks/index.ts";
import { llama } from "../../models/llama-shape.ts";
import { llamaStep } from "../../models/llama-step.ts";
import { decodeAndPrefill, prefillTokens } from "../decoded.ts";
import { type CaseResult, median } from "../measure.ts";
import { randomFeed } from "../task.ts";
import { attention } from "../workloads/attention.ts";
import { conv } from "../workloads/conv.ts";
import { product } from "../workloads/gemm.ts";
import { models } from "../workloads/models.ts";
import { type Context, type LazyTask, measureAll, type Workload } from "../workloads/workload.ts";

/** A language model to decode with: its file, where this process or page finds it. */
export interface LanguageModel {
  readonly name: string;
  readonly source: string;
  /** Of the weights that a token reads. */
  readonly weightBytes: number;
}

export interface GpuContext extends Context {
  readonly device: WebgpuBackend;
  readonly quick: boolean;
  /** Column of this project. */
  readonly own: string;
  readonly textGeneration: typeof Tasks.textGeneration;
  readonly languageModels: readonly LanguageModel[];
}

export interface GpuWorkload extends Omit<Workload, "run"> {
  run(context: GpuContext): Promise<void>;
}

const sizes = { quick: [256, 512, 1024], thorough: [1024, 2048, 4096, 8192] };

/** Products of f16 may be added up in f16. */
const halfTolerance = 2e-2;

const matmul: GpuWorkload = {
  name: "matmul",
  title: "Matrix product n x n x n; inputs and output stay on the device",
  async run(context) {
    const { features } = context.device.device;
    const all = sizes[context.quick ? "quick" : "thorough"];
    const dtypes = features.has("shader-f16") ? (["f32", "f16"] as const) : (["f32"] as const);
    const tasks = dtypes.flatMap((dtype) =>
      all.map((n) => {
        const name = `${n} ${dtype}`;
        const tolerance = dtype === "f16" ? halfTolerance : undefined;
        return { name, flop: 2 * n ** 3, make: () => product(name, [n, n, n], false, { dtype, tolerance }) };
      }),
    );
    await measureAll(tasks, await context.openEngines(), { ...context, resident: true });
  },
};

const resident = (workload: Workload): GpuWorkload => ({
  ...workload,
  title: `${workload.title}; inputs and output stay on the device`,
  run: (context) => workload.run({ ...context, resident: true }),
});

/** One step of a decoder in ONNX, which every engine can run: others read no GGUF on a GPU. */
function stepTask(quick: boolean): LazyTask {
  const [layers, past, vocabulary] = quick ? [2, 128, 2048] : [8, 512, llama.vocabulary];
  const name = `one step in ONNX, ${layers} layers, f32, ${past} tokens before`;
  return {
    name,
    make() {
      const { onnx, inputs, bytes } = llamaStep(layers, past, vocabulary);
      const feeds = Object.entries(inputs).map(([input, shape], i) => [input, randomFeed(shape, 100 + i)] as const);
      return { name, onnx, inputs: Object.fromEntries(feeds), flop: 0, bytes };
    },
  };
}

const decode: GpuWorkload = {
  name: "decode",
  title: "Decoding: tokens a second from GGUF, and one step in ONNX, whose cache stays on the device",
  async run(context) {
    const { device, own, quick, textGeneration, languageModels, effort, wants, report } = context;
    await measureAll([stepTask(quick)], await context.openEngines(), { ...context, resident: true });
    for (const { name, source, weightBytes } of languageModels) {
      if (!wants(name)) continue;
      const { decoder } = await textGeneration(source, { device });
      const { decode, prefill } = await decodeAndPrefill(decoder, { budget: effort.budget });
      decoder.dispose();
      const row = (what: string, values: readonly number[], bytes?: number): CaseResult => ({
        name: `${name}: ${what}`,
        unit: "ms/token",
        flop: 0,
        bytes,
        engines: [{ engine: own, median: median(values), min: Math.min(...values), samples: values.length }],
      });
      report(row("decode", decode, weightBytes));
      if (Number.isFinite(prefill)) report(row(`prefill of ${prefillTokens}`, [prefill / prefillTokens]));
    }
  },
};

export const workloads: readonly GpuWorkload[] = [matmul, resident(conv), resident(attention), models, decode];
