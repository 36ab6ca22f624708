/** Whisper as two ONNX graphs: an encoder, and a decoder that takes and gives keys and values. */
import type { Backend } from "../../backends/backend.ts";
import { statefulDecoder } from "../../formats/onnx/stateful/index.ts";
import type { ByteSource } from "../../formats/source.ts";
import { compile } from "../../graph/compile.ts";
import type { Session } from "../../graph/session.ts";
import { UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { readGraph } from "../onnx-model.ts";
import type { Listening, SpeechModel } from "./model.ts";
import { StatefulListening, type TokenInputs } from "./stateful.ts";

/** Lengths of caches whose plans are kept, so that the second window is not planned again: as long as answers get. */
const answerLengths = 224;

export async function openGraphs(
  encoderFile: ByteSource,
  decoderFile: ByteSource,
  sizes: { contextLength: number; frames: number },
  device: Backend,
  signal?: AbortSignal,
): Promise<SpeechModel> {
  const heard = (await readGraph(encoderFile, signal)).graph;
  if (!heard.outputs.some((p) => p.name === "last_hidden_state"))
    throw new UnsupportedOpError(`${encoderFile.name}: the graph has no output "last_hidden_state"`);
  // Exports for timestamps of words give all attention weights, too, some 50 MB a window: then they have to be computed.
  const outputs = ["last_hidden_state"];
  const encoder = await compile(heard, { device, ownsWeights: encoderFile.local, outputs });
  const { graph } = await readGraph(decoderFile, signal);
  const expected = ["input_ids", "encoder_hidden_states"].find((n) => !graph.inputs.some((p) => p.name === n));
  if (expected) throw new UnsupportedOpError(`${decoderFile.name}: the graph has no input "${expected}"`);
  // Devices without a fallback may lack kernels for it, or hold no state.
  const stateful = device.fallback ? statefulDecoder(graph, { ...sizes, kvCache: "f32" }) : undefined;
  const rewritten = stateful && "graph" in stateful ? stateful.graph : undefined;
  const options = { device, ownsWeights: decoderFile.local, plans: answerLengths };
  const decoder = await compile(rewritten ?? graph, options);
  return {
    async listen(mel, abort) {
      const { last_hidden_state } = await encoder.run({ input_features: mel }, { signal: abort });
      return rewritten
        ? new StatefulListening(decoder, last_hidden_state, inputsFor)
        : new GraphListening(decoder, last_hidden_state);
    },
    dispose() {
      encoder.dispose();
      decoder.dispose();
    },
  };
}

const past = "past_key_values.";

/** Of decoders by `statefulDecoder`. */
const inputsFor: TokenInputs = (token, position, frames) => ({
  inputs: {
    tokens: Int32Array.of(token),
    position: Int32Array.of(position),
    sequence: Int32Array.of(0),
    rows: Int32Array.of(0),
    lastFrame: Int32Array.of(frames - 1),
  },
  // Of the longest: caches of the sound and of the text are declared with their own numbers.
  rows: Math.max(position + 1, frames),
});

/** A decoder that is run as it comes: keys and values go in and out. */
class GraphListening implements Listening {
  private readonly empty: Record<string, HostTensor> = {};
  private caches: Record<string, HostTensor>;
  private fed: number[] = [];

  constructor(
    private readonly decoder: Session,
    private readonly hidden: HostTensor,
  ) {
    for (const { name, shape, dtype } of decoder.inputs) {
      if (!name.startsWith(past) || !shape) continue;
      if (dtype !== "f32") throw new UnsupportedOpError(`input "${name}" is ${dtype}: only f32 caches are supported`);
      // Named dimensions are the batch and the number of tokens.
      const empty = shape.map((d, i) => (typeof d === "number" ? d : i === 0 ? 1 : 0));
      this.empty[name] = { dtype: "f32", shape: empty, data: new Float32Array(0) };
    }
    this.caches = { ...this.empty };
  }

  async feed(tokens: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    const { fed } = this;
    this.fed = [...fed, ...tokens];
    // The branch with caches is exported for single tokens: a prompt goes through the other one, as a whole.
    if (fed.length <= 1) return this.run(this.fed, false, signal);
    let last = new Float32Array(0);
    for (const t of tokens) last = await this.run([t], true, tokens.length > 1 ? signal : undefined);
    return last;
  }

  restart(): void {
    this.caches = { ...this.empty };
    this.fed = [];
  }

  dispose(): void {
    this.caches = {};
  }

  private async run(
    tokens: readonly number[],
    cached: boolean,
    signal?: AbortSignal,
  ): Promise<Float32Array<ArrayBuffer>> {
    const { decoder, hidden, caches } = this;
    const inputs: Record<string, HostTensor> = {
      ...caches,
      input_ids: { dtype: "i64", shape: [1, tokens.length], data: BigInt64Array.from(tokens, BigInt) },
      encoder_hidden_states: hidden,
    };
    if (decoder.inputs.some((p) => p.name === "use_cache_branch"))
      inputs["use_cache_branch"] = { dtype: "bool", shape: [1], data: Uint8Array.of(Number(cached)) };
    const outputs = await decoder.run(inputs, { signal });
    for (const name of Object.keys(caches)) {
      // What the sound gave stays: the branch with caches does not compute it.
      if (!cached || name.includes(".decoder.")) caches[name] = outputs[name.replace(past, "present.")];
    }
    const { logits } = outputs;
    const size = logits.shape[2];
    return (logits.data as Float32Array<ArrayBuffer>).slice((tokens.length - 1) * size);
  }
}
