/** Compiled against the declarations in `dist`, as programs are that have no types of GPUs: with those of a page, or of Node. */
import { compile, DeviceTensor, graph, type HostTensor, type HostValue, load, matmul, tensor } from "forwardpass";
import { compileAhead } from "forwardpass/ahead";
import { convert } from "forwardpass/convert";
import { cpu } from "forwardpass/cpu";
import * as gguf from "forwardpass/gguf";
import { gpujs } from "forwardpass/gpujs";
import * as models from "forwardpass/models";
import * as onnx from "forwardpass/onnx";
import * as safetensors from "forwardpass/safetensors";
import * as tasks from "forwardpass/tasks";
import { wasm } from "forwardpass/wasm";
import { openWebgpu } from "forwardpass/webgpu";

const net = await compile(
  graph(({ input }) => ({ y: matmul(input("a", "f32", [2, 2]), input("b", "f32", [2, 2])) })),
  { device: wasm({ threads: 1 }) },
);
const lengths: number[] = [];
const { y } = await net.run({ a: new Float32Array(4), b: new Float32Array(4) });
const shape: readonly number[] = y.shape;
// @ts-expect-error: it isn't any
void (y.shape satisfies string);
for (const t of Object.values(await net.run({}))) {
  lengths.push(t.data.length);
  // @ts-expect-error: it isn't any
  void (t.shape satisfies string);
}

// Sequences and optionals are told, of all kinds of runs.
const inputs = { a: new Float32Array(4) };
interface Found extends Record<string, HostValue> {
  words: HostTensor[];
  none: HostValue;
}
const found = [await net.run<Found>(inputs), net.runSync<Found>(inputs)];
lengths.push(...found.map(({ words }) => words[0].data.length));
for (const keepOnDevice of [true, ["kept"]] as const) {
  const { kept, words } = await net.run<{ kept: DeviceTensor; words: HostTensor[] }>(inputs, { keepOnDevice });
  lengths.push((await kept.data()).length, words.length);
}
lengths.push((await (await net.run(inputs, { keepOnDevice: true })).y.data()).length);
const some = await net.run(inputs, { keepOnDevice: ["kept"] });
lengths.push((await some.kept.data()).length);
// @ts-expect-error: only what is named is on the device for sure
void some.other.data();
// @ts-expect-error: outputs are no numbers
void net.run<{ y: number }>(inputs);
// @ts-expect-error: nor on the device unless they are kept there
void net.run<{ y: DeviceTensor }>(inputs);

// @ts-expect-error: operators take no plain arrays
matmul([[1]], tensor([[1]]));
// @ts-expect-error: there is no such device
void load("model.onnx", { device: "tpu" });
declare const [photos, speech]: [tasks.ImageClassifier, tasks.Transcriber];
// @ts-expect-error: a number is no picture, with or without the types of a page
void photos.classify(5);
// @ts-expect-error: nor sound
void speech.transcribe(5);

export { compileAhead, convert, cpu, DeviceTensor, gguf, gpujs, models, onnx, openWebgpu, safetensors, shape, tasks };
