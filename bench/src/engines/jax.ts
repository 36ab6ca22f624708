/** jax-js: the model through @jax-js/onnx, compiled by its `jit`, on its wasm or webgpu backend. */
import type { numpy } from "@jax-js/jax";
import { type Feed, widened } from "../task.ts";
import type { Engine } from "./engine.ts";

type Backend = "wasm" | "webgpu";

async function start(backend: Backend): Promise<typeof import("@jax-js/jax")> {
  // It asks `navigator` for a GPU; Node 20 has none.
  const bare = typeof navigator === "undefined";
  if (bare) {
    const { availableParallelism } = await import("node:os");
    Object.assign(globalThis, { navigator: { hardwareConcurrency: availableParallelism() } });
  }
  const jax = await import("@jax-js/jax");
  const found = await jax.init(backend);
  if (!found.includes(backend)) throw new Error(`it has no ${backend} backend here`);
  jax.defaultDevice(backend);
  if (bare) Reflect.deleteProperty(globalThis, "navigator");
  return jax;
}

/** f16 where there is a typed array for it. */
type Floats = new (buffer: ArrayBufferLike, offset: number, length: number) => Float32Array<ArrayBuffer>;

export async function jax(baseline: string, backend: Backend = "wasm"): Promise<Engine> {
  const { jit, numpy: np } = await start(backend);
  const { ONNXModel } = await import("@jax-js/onnx");
  const arrayOf = ({ dtype, shape, data }: Feed): numpy.Array => {
    if (dtype === "i64") throw new Error("64-bit integers are missing");
    if (dtype === "f32") return np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] });
    const { Float16Array } = globalThis as { Float16Array?: Floats };
    if (!Float16Array) throw new Error("it takes Float16Array for f16, which is missing here");
    const halves = new Float16Array(data.buffer, data.byteOffset, data.length);
    return np.array(halves, { shape: [...shape], dtype: np.float16 });
  };
  return {
    name: "jax-js",
    baseline,
    async load({ onnx, inputs, resident }) {
      const feeds = Object.entries(inputs);
      const given = (): Record<string, numpy.Array> =>
        Object.fromEntries(feeds.map(([name, feed]) => [name, arrayOf(feed)]));
      const kept = resident ? given() : undefined;
      if (feeds.some(([, t]) => t.dtype === "i64")) throw new Error("64-bit integers are missing");
      const model = new ONNXModel(new Uint8Array(onnx));
      const compiled = jit(model.run);
      const compute = (values: Record<string, numpy.Array>): numpy.Array =>
        Object.values(compiled(values) as Record<string, numpy.Array>)[0];
      let held: numpy.Array | undefined;
      const computeResident = (): numpy.Array => {
        held?.dispose();
        // Functions consume their arguments: `ref` is one more reference.
        return (held = compute(Object.fromEntries(Object.entries(kept!).map(([name, a]) => [name, a.ref]))));
      };
      return {
        run: kept ? computeResident : async () => await compute(given()).data(),
        finish: kept && (async () => await held?.ref.blockUntilReady()),
        values: async (result) => {
          const data = kept ? await (result as numpy.Array).ref.data() : (result as Float32Array | Uint16Array);
          return data instanceof Float32Array
            ? data
            : data instanceof Uint16Array
              ? widened(data)
              : Float32Array.from(data as ArrayLike<number>);
        },
        dispose: () => {
          held?.dispose();
          for (const a of Object.values(kept ?? {})) a.dispose();
          compiled.dispose();
          model.dispose();
        },
      };
    },
  };
}
