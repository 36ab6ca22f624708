/** gpu.js in whatever mode it finds: in Node without a GL library that is its own WebAssembly or JavaScript mode. */
import type { Engine } from "./engine.ts";

/** The part of gpu.js that is used; its own types need the DOM's GL. */
interface Kernel {
  (a: unknown, b: unknown): Float32Array[] | Float32Array;
  setOutput(size: number[]): Kernel;
  setLoopMaxIterations(n: number): Kernel;
  setConstants(c: object): Kernel;
  destroy(): void;
}
interface GpuJs {
  GPU: new () => { mode: string; createKernel(f: unknown): Kernel };
  input(data: Float32Array, size: number[]): unknown;
}
interface KernelThis {
  thread: { x: number; y: number };
  constants: { k: number };
}

export async function gpujs(baseline: string): Promise<Engine> {
  const { GPU, input } = ((await import("gpu.js")) as unknown as { default: GpuJs }).default;
  const gpu = new GPU();
  return {
    name: `gpu.js (${gpu.mode})`,
    baseline,
    async load({ product, inputs }) {
      if (inputs["a"]?.dtype !== "f32" || !product || !inputs["b"])
        throw new Error("only products of two f32 inputs were written for it");
      const { m, k, n } = product;
      const kernel = gpu
        .createKernel(function (this: KernelThis, a: number[][], b: number[][]) {
          let sum = 0;
          for (let i = 0; i < this.constants.k; i++) sum += a[this.thread.y][i] * b[i][this.thread.x];
          return sum;
        })
        .setConstants({ k })
        .setLoopMaxIterations(k)
        .setOutput([n, m]);
      const a = inputs["a"].data as Float32Array;
      const b = inputs["b"].data as Float32Array;
      return {
        run: () => kernel(input(a, [k, m]), input(b, [n, k])),
        values: (rows) => Float32Array.from((rows as Float32Array[]).flatMap((r) => Array.from(r))),
        dispose: () => kernel.destroy(),
      };
    },
  };
}
