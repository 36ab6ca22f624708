/** Whisper from its weights. */
import type { Backend } from "../../backends/backend.ts";
import { activationOf } from "../../formats/activation.ts";
import { checkTensors } from "../../formats/checkpoint.ts";
import { f32Weight, type Json, type ModelFolder } from "../../formats/folder.ts";
import type { SafetensorsTensor } from "../../formats/safetensors.ts";
import { compile } from "../../graph/compile.ts";
import {
  type WhisperConfig,
  type WhisperDecoderConfig,
  whisperDecoder,
  whisperEncoder,
  wordProjection,
} from "../../models/transformer/whisper.ts";
import { FormatError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { SpeechModel } from "./model.ts";
import { StatefulListening } from "./stateful.ts";

const layerParts = "(self|encoder)_attn\\.(q|k|v|out)_proj|(self|encoder)_attn_layer_norm|fc[12]|final_layer_norm";
/** What graphs use. */
const known = new RegExp(
  "^((encoder|decoder)\\.embed_(positions|tokens)\\.weight|proj_out\\.weight|" +
    `(encoder\\.conv[12]|(encoder|decoder)\\.(layer_norm|layers\\.\\d+\\.(${layerParts})))\\.(weight|bias))$`,
);

/** @throws UnsupportedOpError for quantised weights, and tensors that nothing uses */
export async function openWeights(
  folder: ModelFolder,
  json: Json,
  device: Backend,
  signal?: AbortSignal,
): Promise<SpeechModel> {
  const weights = new Map<string, HostTensor>();
  // The projection to words is the embedding again, and in some files, too.
  const isTied = json["tie_word_embeddings"] !== false;
  const nameOf = (t: SafetensorsTensor): string => t.name.replace(/^model\./, "");
  const counting = [...(await folder.weights()).tensors.values()].filter(
    (t) => /^(encoder|decoder)\./.test(nameOf(t)) || (!isTied && nameOf(t) === wordProjection),
  );
  checkTensors(folder.name, counting, (t) => known.test(nameOf(t)), json);
  for (const t of counting) {
    signal?.throwIfAborted();
    weights.set(nameOf(t), f32Weight(await t.read(signal), folder.local === true));
  }
  const { encoder, decoder } = configsOf(folder.name, json);
  const part = (names: RegExp) => new Map([...weights].filter(([key]) => names.test(key)));
  const options = { device, ownsWeights: folder.local };
  const heard = await compile(whisperEncoder(encoder, part(/^encoder\./)), options);
  const said = await compile(whisperDecoder(decoder, part(/^(decoder|proj_out)\./)), options);
  return {
    async listen(mel, abort) {
      const { hidden } = await heard.run({ mel }, { signal: abort });
      return new StatefulListening(said, hidden, (token, position, frames) => ({
        inputs: { token: Int32Array.of(token), position: Int32Array.of(position) },
        // Of the longest: caches are declared with their own numbers.
        rows: Math.max(decoder.positions, frames),
      }));
    },
    dispose() {
      heard.dispose();
      said.dispose();
    },
  };
}

function configsOf(file: string, json: Json): { encoder: WhisperConfig; decoder: WhisperDecoderConfig } {
  const need = (key: string): number => {
    const v = json[key];
    if (typeof v !== "number") throw new FormatError(`${file}: config.json has no ${key}`);
    return v;
  };
  const common = {
    width: need("d_model"),
    frames: need("max_source_positions"),
    epsilon: 1e-5,
    activation: activationOf(file, json["activation_function"] ?? "gelu"),
  };
  const part = (name: string) => ({
    ...common,
    layers: need(`${name}_layers`),
    heads: need(`${name}_attention_heads`),
    hidden: need(`${name}_ffn_dim`),
  });
  return {
    encoder: { ...part("encoder"), melBands: need("num_mel_bins") },
    decoder: { ...part("decoder"), vocabSize: need("vocab_size"), positions: need("max_target_positions") },
  };
}
