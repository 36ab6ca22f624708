/** A language model from a file of any format that can hold one. */
import { recognize } from "../../formats/recognize.ts";
import type { ByteSource } from "../../formats/source.ts";
import { FormatError } from "../../tensor/errors.ts";
import type { LanguageModelFile } from "./file.ts";

export interface ReadOptions {
  contextLength?: number;
  signal?: AbortSignal;
}

/** @throws FormatError for a format that holds no language model */
export async function readLanguageModel(source: ByteSource, options: ReadOptions = {}): Promise<LanguageModelFile> {
  const format = await recognize(source);
  switch (format) {
    case "llama2c":
      return (await import("./llama2c.ts")).readLlama2cModel(source, options);
    case "gguf":
      return (await import("./gguf.ts")).readGgufModel(source, options);
    default:
      throw new FormatError(
        `${source.name}: not a language model that can be generated from (GGUF, safetensors, llama2.c)`,
      );
  }
}

/** Rotary tables and caches are made for this many positions unless the caller wants more. */
export const defaultContextLimit = 8192;
