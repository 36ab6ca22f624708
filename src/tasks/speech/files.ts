/** Folders of Whisper: Hugging Face's safetensors, or ONNX graphs as Optimum exports them. */

import type { Json, ModelFolder } from "../../formats/folder.ts";
import { plainName } from "../../formats/source.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import { defaultsOf } from "./defaults.ts";
import type { SpeechModelFile, SpeechTokens } from "./model.ts";

/**
 * @throws FormatError for files that are missing or contradict each other, UnsupportedOpError for another kind of model,
 * MissingPeerError without `@huggingface/tokenizers`
 */
export async function readSpeechModel(folder: ModelFolder): Promise<SpeechModelFile> {
  const config = await folder.json("config.json");
  const kind = String(config["model_type"]);
  if (kind !== "whisper")
    throw new UnsupportedOpError(`${folder.name}: speech models of type "${kind}" are not supported (whisper is)`, {
      missing: [kind],
    });
  const sound = (await folder.optionalJson("preprocessor_config.json")) ?? {};
  const number = (json: Json, key: string, fallback: number): number =>
    typeof json[key] === "number" ? json[key] : fallback;
  const rate = number(sound, "sampling_rate", 16000);
  const tokenizer = await HuggingFaceTokenizer.open(await folder.json("tokenizer.json"));
  const positions = number(config, "max_target_positions", 448);
  const said = await folder.optionalJson("generation_config.json");
  const tokens = tokensOf(folder.name, tokenizer.specials, said ?? config);
  const older = { name: "config.json", json: config };
  return {
    mel: {
      rate,
      window: number(sound, "n_fft", 400),
      hop: number(sound, "hop_length", 160),
      bands: number(config, "num_mel_bins", 80),
    },
    windowSamples: rate * number(sound, "chunk_length", 30),
    positions,
    tokenizer,
    tokens,
    defaults: defaultsOf(folder.name, tokens, said ? [{ name: "generation_config.json", json: said }, older] : [older]),
    async open(device, signal) {
      const encoder = await folder.graph("encoder_model");
      const decoder = encoder && (await folder.graph("decoder_model_merged"));
      if (encoder && decoder) {
        folder.checkParts(encoder, decoder);
        const sizes = { contextLength: positions, frames: number(config, "max_source_positions", 1500) };
        return (await import("./onnx.ts")).openGraphs(encoder, decoder, sizes, device, signal);
      }
      // Decoders for the first word and for those after it, each alone, are not read.
      if (encoder && !(await folder.hasWeights()))
        throw new InputError(
          `${folder.name}: beside ${plainName(encoder.name)} there is no decoder_model_merged.onnx; ` +
            "`optimum-cli export onnx --task automatic-speech-recognition-with-past` makes both",
        );
      return (await import("./native.ts")).openWeights(folder, config, device, signal);
    },
  };
}

function tokensOf(file: string, specials: ReadonlyMap<string, number>, generation: Json): SpeechTokens {
  const need = (name: string): number => {
    const id = specials.get(name);
    if (id === undefined) throw new FormatError(`${file}: tokenizer.json has no token ${name}`);
    return id;
  };
  const list = (key: string): number[] => (Array.isArray(generation[key]) ? (generation[key] as number[]) : []);
  const isMultilingual = specials.has("<|translate|>") && generation["is_multilingual"] !== false;
  const languages = isMultilingual
    ? [...specials].flatMap(([name, id]): [string, number][] => {
        const code = /^<\|([a-z]{2,3})\|>$/.exec(name)?.[1];
        return code ? [[code, id]] : [];
      })
    : [];
  return {
    start: need("<|startoftranscript|>"),
    end: need("<|endoftext|>"),
    noTimestamps: need("<|notimestamps|>"),
    noSpeech: specials.get("<|nospeech|>") ?? specials.get("<|nocaptions|>"),
    transcribe: specials.get("<|transcribe|>"),
    translate: specials.get("<|translate|>"),
    languages: new Map(languages),
    suppressed: list("suppress_tokens"),
    suppressedFirst: list("begin_suppress_tokens"),
  };
}
