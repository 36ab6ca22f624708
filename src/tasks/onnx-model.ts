/** ONNX graphs of tasks: with the folder around them and what they say of themselves. */
import { deviceFor } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import type { OnnxModel } from "../formats/onnx/index.ts";
import type { ByteSource, SourceInput } from "../formats/source.ts";
import { compile } from "../graph/compile.ts";
import type { Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { FormatError } from "../tensor/errors.ts";
import type { TaskOptions } from "./options.ts";

export interface OpenOptions extends TaskOptions {
  /** See `CompileOptions`. */
  plans?: number;
}

export interface OpenedGraph {
  readonly session: Session;
  readonly folder: ModelFolder;
  /** Of the file: `names` and the like. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** @throws FormatError for a file that is corrupt, UnsupportedOpError for operators that are missing */
export async function readGraph(source: ByteSource, signal?: AbortSignal): Promise<OnnxModel> {
  const loadExternal = (path: string): Promise<ByteSource> => {
    if (!source.sibling) throw new FormatError(`${source.name}: weights are in "${path}": pass a path or URL`);
    return source.sibling(path);
  };
  const { importOnnxSource } = await import("../formats/onnx/index.ts");
  return importOnnxSource(source, { name: source.name, loadExternal, signal });
}

/**
 * Of a model that is a graph: the file, or a folder with it as Hugging Face Optimum makes them, in which it may lie in `onnx/`.
 * @throws as `readGraph`
 */
export async function openGraphOf(model: SourceInput, options: OpenOptions): Promise<OpenedGraph> {
  const folder = await ModelFolder.openModel(model, sourceOptions(options));
  return openGraph(await folder.graphOrFile(), options, folder);
}

/** @throws as `readGraph` */
export async function openGraph(
  source: ByteSource,
  options: OpenOptions,
  folder = ModelFolder.at(source),
): Promise<OpenedGraph> {
  const { graph, metadata } = await readGraph(source, options.signal);
  const device = await deviceFor(options.device, options);
  const session = await compile(graph, { device, ownsWeights: source.local, plans: options.plans });
  return { session, folder, metadata };
}
