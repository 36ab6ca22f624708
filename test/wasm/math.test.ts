import { describe, expect, it } from "vitest";
import { f32x4, i32, ModuleBuilder, v128 } from "../../src/backends/wasm/assembler.ts";
import { wasmFeatures } from "../../src/backends/wasm/features.ts";
import * as double from "../../src/backends/wasm/kernels/double.ts";
import { gateSigmoid, gateTanh } from "../../src/backends/wasm/kernels/gates.ts";
import * as math from "../../src/backends/wasm/kernels/math.ts";

const CHUNK = 1 << 14;

function instantiate(fn: math.VectorFunction): (x: Float32Array) => Float32Array {
  const m = new ModuleBuilder();
  m.memory({ min: 1, export: "memory" });
  m.func({ name: "run", params: { n: "i32" }, export: true }, (f, { n }) => {
    const at = f.local("i32");
    f.forRange(at, 0, i32.shl(n, 2), 16, () => f.v128.store(at, fn(f, v128.load(at))));
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()));
  const memory = new Float32Array((exports.memory as WebAssembly.Memory).buffer);
  return (x) => {
    memory.set(x);
    (exports.run as (n: number) => void)(x.length);
    return memory.slice(0, x.length);
  };
}

/** Every `stride`th float by bit pattern: both signs, denormals, all exponents. */
function* floats(stride: number): Generator<Float32Array> {
  for (let start = 0; start < 2 ** 32; start += CHUNK * stride) {
    const bits = Uint32Array.from({ length: CHUNK }, (_, i) => start + i * stride);
    yield new Float32Array(bits.buffer).filter(Number.isFinite);
  }
}

const ulp = (x: number) => 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -126) - 23);

// ---- float64 references --------------------------------------------------------------------------------------

/** By the power series, or the continued fraction of 1 - erf. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-18 * a; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const cases: {
  name: string;
  fn: math.VectorFunction;
  reference: (x: number) => number;
  /** Allowed error at x, given the exact result. */
  bound: (exact: number, x: number) => number;
  /** Values at -Infinity, -0, 0, Infinity. */
  edges: [number, number, number, number];
}[] = [
  { name: "exp", fn: math.exp, reference: Math.exp, bound: (y) => 1 * ulp(y), edges: [0, 1, 1, Infinity] },
  {
    name: "expNonPositive",
    fn: (f, x) => math.expNonPositive(f, f32x4.neg(f32x4.abs(x))),
    reference: (x) => (Math.abs(x) > 86 ? 0 : Math.exp(-Math.abs(x))),
    bound: (y) => 1 * ulp(y),
    edges: [0, 1, 1, 0],
  },
  {
    name: "sin",
    fn: double.sin,
    reference: Math.sin,
    bound: (y, x) => 1 * ulp(y) + Math.min(Math.abs(x), 2 ** 20) * 2 ** -50,
    edges: [Number.NaN, -0, 0, Number.NaN],
  },
  {
    name: "cos",
    fn: double.cos,
    reference: Math.cos,
    bound: (y, x) => 1 * ulp(y) + Math.min(Math.abs(x), 2 ** 20) * 2 ** -50,
    edges: [Number.NaN, 1, 1, Number.NaN],
  },
  {
    name: "log",
    fn: math.log,
    reference: Math.log,
    bound: (y) => 1 * ulp(y),
    edges: [Number.NaN, -Infinity, -Infinity, Infinity],
  },
  { name: "sigmoid", fn: math.sigmoid, reference: sigmoid, bound: (y) => 3 * ulp(y), edges: [0, 0.5, 0.5, 1] },
  { name: "tanh", fn: math.tanh, reference: Math.tanh, bound: (y) => 2 * ulp(y), edges: [-1, -0, 0, 1] },
  { name: "erf", fn: math.erf, reference: erf, bound: (y) => 2 * ulp(y), edges: [-1, -0, 0, 1] },
  {
    name: "silu",
    fn: math.silu,
    reference: (x) => x * sigmoid(x),
    bound: (y, x) => 4 * ulp(y) + 2 ** -149 * Math.abs(x),
    edges: [Number.NaN, -0, 0, Infinity],
  },
  {
    name: "gelu",
    fn: math.gelu,
    reference: (x) => (x / 2) * (1 + erf(x * Math.SQRT1_2)),
    bound: (_, x) => 2 ** -22 * Math.abs(x) + 2 ** -148,
    edges: [Number.NaN, -0, 0, Infinity],
  },
  {
    name: "geluTanh",
    fn: math.geluTanh,
    reference: (x) => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)),
    bound: (_, x) => 2 ** -22 * Math.abs(x) + 2 ** -148,
    edges: [Number.NaN, -0, 0, Infinity],
  },
  { name: "relu", fn: math.relu, reference: (x) => Math.max(x, 0), bound: () => 0, edges: [0, -0, 0, Infinity] },
  {
    name: "clip",
    fn: math.clip(-1, 6),
    reference: (x) => Math.min(Math.max(x, -1), 6),
    bound: () => 0,
    edges: [-1, -0, 0, 6],
  },
];

for (const fma of wasmFeatures().relaxedSimd ? [false, true] : [false]) {
  const variant = fma ? ", relaxed" : "";
  cases.push(
    {
      name: `gateTanh${variant}`,
      fn: gateTanh(fma),
      reference: Math.tanh,
      bound: (y) => 2 ** -21 * Math.abs(y) + 2 ** -149,
      edges: [-1, -0, 0, 1],
    },
    {
      name: `gateSigmoid${variant}`,
      fn: gateSigmoid(fma),
      reference: sigmoid,
      bound: () => 2 ** -22,
      edges: [0, 0.5, 0.5, 1],
    },
  );
}

describe("vector math", () => {
  for (const { name, fn, reference, bound, edges } of cases) {
    const run = instantiate(fn);
    it(`${name} stays within its error bound`, () => {
      let worst = 0;
      let worstAt = 0;
      // A prime stride visits all mantissa patterns; about a million floats.
      for (const xs of floats(4093)) {
        const ys = run(xs);
        for (let i = 0; i < xs.length; i++) {
          const exact = reference(xs[i]);
          const rounded = Math.fround(exact);
          if (Object.is(ys[i], rounded) || ys[i] === rounded) continue;
          const error = Math.abs(ys[i] - exact) / bound(exact, xs[i]);
          if (!(error <= worst)) {
            worst = error;
            worstAt = xs[i];
          }
        }
      }
      expect(worst, `at ${worstAt}`).toBeLessThanOrEqual(1);
    });
    it(`${name} of the edges`, () => {
      const special = [-Infinity, -0, 0, Infinity, Number.NaN];
      expect([...run(new Float32Array([...special, 1, 1, 1])).slice(0, 5)]).toEqual([...edges, Number.NaN]);
    });
  }
});
