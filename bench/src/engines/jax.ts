/** jax-js: the model through @jax-js/onnx, compiled by its `jit`, on its wasm backend. */
import { availableParallelism } from "node:os";
import type { numpy } from "@jax-js/jax";
import type { Engine } from "./engine.ts";
import { asFloats } from "./engine.ts";

export async function jax(baseline: string): Promise<Engine> {
  // It asks `navigator` for a GPU; Node 20 has none.
  const bare = typeof navigator === "undefined";
  if (bare) Object.assign(globalThis, { navigator: { hardwareConcurrency: availableParallelism() } });
  const { defaultDevice, init, jit, numpy: np } = await import("@jax-js/jax");
  const { ONNXModel } = await import("@jax-js/onnx");
  await init("wasm");
  defaultDevice("wasm");
  if (bare) Reflect.deleteProperty(globalThis, "navigator");
  return {
    name: "jax-js",
    baseline,
    async load({ onnx, inputs }) {
      const feeds = Object.entries(inputs);
      if (feeds.some(([, t]) => t.dtype !== "f32")) throw new Error("64-bit integers are missing");
      const model = new ONNXModel(new Uint8Array(onnx));
      const compiled = jit(model.run);
      const run = async (): Promise<Float32Array> => {
        const given: Record<string, numpy.Array> = {};
        for (const [name, t] of feeds)
          given[name] = np.array(t.data as Float32Array<ArrayBuffer>, { shape: [...t.shape] });
        const [output] = Object.values(compiled(given) as Record<string, numpy.Array>);
        return (await output.data()) as Float32Array;
      };
      return {
        run,
        values: asFloats,
        dispose: () => {
          compiled.dispose();
          model.dispose();
        },
      };
    },
  };
}
