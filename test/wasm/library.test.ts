/** Plans for other input shapes take the functions that earlier ones compiled. */
import { afterEach, describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile, gelu, graph, layerNorm, matmul, softmax } from "../../src/index.ts";
import { tensorFrom } from "../cases/case.ts";
import { withWorkers } from "./workers.ts";

const width = 64;
const w = tensorFrom(1, "f32", [width, width], { min: -0.2, max: 0.2 });
const ones = tensorFrom(2, "f32", [width], { min: 0.9, max: 1.1 });
const model = graph(({ input, weight }) => {
  const [first, scale] = [weight(w), weight(ones)];
  const x = input("x", "f32", ["n", width]);
  return { y: softmax(layerNorm(matmul(gelu(matmul(x, first)), first), scale, undefined, { axis: -1 }), { axis: -1 }) };
});

const OriginalModule = WebAssembly.Module;
/** Modules that are compiled from here on. */
function watchModules(): WebAssembly.Module[] {
  const modules: WebAssembly.Module[] = [];
  WebAssembly.Module = class extends OriginalModule {
    constructor(bytes: BufferSource) {
      super(bytes);
      modules.push(this);
    }
  };
  return modules;
}
afterEach(() => {
  WebAssembly.Module = OriginalModule;
});

const shared = (list: readonly { name: string; kind: string }[]): string[] =>
  list.flatMap(({ name, kind }) => (kind === "function" && name !== "run" && name !== "host" ? [name] : []));

test("inputs that grow a little from run to run link few plans anew", async () => {
  using session = await compile(model, { device: wasm({ threads: 1 }) });
  const modules = watchModules();
  for (const n of [20, 21, 22, 23, 24, 20, 21, 22, 23, 24]) await session.run({ x: tensorFrom(n, "f32", [n, width]) });
  // A plan each, and the first once more: the arena moved for the second.
  expect(modules).toHaveLength(6);
});

describe.each([1, 2])("on %i threads", (threads) => {
  test("a second shape compiles its steps alone; results are right whatever plans come and go", async () => {
    const { backend, dispose } =
      threads > 1 ? await withWorkers({ threads, parallelWork: 1 }) : { backend: wasm({ threads }), dispose() {} };
    using session = await compile(model, { device: backend, plans: 2 });
    using plain = await compile(model, { device: cpu() });
    const modules = watchModules();
    // Growing arenas, plans that were dropped, a single row.
    for (const n of [3, 40, 3, 200, 41, 1, 7, 200]) {
      const x = tensorFrom(n, "f32", [n, width]);
      const [{ y }, expected] = [await session.run({ x }), await plain.run({ x })];
      const off = Math.max(...(y.data as Float32Array).map((v, i) => Math.abs(v - Number(expected.y.data[i]))));
      expect(off, `${n} rows`).toBeLessThan(1e-6);
    }
    const [first, second] = modules;
    const made = shared(OriginalModule.exports(first));
    expect(made.some((name) => name.startsWith("gemm/"))).toBe(true);
    expect(made.some((name) => name.startsWith("layerNorm"))).toBe(true);
    expect(shared(OriginalModule.imports(second))).toEqual(made);
    expect(shared(OriginalModule.exports(second))).toEqual([]);
    dispose();
  });
});
