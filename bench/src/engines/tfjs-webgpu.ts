/** tfjs on its webgpu backend, in a browser. */
import * as tf from "@tensorflow/tfjs";
import type { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";
import "@tensorflow/tfjs-backend-webgpu";
import type { Engine } from "./engine.ts";
import { asFloats } from "./engine.ts";
import { OnnxOnTfjs } from "./onnx-on-tfjs.ts";

export async function tfjsWebgpu(baseline: string): Promise<Engine> {
  tf.enableProdMode();
  if (!(await tf.setBackend("webgpu"))) throw new Error("no webgpu backend");
  return {
    name: "tfjs-webgpu",
    baseline,
    async load({ onnx, inputs, resident }) {
      if (Object.values(inputs).some((t) => t.dtype !== "f32")) throw new Error("it computes in f32 only");
      const model = new OnnxOnTfjs(tf, onnx);
      if (!resident)
        return {
          async run() {
            const y = tf.tidy(() => model.compute(model.upload(inputs)));
            const data = await y.data();
            y.dispose();
            return data;
          },
          values: asFloats,
          dispose: () => model.dispose(),
        };
      const kept = model.upload(inputs);
      let held: tf.Tensor | undefined;
      return {
        run() {
          held?.dispose();
          return (held = tf.tidy(() => model.compute(kept)));
        },
        async finish() {
          const backend = tf.backend() as WebGPUBackend;
          backend.ensureCommandEncoderReady();
          backend.endComputePassEncoder();
          backend.submitQueue();
          await backend.queue.onSubmittedWorkDone();
        },
        values: async (y) => (await (y as tf.Tensor).data()) as Float32Array,
        dispose() {
          held?.dispose();
          for (const t of kept.values()) t.dispose();
          model.dispose();
        },
      };
    },
  };
}
