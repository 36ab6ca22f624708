/** A language model from a file of any format that can hold one. */
import { recognize } from "../../formats/recognize.ts";
import type { ByteSource } from "../../formats/source.ts";
import { FormatError } from "../../tensor/errors.ts";
import { ModelFolder } from "../folder.ts";
import type { LanguageModelFile } from "./file.ts";

export interface ReadOptions {
  contextLength?: number;
  signal?: AbortSignal;
}

/** @throws FormatError for a format that holds no language model */
export async function readLanguageModel(source: ByteSource, options: ReadOptions = {}): Promise<LanguageModelFile> {
  // An index of shards is JSON.
  const format = source.name.endsWith(".safetensors.index.json") ? "safetensors" : await recognize(source);
  switch (format) {
    case "llama2c":
      return (await import("./llama2c.ts")).readLlama2cModel(source, options);
    case "gguf":
      return (await import("./gguf.ts")).readGgufModel(source, options);
    case "safetensors":
      return (await import("./huggingface.ts")).readHuggingFaceModel(ModelFolder.at(source), options);
    default:
      throw new FormatError(
        `${source.name}: not a language model that can be generated from (GGUF, safetensors, llama2.c)`,
      );
  }
}

/** Rotary tables and caches are made for this many positions unless the caller wants more. */
export const defaultContextLimit = 8192;
