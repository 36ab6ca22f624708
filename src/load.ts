/** `load`: from a file as it comes to a model that runs. */
import type { Backend } from "./backends/backend.ts";
import { type DeviceChoice, deviceFor } from "./device.ts";
import { recognize } from "./formats/recognize.ts";
import {
  type ByteSource,
  type FetchOptions,
  openSource,
  type SourceInput,
  type SourceOptions,
} from "./formats/source.ts";
import { compile } from "./graph/compile.ts";
import type { Graph } from "./graph/ir.ts";
import type { Session } from "./graph/session.ts";
import { FormatError } from "./tensor/errors.ts";
import { areUsual } from "./tensor/usual.ts";

export interface LoadProgress {
  /** What is happening: `read` counts bytes, `compile` has no count. */
  phase: "read" | "compile";
  loaded: number;
  total: number;
}

export interface LoadOptions extends FetchOptions {
  /** Default: the fastest that is there. */
  device?: DeviceChoice;
  /** Threads of the wasm device. Default: the cores, 8 at most. */
  threads?: number;
  /** Of the webgpu device. "cpu": operators without a GPU kernel run on the host. Default: they are refused. */
  fallback?: "cpu";
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
  /** Where to find the files that hold a model's external weights, if not beside the model. */
  externalData?: (path: string) => Promise<SourceInput> | SourceInput;
  /** Default true: fold constants and fuse operators. */
  optimize?: boolean;
  /** Bytes that the values of a run may take at once. Default 4 GiB. Set it low for files from strangers. */
  memoryLimit?: number;
  /**
   * Compares every kernel with its float64 reference on the values of the first run with each combination of shapes, which
   * takes long. `explain()` tells the errors; a kernel that is off is replaced, with a warning on the console.
   */
  verify?: boolean;
  /** The outputs to compute, by name. Default: all. What only others need is left out: its inputs, weights and time. */
  outputs?: readonly string[];
}

/**
 * Loads a model and makes it ready to run. The format is recognised by content: ONNX; or a decoder-only transformer in
 * GGUF, llama2.c, or a folder with safetensors and `config.json` (its path, or that of the safetensors file), which takes
 * whole texts: `tokens` i32 [batch, tokens] to `logits` f32 [batch, tokens, vocabulary]. To generate text, see
 * `forwardpass/tasks`.
 * @param input path, URL, `npm:NAME@VERSION/path`, `hf:org/name`, bytes, Blob or Response
 * @throws FormatError for a file that is corrupt or of an unknown format, UnsupportedOpError with every operator that
 * is missing, InputError when the source can't be read, for an option of another name, or for names of no outputs
 */
export async function load(input: SourceInput, options: LoadOptions = {}): Promise<Session> {
  const usual = areUsual(options, "device threads onProgress") && typeof (options.onProgress ?? load) === "function";
  if (!usual) (await import("./load-options.ts")).checkLoadOptions(options);
  const { onProgress } = options;
  const source = await openSource(input, sourceOptions(options));
  const device: Backend = await deviceFor(options.device, options);
  const graph = await readGraph(source, options);
  onProgress?.({ phase: "compile", loaded: 0, total: 1 });
  // What was read from a file is ours; bytes that the caller gave may still be in use.
  const ownsWeights = source.local && !options.externalData;
  const session = await compile(graph, {
    device,
    optimize: options.optimize,
    ownsWeights,
    memoryLimit: options.memoryLimit,
    verify: options.verify,
    outputs: options.outputs,
  });
  onProgress?.({ phase: "compile", loaded: 1, total: 1 });
  return session;
}

/** How the source of a model is opened: progress is that of reading. */
export function sourceOptions(options: FetchOptions & Pick<LoadOptions, "signal" | "onProgress">): SourceOptions {
  const { onProgress } = options;
  return { ...options, onProgress: onProgress && ((loaded, total) => onProgress({ phase: "read", loaded, total })) };
}

async function readGraph(source: ByteSource, options: LoadOptions): Promise<Graph> {
  if ((await recognize(source)) !== "onnx") {
    const { importDecoder } = await import("./formats/decoder/index.ts");
    return importDecoder(source, options);
  }
  const { importOnnxSource } = await import("./formats/onnx/index.ts");
  const loadExternal = externalReader(source, options);
  const { graph } = await importOnnxSource(source, { name: source.name, loadExternal, signal: options.signal });
  return graph;
}

/** Opens files of external weights: as the caller says, or beside the model. */
function externalReader(source: ByteSource, options: LoadOptions): (path: string) => Promise<ByteSource> {
  return async (path) => {
    if (options.externalData)
      return await openSource(await options.externalData(path), {
        ...options,
        onProgress: undefined,
        sha256: undefined,
      });
    if (!source.sibling) throw new FormatError(`${source.name}: weights are in "${path}": pass { externalData }`);
    return await source.sibling(path);
  };
}
