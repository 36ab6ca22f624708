/**
 * One engine in a process of its own: `lm-engine.mjs ENGINE THREADS FOLDER` opens a language model that is an ONNX graph, reads
 * a prompt, goes on from it token by token, and prints what that took as JSON: see `Answered`. onnxruntime gets its
 * caches by hand, as they came from the run before.
 */
import { join } from "node:path";
import type { InferenceSession, Tensor } from "onnxruntime-web";
import type * as Tasks from "../../src/tasks/index.ts";
import { argMax } from "../../src/tasks/language/sampling.ts";
import type { Ort } from "./engines/ort-engine.ts";
import { distEntry } from "./paths.ts";

/** Milliseconds. */
export interface Answered {
  readonly load: number;
  /** Of a prompt, the first thing after loading. */
  readonly first: number;
  /** The first token after it, and the others. */
  readonly second: number;
  readonly rest: readonly number[];
}

/** "Why is the sky blue?" in the chat template of minimind2. */
const prompt = [1, 320, 275, 201, 57, 74, 91, 370, 276, 1399, 91, 3355, 1007, 33, 2, 201, 1, 1078, 538, 501, 201];
const count = 64;

type Feed = (tokens: readonly number[]) => Promise<Float32Array>;

async function forwardpass(threads: number, folder: string): Promise<Feed> {
  const { textGeneration } = (await import(distEntry("tasks"))) as typeof Tasks;
  const { decoder } = await textGeneration(folder, { device: "wasm", threads });
  const sequence = decoder.sequence();
  return (tokens) => sequence.feed(tokens);
}

async function onnxruntime(name: string, threads: number, folder: string): Promise<Feed> {
  const ort = (await import(name)) as Ort;
  if (name === "onnxruntime-web") ort.env.wasm.numThreads = threads;
  const options: InferenceSession.SessionOptions =
    name === "onnxruntime-web"
      ? { executionProviders: ["wasm"] }
      : { intraOpNumThreads: threads, interOpNumThreads: 1 };
  const session = await ort.InferenceSession.create(join(folder, "onnx/model_quantized.onnx"), options);
  const integers = (values: readonly number[]): Tensor =>
    new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const empty = new ort.Tensor("float32", new Float32Array(0), [1, 2, 0, 64]);
  const pasts = session.inputNames.filter((n) => n.startsWith("past_key_values"));
  let caches: Record<string, Tensor> = Object.fromEntries(pasts.map((n) => [n, empty]));
  let fed = 0;
  return async (tokens) => {
    const before = fed;
    fed += tokens.length;
    const outputs = await session.run({
      input_ids: integers(tokens),
      attention_mask: integers(new Array<number>(fed).fill(1)),
      position_ids: integers(tokens.map((_, i) => before + i)),
      ...caches,
    });
    caches = Object.fromEntries(pasts.map((n) => [n, outputs[n.replace("past_key_values", "present")]]));
    const { data, dims } = outputs["logits"];
    return (data as Float32Array).subarray(-dims[2]);
  };
}

async function answer(open: () => Promise<Feed>): Promise<Answered> {
  const times: number[] = [performance.now()];
  const feed = await open();
  times.push(performance.now());
  let next = argMax(await feed(prompt));
  times.push(performance.now());
  for (let i = 0; i < count; i++) {
    next = argMax(await feed([next]));
    times.push(performance.now());
  }
  const [load, first, second, ...rest] = times.slice(1).map((t, i) => t - times[i]);
  return { load, first, second, rest };
}

const [engine, threads, folder] = process.argv.slice(2);
const n = Number(threads);
const open = (): Promise<Feed> =>
  engine === "forwardpass" ? forwardpass(n, folder) : onnxruntime(engine.replace("ort", "onnxruntime"), n, folder);
console.log(JSON.stringify(await answer(open)));
process.exit(0);
