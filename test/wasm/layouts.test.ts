/** Steps of equal layers are one function. */
import { afterEach, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { Decoder } from "../../src/models/transformer/sequence.ts";
import { add, pow, rmsNorm } from "../../src/ops/index.ts";
import { base, build, text, variants } from "../models/tiny.ts";
import { withWorkers } from "./workers.ts";

const OriginalModule = WebAssembly.Module;
/** Bytes of the modules that are compiled. */
let sizes: number[] = [];
const watch = (): void => {
  sizes = [];
  WebAssembly.Module = class extends OriginalModule {
    constructor(bytes: BufferSource) {
      super(bytes);
      sizes.push(bytes.byteLength);
    }
  };
};
afterEach(() => {
  WebAssembly.Module = OriginalModule;
});

const layers = (n: number): ReturnType<typeof build> =>
  build({ ...variants["llama 2"], layers: Array.from({ length: n }, () => ({})) });

test("a layer more is some calls more, and no code", async () => {
  const size = async (n: number): Promise<number> => {
    const { config, weights } = layers(n);
    watch();
    (await Decoder.open(config, weights, wasm({ threads: 1 }))).dispose();
    return Math.max(...sizes);
  };
  const [few, many] = [await size(4), await size(24)];
  // With code of its own a layer takes more than 3 kB.
  expect((many - few) / 20).toBeLessThan(800);
});

test.each([1, 2])(
  "on %i threads twelve layers, and layers that are not all equal, compute what cpu does",
  async (threads) => {
    const { backend, dispose } =
      threads > 1 ? await withWorkers({ threads, parallelWork: 1 }) : { backend: wasm({ threads }), dispose() {} };
    const uneven = build({ ...variants["gemma3"], layers: [{ window: 6 }, {}, { window: 6 }, { window: 3 }, {}] });
    for (const { config, weights } of [layers(12), uneven]) {
      const [own, plain] = [await Decoder.open(config, weights, backend), await Decoder.open(config, weights, cpu())];
      const [a, b] = [own.sequence(), plain.sequence()];
      for (const n of [9, 1, 1, 40]) {
        const tokens = text(n);
        const [got, want] = [await a.feed(tokens), await b.feed(tokens)];
        const scale = Math.max(...want.map(Math.abs));
        const off = Math.max(...got.map((v, i) => Math.abs(v - want[i])));
        expect(off / scale, `${n} tokens`).toBeLessThan(1e-4);
        expect(got.length).toBe(base.vocabSize);
      }
      own.dispose();
      plain.dispose();
    }
    dispose();
  },
);

test("powers of one shape with other exponents are other functions", async () => {
  const powers = graph(({ input, weight }) => {
    const x = input("x", "f32", [5]);
    const square = pow(x, weight({ dtype: "f32", shape: [], data: Float32Array.of(2) }));
    const next = add(x, square);
    const cube = pow(next, weight({ dtype: "f32", shape: [], data: Float32Array.of(3) }));
    const ones = weight({ dtype: "f32", shape: [5], data: new Float32Array(5).fill(1) });
    // Functions are shared in graphs with norms.
    const y = add(next, cube);
    return { y, norm: rmsNorm(y, ones) };
  });
  using session = await compile(powers, { device: wasm({ threads: 1 }) });
  const { y } = await session.run({ x: Float32Array.of(-3, -1, 0, 1, 2) });
  expect([...y.data]).toEqual([222, 0, 0, 10, 222]);
});
