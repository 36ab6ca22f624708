/** A decoder from a file of any format that can hold one. */
import { FormatError } from "../../tensor/errors.ts";
import { recognize } from "../recognize.ts";
import type { ByteSource } from "../source.ts";
import type { DecoderFile, ReadOptions } from "./file.ts";

/** @throws FormatError for a format that holds no language model */
export async function readDecoder(source: ByteSource, options: ReadOptions = {}): Promise<DecoderFile> {
  switch (await recognize(source)) {
    case "llama2c":
      return (await import("./llama2c.ts")).readLlama2cDecoder(source);
    case "gguf":
      return (await import("./gguf.ts")).readGgufDecoder(source, options);
    case "safetensors": {
      const { ModelFolder } = await import("../folder.ts");
      return (await import("./huggingface.ts")).readHuggingFaceDecoder(ModelFolder.at(source), options);
    }
    default:
      throw new FormatError(
        `${source.name}: not a language model that can be generated from (GGUF, safetensors, llama2.c)`,
      );
  }
}
