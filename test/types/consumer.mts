/** Compiled against the declarations in `dist`, as programs are that have no types of GPUs: with those of a page, or of Node. */
import { compile, DeviceTensor, graph, load, matmul, tensor } from "forwardpass";
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
const { y } = await net.run({ a: new Float32Array(4), b: new Float32Array(4) });
const shape: readonly number[] = y.shape;

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
