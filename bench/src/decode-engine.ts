/**
 * One engine in a process of its own: `decode-engine.mjs ENGINE THREADS FILE` loads a GGUF file, reads a prompt, goes on
 * from it token by token, and prints what that took as JSON: see `Decoded`. `gemm` in place of the file's name measures
 * the product that prefill is made of. A number after that: seconds to rest before memory is read again. With several numbers of threads, as in `1,2`, decoders of this project take turns, and
 * at last two of one thread at once: what two cores give engines that need not wait for each other.
 */
import type * as Root from "../../src/index.ts";
import type * as Tasks from "../../src/tasks/index.ts";
import type { LanguageModel } from "../../src/tasks/language/model.ts";
import { llama } from "../models/llama-shape.ts";
import {
  type Decoded,
  decodeAndPrefill,
  measured,
  prefillTokens,
  type Turns,
  takeTurns,
  together,
  tokens,
  turnOf,
  warmup,
} from "./decoded.ts";
import { distEntry } from "./paths.ts";
import { peakBytes } from "./peak-bytes.ts";
import { randomFeed } from "./task.ts";

/** Of the context, where the model was not made for more. */
const context = 1024;

const rss = () => process.memoryUsage().rss / 1e6;

/** Now, and where the process is to rest, after that: V8 gives back what it grew by once it finds itself idle, 8 s later. */
async function memory(rest: number): Promise<Pick<Decoded, "rss" | "peak" | "rested">> {
  const now = { rss: rss(), peak: peakBytes() / 1e6 };
  if (!rest) return now;
  await new Promise((done) => setTimeout(done, 1000 * rest));
  return { ...now, rested: rss() };
}

async function open(threads: number, file: string): Promise<LanguageModel> {
  const { textGeneration } = (await import(distEntry("tasks"))) as typeof Tasks;
  return (await textGeneration(file, { device: "wasm", threads })).decoder;
}

// Imported where it is needed: the memory of the other runs is measured.
const threading = () => import("node:worker_threads");

async function inTurn(threads: readonly number[], file: string): Promise<Turns> {
  const { Worker } = await threading();
  const turns = [];
  for (const n of threads) turns.push(turnOf(await open(n, file)));
  const other = new Worker(new URL(import.meta.url), { argv: [besideOthers, "1", file] });
  const answer = () => new Promise<number>((done) => other.once("message", done));
  await answer();
  const otherTurn = () => {
    other.postMessage("turn");
    return answer();
  };
  return takeTurns([...turns, together(turnOf(await open(1, file)), otherTurn)], 8000);
}

/** In place of an engine: what runs beside a decoder of one thread. */
const besideOthers = "beside";

async function beside(file: string): Promise<void> {
  const { parentPort } = await threading();
  const take = turnOf(await open(1, file));
  parentPort!.on("message", async () => parentPort!.postMessage(await take()));
  parentPort!.postMessage(0);
}

async function forwardpass(threads: number, file: string, rest: number): Promise<Decoded> {
  const decoder = await open(threads, file);
  let held: Awaited<ReturnType<typeof memory>>;
  const times = await decodeAndPrefill(decoder, {
    between: async () => {
      held = await memory(rest);
    },
  });
  return { ...times, ...held! };
}

async function llamaCpp(threads: number, file: string, rest: number): Promise<Decoded> {
  const { getLlama, LlamaLogLevel } = await import("node-llama-cpp");
  const native = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    logLevel: LlamaLogLevel.error,
    maxThreads: threads,
  });
  const model = await native.loadModel({ modelPath: file });
  const contextSize = Math.min(context, model.trainContextSize);
  const opened = await model.createContext({ contextSize, threads, batchSize: prefillTokens });
  const sequence = opened.getSequence();
  const decode: number[] = [];
  let last = 0;
  let count = 0;
  for await (const _ of sequence.evaluate(tokens(warmup) as never[], {
    temperature: 0,
    // Goes on after what ends a text.
    yieldEogToken: true,
  })) {
    const now = performance.now();
    if (count++ > warmup) decode.push(now - last);
    last = now;
    if (decode.length === measured) break;
  }
  const held = await memory(rest);
  let prefill = Number.POSITIVE_INFINITY;
  if (contextSize > prefillTokens)
    for (let i = 0; i < 2; i++) {
      await sequence.clearHistory();
      const start = performance.now();
      await sequence.evaluateWithoutGeneratingNewTokens(tokens(prefillTokens) as never[]);
      prefill = Math.min(prefill, performance.now() - start);
    }
  return { decode, prefill, ...held };
}

/** Milliseconds of `prefillTokens` rows times a matrix of the feed-forward layer. */
async function gemm(threads: number): Promise<number> {
  const { compile, graph, matmul, openDevice } = (await import(distEntry("index"))) as typeof Root;
  const { width, hidden } = llama;
  const [x, w] = [randomFeed([prefillTokens, width], 1), randomFeed([hidden, width], 2)] as Root.HostTensor[];
  const model = graph(({ input, weight }) => ({
    y: matmul(input("x", "f32", [prefillTokens, width]), weight(w), { transposeB: true }),
  }));
  const session = await compile(model, { device: await openDevice("wasm", { threads }) });
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 50; i++) {
    const start = performance.now();
    await session.run({ x });
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

const [engine, list, file, rest] = process.argv.slice(2);
if (engine === besideOthers) await beside(file);
else {
  const [threads, ...others] = list.split(",").map(Number);
  const measure = file === "gemm" ? gemm : engine === "forwardpass" ? forwardpass : llamaCpp;
  const result = await (others.length ? inTurn([threads, ...others], file) : measure(threads, file, Number(rest ?? 0)));
  console.log(JSON.stringify(result));
  process.exit(0);
}
