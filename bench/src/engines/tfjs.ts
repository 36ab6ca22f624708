/** tfjs on its cpu or wasm backend; in Node its wasm backend has one thread. */
import { createRequire } from "node:module";
import type { Engine } from "./engine.ts";
import { asFloats } from "./engine.ts";
import { OnnxOnTfjs, type Tf } from "./onnx-on-tfjs.ts";

export async function tfjs(backend: "cpu" | "wasm", baseline: string): Promise<Engine> {
  const require = createRequire(import.meta.url);
  const tf = require("@tensorflow/tfjs") as Tf;
  require("@tensorflow/tfjs-backend-wasm");
  // In production mode it doesn't advise to install its native addon.
  tf.enableProdMode();
  const use = async (): Promise<void> => {
    if (tf.getBackend() !== backend && !(await tf.setBackend(backend))) throw new Error(`no ${backend} backend`);
  };
  await use();
  return {
    name: `tfjs-${backend}`,
    baseline,
    async load({ onnx, inputs }) {
      await use();
      const model = new OnnxOnTfjs(tf, onnx);
      // Both backends are one library with one current backend: the untimed call of each turn switches.
      const run = (): Float32Array | Promise<Float32Array> =>
        tf.getBackend() === backend ? model.run(inputs) : use().then(() => model.run(inputs));
      return { run, values: asFloats, dispose: () => use().then(() => model.dispose()) };
    },
  };
}
