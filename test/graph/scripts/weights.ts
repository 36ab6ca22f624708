/** Loads a model from a file, runs it, and prints what memory it took: DEVICE, KIND (mlp, conv). */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OnnxWriter } from "../../../bench/models/onnx-writer.ts";
import { type DeviceName, load } from "../../../src/index.ts";
import { collect, outsideBytes } from "./gc.ts";

const [device, kind] = process.argv.slice(2) as [DeviceName, "mlp" | "conv"];

/** Writes the model; its weights' bytes and its input. */
function write(path: string): { weights: number; shape: number[] } {
  const w = new OnnxWriter(kind, 1);
  const shape = kind === "mlp" ? [4, 1024] : [1, 512, 8, 8];
  let x = w.input("x", shape);
  let weights = 0;
  const layer = (type: string, dims: number[], outputs: number): void => {
    x = w.node(type, [x, w.weights(dims, dims[1]), w.around([outputs], 0, 1)]);
    x = w.node("Relu", [x]);
    weights += 4 * (dims.reduce((a, b) => a * b, 1) + outputs);
  };
  for (let i = 0; i < 10; i++)
    if (kind === "mlp") layer("Gemm", [1024, 1024], 1024);
    else layer("Conv", [1024 - 512 * (i % 2), 512 + 512 * (i % 2), 1, 1], 1024 - 512 * (i % 2));
  writeFileSync(path, w.finish(x, shape));
  return { weights, shape };
}

const folder = mkdtempSync(join(tmpdir(), "forwardpass-"));
try {
  const path = join(folder, "model.onnx");
  const { weights, shape } = write(path);
  await collect();
  const before = outsideBytes();
  const model = await load(path, { device, threads: 1 });
  await model.run({ x: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  await collect();
  const held = outsideBytes() - before;
  const { bytes } = model;
  model.dispose();
  await collect();
  console.log(JSON.stringify({ weights, held, bytes, left: outsideBytes() - before }));
} finally {
  rmSync(folder, { recursive: true });
}
