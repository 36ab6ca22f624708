/** Fusions: the session equals the graph run node by node, and the fused operator is what ran. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import type { SymbolicValue } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { type GraphDefinition, graph } from "../../src/graph/define.ts";
import type { Graph } from "../../src/graph/ir.ts";
import { optimize } from "../../src/graph/passes/index.ts";
import {
  add,
  batchNorm,
  cast,
  castLike,
  clip,
  conv,
  convInteger,
  div,
  dropout,
  dynamicQuantizeLinear,
  erf,
  flatten,
  gemm,
  hardSigmoid,
  hardSwish,
  identity,
  matmul,
  matmulInteger,
  mul,
  pow,
  reduceMean,
  relu,
  reshape,
  sigmoid,
  softmax,
  sqrt,
  sub,
  tanh,
  transpose,
} from "../../src/ops/index.ts";
import { fromF64, toF64 } from "../../src/tensor/convert.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { runRaw } from "./raw.ts";

const devices = [cpu(), wasm({ threads: 1 })];
const tolerance = { absolute: 1e-4, relative: 1e-4 };
const scalar = (x: number): HostTensor => hostTensor(x);

/** Runs `g` both ways. Returns the operators that the session ran. */
async function check(g: Graph, inputs: Record<string, HostTensor>): Promise<string[]> {
  const want = runRaw(g, inputs);
  let ran: string[] = [];
  for (const device of devices) {
    using session = await compile(g, { device });
    const got = await session.run(inputs);
    for (const name of Object.keys(want)) {
      const d = difference(got[name], want[name], tolerance);
      if (d) throw new Error(`${device.name}, "${name}": ${d}`);
    }
    ran = session.explain().map((s) => s.op);
  }
  return ran;
}

/** A graph over one f32 input `x` of this shape. */
const over = (
  shape: readonly number[],
  define: (x: SymbolicValue, w: (t: HostTensor) => SymbolicValue) => SymbolicValue,
): Graph => graph((g: GraphDefinition) => ({ y: define(g.input("x", "f32", shape), g.weight) }));

/** A number as that dtype stores it. */
function rounded(v: number, dtype: DType): number {
  const t = emptyTensor({ dtype, shape: [] });
  fromF64([v], t);
  return toF64(t)[0];
}

const random = (seed: number, shape: readonly number[], min = -2, max = 2): HostTensor =>
  tensorFrom(seed, "f32", shape, { min, max });

describe("fusions", () => {
  test("matmul + bias + residual + activation", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer(),
        async (m, n, seed) => {
          const g = graph(({ input, weight }) => {
            const product = matmul(input("x", "f32", [2, m, 5]), weight(random(seed, [5, n])));
            return { y: relu(add(add(weight(random(seed + 1, [n])), product), input("r", "f32", [2, m, n]))) };
          });
          const ran = await check(g, { x: random(seed + 2, [2, m, 5]), r: random(seed + 3, [2, m, n]) });
          expect(ran).toEqual(["matmul"]);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("gemm with a factor on its bias keeps it apart", async () => {
    const g = over([3, 4], (x, w) => add(gemm(x, w(random(1, [4, 2])), undefined, { beta: 3 }), w(random(2, [2]))));
    expect(await check(g, { x: random(3, [3, 4]) })).toEqual(["gemm", "add"]);
  });

  test("a vector product has no columns: what is added is a residual", async () => {
    const g = over([3, 4], (x, w) => add(matmul(x, w(random(1, [4]))), w(random(2, [3]))));
    expect(await check(g, { x: random(3, [3, 4]) })).toEqual(["matmul"]);
  });

  test("conv + batch norm + residual + clip is one convolution", async () => {
    const g = graph(({ input, weight }) => {
      const x = input("x", "f32", [1, 3, 6, 6]);
      const y = conv(x, weight(random(1, [4, 3, 3, 3])), { pads: [1, 1, 1, 1] });
      const [scale, bias, mean] = [2, 3, 4].map((s) => weight(random(s, [4])));
      const normal = batchNorm(y, scale, identity(bias), mean, weight(random(5, [4], 0.1, 2)), {});
      return { y: clip(add(normal, input("r", "f32", [1, 4, 6, 6])), weight(scalar(0)), weight(scalar(6))) };
    });
    expect(await check(g, { x: random(6, [1, 3, 6, 6]), r: random(7, [1, 4, 6, 6]) })).toEqual(["conv"]);
  });

  test("batch norm that doesn't fit its convolution is refused, not folded into it", async () => {
    const w = random(1, [4, 1, 1, 1]);
    const of = (n: number, c: number): Graph =>
      graph(({ input, weight }) => {
        const y = conv(input("x", "f32", ["n", 1, 1, 1]), weight(w), weight(random(2, [c])), {});
        const v = weight(random(3, [n], 0.1, 2));
        return { y: batchNorm(y, v, v, v, v, {}) };
      });
    const x = random(4, [2, 1, 1, 1]);
    expect(await check(of(4, 4), { x })).toEqual(["conv"]);
    for (const [n, c, op] of [
      [1, 4, "batchNorm"],
      [3, 4, "batchNorm"],
      [5, 4, "batchNorm"],
      [4, 3, "conv"],
    ] as const) {
      using session = await compile(of(n, c), { device: devices[0] });
      await expect(session.run({ x }), `${n}, ${c}`).rejects.toMatchObject({ name: "ShapeError", op });
    }
  });

  test("a dynamically quantised product with its scales and bias is one operator", async () => {
    const bytes = tensorFrom(1, "i8", [6, 5], { min: -128, max: 127 });
    const written = (columns: boolean, bias: readonly number[]) =>
      over([2, 3, 6], (x, w) => {
        const [q, scale, zero] = dynamicQuantizeLinear(x);
        const sums = matmulInteger(q, w(bytes), zero, w(tensorFrom(2, "i8", [], { min: -3, max: 3 })));
        const own = w(columns ? random(3, [5], 0.01, 0.02) : scalar(0.01));
        return add(mul(mul(own, scale), cast(sums, { to: "f32" })), w(random(4, bias)));
      });
    const x = random(5, [2, 3, 6]);
    for (const columns of [true, false])
      expect(await check(written(columns, [5]), { x })).toEqual(["dynamicQuantizeLinear", "matmulIntegerToFloat"]);
    expect(await check(written(true, [3, 5]), { x })).toEqual(["dynamicQuantizeLinear", "matmulIntegerToFloat", "add"]);
  });

  test("a scale of one axis keeps that axis beside a quantised product of two vectors", async () => {
    const product = (scale: HostTensor) =>
      over([6], (x, w) => {
        const [q, own, zero] = dynamicQuantizeLinear(x);
        const sums = matmulInteger(q, w(tensorFrom(1, "i8", [6], { min: -128, max: 127 })), zero);
        return mul(mul(own, w(scale)), cast(sums, { to: "f32" }));
      });
    const x = random(5, [6]);
    expect(await check(product(scalar(0.01)), { x })).toEqual(["dynamicQuantizeLinear", "matmulIntegerToFloat"]);
    expect(await check(product({ ...scalar(0.01), shape: [1] }), { x })).not.toContain("matmulIntegerToFloat");
  });

  test("a dynamically quantised convolution with its scales and bias is one operator", async () => {
    const bytes = tensorFrom(1, "u8", [5, 3, 3, 3], { min: 0, max: 255 });
    const attrs = { pads: [1, 1, 1, 1], strides: [2, 2], groups: 2 };
    const written = (scales: HostTensor, bias: readonly number[]) =>
      over([2, 6, 7, 9], (x, w) => {
        const [q, scale, zero] = dynamicQuantizeLinear(x);
        const weights = {
          ...bytes,
          shape: [5 * 2, 3, 3, 3],
          data: Uint8Array.from([...bytes.data, ...bytes.data], Number),
        };
        const sums = convInteger(q, w(weights), zero, w(tensorFrom(2, "u8", [], { min: 100, max: 140 })), attrs);
        const rescaled = mul(cast(sums, { to: "f32" }), mul(scale, w(scales)));
        return add(rescaled, reshape(w(random(4, [bias.reduce((a, b) => a * b, 1)])), w(hostTensor(bias.map(BigInt)))));
      });
    const x = random(5, [2, 6, 7, 9]);
    const fused = ["dynamicQuantizeLinear", "convIntegerToFloat"];
    const each = random(3, [10, 1, 1], 0.01, 0.02);
    for (const scales of [scalar(0.01), { ...scalar(0.01), shape: [1] }, each, { ...each, shape: [1, 10, 1, 1] }])
      for (const bias of [
        [1, 10, 1, 1],
        [10, 1, 1],
      ])
        expect(await check(written(scales, bias), { x })).toEqual(fused);
    // Along a row of the plane, not along channels.
    expect(await check(written(each, [5]), { x })).toEqual([...fused, "add"]);
    expect(await check(written(random(3, [5], 0.01, 0.02), [1, 10, 1, 1]), { x })).not.toContain("convIntegerToFloat");
  });

  test("a clip whose ends cross is its upper end behind a product too", async () => {
    const g = over([3, 4], (x, w) => clip(matmul(x, w(random(1, [4, 5]))), w(scalar(0.5)), w(scalar(-0.25))));
    expect(await check(g, { x: random(2, [3, 4]) })).toEqual(["matmul"]);
  });

  test("a product with two readers stays", async () => {
    const g = graph(({ input, weight }) => {
      const p = matmul(input("x", "f32", [2, 3]), weight(random(1, [3, 3])));
      return { a: relu(p), b: sigmoid(p) };
    });
    expect(await check(g, { x: random(2, [2, 3]) })).toContain("relu");
  });

  test.each([
    [
      "0.5 x (1 + erf)",
      (x: SymbolicValue, c: (v: number) => SymbolicValue) => mul(mul(x, c(0.5)), add(erf(div(x, c(Math.SQRT2))), c(1))),
    ],
    [
      "(x (1 + erf)) 0.5",
      (x: SymbolicValue, c: (v: number) => SymbolicValue) =>
        mul(mul(x, add(c(1), erf(mul(x, c(Math.SQRT1_2))))), c(0.5)),
    ],
    [
      "x (0.5 (1 + erf))",
      (x: SymbolicValue, c: (v: number) => SymbolicValue) => mul(x, mul(c(0.5), add(erf(div(x, c(Math.SQRT2))), c(1)))),
    ],
    [
      "tanh form",
      (x: SymbolicValue, c: (v: number) => SymbolicValue) => {
        const inner = mul(add(x, mul(pow(x, c(3)), c(0.044715))), c(Math.sqrt(2 / Math.PI)));
        return mul(mul(x, c(0.5)), add(tanh(inner), c(1)));
      },
    ],
  ])("gelu written as %s", async (_, define) => {
    const g = over([3, 5], (x, w) => define(x, (v) => w(scalar(v))));
    expect(await check(g, { x: random(1, [3, 5]) })).toEqual(["gelu"]);
  });

  /** Both forms of gelu with their constants as a model stores them. */
  const geluOf = (half: number, root: number, tanhFactor: number, cubic: number) => [
    over([3, 5], (x, w) => mul(mul(x, w(scalar(half))), add(erf(div(x, w(scalar(root)))), w(scalar(1))))),
    over([3, 5], (x, w) => {
      const inner = mul(add(x, mul(pow(x, w(scalar(3))), w(scalar(cubic)))), w(scalar(tanhFactor)));
      return mul(mul(x, w(scalar(half))), add(tanh(inner), w(scalar(1))));
    }),
  ];

  test.each([
    ["f16", (v: number) => rounded(v, "f16")],
    ["bf16", (v: number) => rounded(v, "bf16")],
    ["six digits", (v: number) => Number(v.toPrecision(6))],
  ])("gelu with constants of %s", async (_, write) => {
    const constants = [0.5, Math.SQRT2, Math.sqrt(2 / Math.PI), 0.044715].map(write) as [
      number,
      number,
      number,
      number,
    ];
    for (const g of geluOf(...constants)) {
      using session = await compile(g, { device: devices[0] });
      await session.run({ x: random(1, [3, 5]) });
      expect(session.explain().map((s) => s.op)).toEqual(["gelu"]);
    }
  });

  test("a constant of the model's own is kept, however close it is", async () => {
    const exact = [0.5, Math.SQRT2, Math.sqrt(2 / Math.PI), 0.044715] as const;
    for (const [i, form] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [2, 1],
      [3, 1],
    ])
      for (const factor of [1.0018, 0.9982, 1.0003]) {
        const own = exact.map((v, k) => (k === i ? v * factor : v)) as [number, number, number, number];
        expect(await check(geluOf(...own)[form], { x: random(1, [3, 5]) }), `${own}`).not.toContain("gelu");
      }
  });

  test("an erf with another factor is no gelu", async () => {
    const g = over([3, 5], (x, w) => mul(mul(x, w(scalar(0.5))), add(erf(div(x, w(scalar(2)))), w(scalar(1)))));
    expect(await check(g, { x: random(1, [3, 5]) })).not.toContain("gelu");
  });

  test("hardSwish of infinities behind a product is what it is alone", async () => {
    const g = over([5, 1], (x, w) => hardSwish(matmul(x, w(hostTensor([[1]])))));
    const x = hostTensor([[-Infinity], [-4], [1], [4], [Infinity]]);
    expect(await check(g, { x })).toEqual(["matmul"]);
    expect(runRaw(g, { x })["y"].data[0]).toBeNaN();
  });

  test("a cubic term with a factor of its own is no gelu", async () => {
    const g = over([3, 5], (x, w) => {
      const [c, third, half, one] = [0.0465, 3, 0.5, 1].map((v) => w(scalar(v)));
      const inner = mul(add(x, mul(pow(x, third), c)), w(scalar(Math.sqrt(2 / Math.PI))));
      return mul(mul(x, half), add(tanh(inner), one));
    });
    expect(await check(g, { x: random(1, [3, 5]) })).not.toContain("gelu");
  });

  test("silu and hardSwish", async () => {
    expect(
      await check(
        over([7], (x) => mul(sigmoid(x), x)),
        { x: random(1, [7], -5, 5) },
      ),
    ).toEqual(["silu"]);
    const hard = over([7], (x) => mul(x, hardSigmoid(x, { alpha: 1 / 6, beta: 0.5 })));
    expect(await check(hard, { x: random(1, [7], -5, 5) })).toEqual(["hardSwish"]);
    for (const alpha of [0.2, 0.168]) {
      const other = over([7], (x) => mul(x, hardSigmoid(x, { alpha, beta: 0.5 })));
      expect(await check(other, { x: random(1, [7], -5, 5) })).not.toContain("hardSwish");
    }
  });

  test("layer normalisation written out", async () => {
    const g = over([2, 3, 8], (x, w) => {
      const d = sub(x, reduceMean(x, [-1], { keepDims: true }));
      const variance = reduceMean(pow(d, w(scalar(2))), [-1], { keepDims: true });
      return add(mul(div(d, sqrt(add(variance, w(scalar(1e-5))))), w(random(1, [8]))), w(random(2, [8])));
    });
    expect(await check(g, { x: random(3, [2, 3, 8]) })).toEqual(["layerNorm"]);
  });

  test("a mean over another axis is no layer normalisation", async () => {
    const g = over([2, 8, 8], (x, w) => {
      const d = sub(x, reduceMean(x, [1], { keepDims: true }));
      const variance = reduceMean(mul(d, d), [1], { keepDims: true });
      return add(mul(div(d, sqrt(add(variance, w(scalar(1e-5))))), w(random(1, [8]))), w(random(2, [8])));
    });
    expect(await check(g, { x: random(3, [2, 8, 8]) })).not.toContain("layerNorm");
  });
});

describe("attention", () => {
  const [batch, seq, heads, dim] = [2, 5, 3, 4];
  const split = (x: SymbolicValue, perm: number[]): SymbolicValue =>
    transpose(reshape(x, [batch, seq, heads, dim]), { perm });
  const inputs = (): Record<string, HostTensor> => ({
    q: random(1, [batch, seq, heads * dim]),
    k: random(2, [batch, seq, heads * dim]),
    v: random(3, [batch, seq, heads * dim]),
    mask: random(4, [batch, 1, 1, seq]),
  });

  const written = (scaleAt: "scores" | "q" | "both", masked: boolean, keyPerm: number[]): Graph =>
    graph(({ input, weight }) => {
      const [q, k, v] = ["q", "k", "v"].map((n) => input(n, "f32", [batch, seq, heads * dim]));
      const factor = (x: number) => weight(scalar(x));
      const root = Math.sqrt(dim);
      let a = split(q, [0, 2, 1, 3]);
      let b = keyPerm.length ? split(k, keyPerm) : transpose(split(k, [0, 2, 1, 3]), { perm: [0, 1, 3, 2] });
      if (scaleAt === "q") a = div(a, factor(root));
      if (scaleAt === "both") [a, b] = [mul(a, factor(1 / Math.sqrt(root))), mul(b, factor(1 / Math.sqrt(root)))];
      let scores = matmul(a, b);
      if (scaleAt === "scores") scores = div(scores, factor(root));
      if (masked) scores = add(scores, input("mask", "f32", [batch, 1, 1, seq]));
      const mixed = matmul(softmax(scores, { axis: -1 }), split(v, [0, 2, 1, 3]));
      return { y: reshape(transpose(mixed, { perm: [0, 2, 1, 3] }), [batch, seq, heads * dim]) };
    });

  test.each([
    ["scores", true, []],
    ["scores", false, [0, 2, 3, 1]],
    ["q", true, [0, 2, 3, 1]],
    ["both", true, []],
  ] as const)(
    "scaled at %s, mask %s, keys turned by [%s]: one step on packed heads",
    async (scaleAt, masked, keyPerm) => {
      const given = inputs();
      if (!masked) delete given["mask"];
      expect(await check(written(scaleAt, masked, [...keyPerm]), given)).toEqual(["attention"]);
    },
  );

  test.each([
    [false, "axes as they are", 0, batch],
    [false, "scores in two axes", 2, batch],
    [true, "a mask between reshapes", 3, batch],
    [true, "a mask between reshapes", 3, 0],
  ])("batch and heads in one axis (mask %s, %s): one step on packed heads", async (masks, _, rank, b) => {
    const of = (n: string, seed: number) => ({ [n]: random(seed, [b, seq, heads * dim]) });
    const merged = [b * heads, seq, dim];
    const g = graph(({ input, weight }) => {
      const side = (n: string) => {
        const x = reshape(input(n, "f32", [b, seq, heads * dim]), [b, seq, heads, dim]);
        return reshape(transpose(x, { perm: [0, 2, 1, 3] }), merged);
      };
      let scores = matmul(mul(side("q"), weight(scalar(0.3))), transpose(side("k"), { perm: [0, 2, 1] }));
      if (masks) scores = add(reshape(scores, [b, heads, seq, seq]), input("mask", "f32", [b, 1, 1, seq]));
      if (rank === 2) scores = flatten(scores, { axis: 2 });
      if (rank === 3) scores = reshape(scores, [b * heads, seq, seq]);
      const weights = softmax(scores, { axis: -1 });
      const mixed = matmul(rank ? reshape(weights, [b * heads, seq, seq]) : weights, side("v"));
      const split = transpose(reshape(mixed, [b, heads, seq, dim]), { perm: [0, 2, 1, 3] });
      return { y: reshape(split, [b, seq, heads * dim]) };
    });
    const given = { ...of("q", 1), ...of("k", 2), ...of("v", 3), ...(masks && { mask: random(4, [b, 1, 1, seq]) }) };
    expect(await check(g, given)).toEqual(b ? ["attention"] : []);
  });

  test("reshapes that move matrices stay where they are", async () => {
    const g = graph(({ input }) => {
      // Heads are the second and third axis here, and rows of other sizes.
      const [q, k] = ["q", "k"].map((n) => reshape(input(n, "f32", [2, 3, 4, 6]), [2, 12, 6]));
      const odd = reshape(softmax(reshape(q, [2, 36, 2]), { axis: -1 }), [2, 12, 6]);
      return { y: matmul(transpose(q, { perm: [0, 2, 1] }), k), z: odd };
    });
    expect(await check(g, { q: random(1, [2, 3, 4, 6]), k: random(2, [2, 3, 4, 6]) })).toContain("matmul");
  });

  test("a softmax over another axis stays", async () => {
    const g = graph(({ input }) => {
      const [q, k, v] = ["q", "k", "v"].map((n) => input(n, "f32", [batch, heads, seq, dim]));
      return { y: matmul(softmax(matmul(q, transpose(k, { perm: [0, 1, 3, 2] })), { axis: 2 }), v) };
    });
    const t = (s: number): HostTensor => random(s, [batch, heads, seq, dim]);
    expect(await check(g, { q: t(1), k: t(2), v: t(3) })).not.toContain("attention");
  });

  test.each([
    ["batches", [1, heads, seq, dim], [1, heads, seq, dim], [3, 1, 1, seq]],
    ["queries", [batch, heads, 1, dim], [batch, heads, seq, dim], [3, seq]],
    ["keys", [batch, heads, seq, dim], [batch, heads, 1, dim], [1, 1, seq, 6]],
    ["axes", [1, heads, seq, dim], [1, heads, seq, dim], [1, 1, 1, 1, seq]],
  ])("a mask that makes the scores more, along %s, stays", async (_, queries, keys, mask) => {
    const values = [...keys.slice(0, 2), mask.at(-1)!, dim];
    const g = graph(({ input }) => {
      const [q, k] = [input("q", "f32", queries), input("k", "f32", keys)];
      const scores = add(matmul(q, transpose(k, { perm: [0, 1, 3, 2] })), input("mask", "f32", mask));
      return { y: matmul(softmax(scores, { axis: -1 }), input("v", "f32", values)) };
    });
    const given = { q: random(1, queries), k: random(2, keys), v: random(3, values), mask: random(4, mask) };
    expect(await check(g, given)).not.toContain("attention");
  });
});

test("a cast to the dtype that there is disappears, where it is no output", async () => {
  const g = graph(({ input }) => {
    const x = input("x", "f32", ["n"]);
    const mask = cast(cast(cast(x, { to: "bool" }), { to: "bool" }), { to: "f32" });
    return { y: add(castLike(mask, x), x), kept: castLike(x, mask) };
  });
  const x = hostTensor([0, -1, 2]);
  expect(runRaw(g, { x })["y"].data).toEqual(Float32Array.of(0, 0, 3));
  const ran = await check(g, { x });
  expect(ran.filter((op) => op.startsWith("cast")).sort()).toEqual(["cast", "cast", "castLike"]);
});

describe("compile rules", () => {
  test("constants fold, identities and dropout at inference disappear", () => {
    const g = over([4], (x, w) => {
      const [kept] = dropout(identity(x), undefined, undefined, {});
      return add(kept, mul(w(scalar(2)), w(scalar(3))));
    });
    const optimized = optimize(g);
    expect(optimized.nodes.map((n) => n.op.name)).toEqual(["add"]);
    expect([...optimized.constants.values()].map((t) => t.data[0])).toEqual([6]);
  });
});
