/** From a graph to a session. */
import type { Backend } from "../backends/backend.ts";
import { InputError } from "../tensor/errors.ts";
import { areUsual } from "../tensor/usual.ts";
import { type Graph, usesHalves } from "./ir.ts";
import { loadKernels, optimize, rulesFor } from "./passes/index.ts";
import { Session } from "./session.ts";

export interface CompileOptions {
  device: Backend;
  /** Default true: fold constants and fuse. False runs the graph as it was written. */
  optimize?: boolean;
  /**
   * Nobody else uses the arrays of the graph's constants: they are freed as the device takes them over. Default: they are
   * left to their owner.
   */
  ownsWeights?: boolean;
  /**
   * Bytes that the values of a run may take at once: a plan that needs more is refused, and a loop or a sequence that would
   * hold more on the host. Default: 4 GiB.
   */
  memoryLimit?: number;
  /**
   * Combinations of input shapes whose plans are kept, the most recent ones. Planning takes longer than most runs: a decoder
   * whose caches grow from run to run wants one for each length. Default 8.
   */
  plans?: number;
  /**
   * Compares every kernel with its operator's reference on the values of the first run with each combination of shapes,
   * which takes long. `explain()` tells the errors; a kernel that is off is replaced, with a warning on the console.
   */
  verify?: boolean;
  /**
   * The outputs to compute, by name. Default: all. What only others need is left out: its inputs, weights and time.
   */
  outputs?: readonly string[];
}

/**
 * Optimises a graph and makes it ready to run. Plans are made on the first run with each combination of shapes.
 * @throws InputError where the device is none, such as the promise of one, `plans` is no number from 1, or an option is unknown; for what is no graph, and
 * for names of no outputs
 */
export async function compile(graph: Graph, options: CompileOptions): Promise<Session> {
  const device = options?.device;
  if (typeof device?.open !== "function")
    throw new InputError("compile: device takes a backend, as wasm() or await webgpu() gives");
  if (!Array.isArray(graph?.nodes))
    throw new InputError("compile: takes a graph, as graph() gives; load() takes files");
  if (!((options.plans ?? 1) >= 1)) throw new InputError(`compile: plans takes a number from 1, got ${options.plans}`);
  if (!areUsual(options, "device optimize ownsWeights memoryLimit verify outputs"))
    (await import("./compile-options.ts")).checkCompileOptions(options);
  // Loaded for those who ask.
  if (options.outputs !== undefined) graph = (await import("./with-outputs.ts")).withOutputs(graph, options.outputs);
  const optimizes = options.optimize !== false;
  const halves = usesHalves(graph);
  // Loaded for those who need it.
  if (halves) {
    const { widen } = await import("./passes/widen.ts");
    graph = widen(graph, optimizes ? device : {}, options.ownsWeights);
  }
  const ready = optimizes ? optimize(graph, options.ownsWeights, await rulesFor(graph)) : graph;
  await loadKernels(device, ready, halves ? ["f16"] : []);
  // Loaded for those who ask: most pages don't.
  const verification = options.verify ? await import("./verify.ts") : undefined;
  return new Session(ready, device, options, verification);
}
