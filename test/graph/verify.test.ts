/** Verified mode: right kernels pass with their errors told, wrong ones are replaced by the next variant or the reference. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import type { Backend, HostStep, Kernel } from "../../src/backends/backend.ts";
import { hostKernel } from "../../src/backends/backend.ts";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import type { Inputs, Session } from "../../src/graph/session.ts";
import type { SessionState } from "../../src/graph/state.ts";
import { load } from "../../src/load.ts";
import { add, cachedAttention, kvAppend, matmul, relu, softmax } from "../../src/ops/index.ts";
import type { AnyOp, OpDef } from "../../src/ops/op.ts";
import type { TypedArray } from "../../src/tensor/dtype.ts";
import type { HostTensor, TensorType } from "../../src/tensor/tensor.ts";
import { withWorkers } from "../wasm/workers.ts";

/** Started before: results of the first runs, on one thread, differ in their last bits. */
const onTwo = await withWorkers({ threads: 2, parallelWork: 0 });
afterAll(onTwo.dispose);

const devices: [string, () => Backend][] = [
  ["cpu", () => cpu() as Backend],
  ["wasm", () => wasm({ threads: 1 }) as Backend],
  ["wasm, 2 threads", () => onTwo.backend as Backend],
];

const f32 = (shape: number[], value: (i: number) => number): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)),
});

const net = graph(({ input, weight }) => {
  const h = relu(matmul(input("x", "f32", ["batch", 8]), weight(f32([8, 16], (i) => Math.sin(i)))));
  return { y: softmax(add(h, input("z", "f32", ["batch", 16])), { axis: -1 }) };
});
const inputs: Inputs = { x: f32([3, 8], (i) => Math.cos(i)), z: f32([3, 16], (i) => i / 10) };

const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
afterEach(() => warnings.mockClear());

/** Twice the sum in its last element: wrong where a careless look sees nothing. */
const wrongAdd = (name: string): Kernel<HostStep> =>
  hostKernel(add, name, ([a, b], [y]) =>
    a.dtype === "f32" && `${a.shape}` === `${b.shape}`
      ? {
          run([p, q], [out]) {
            for (let i = 0; i < out.length; i++) out[i] = (p[i] as number) + (q[i] as number);
            out[out.length - 1] = (out[out.length - 1] as number) * (y.shape.length ? 2 : 1);
          },
        }
      : undefined,
  );

function withKernels(backend: Backend, own: readonly Kernel<HostStep>[], others = true): Backend {
  return {
    ...backend,
    kernelsFor: (op) =>
      op.name === add.op.name ? [...own, ...(others ? backend.kernelsFor(op) : [])] : backend.kernelsFor(op),
  };
}

test.each(devices)("on %s right kernels pass, and explain tells their errors", async (_, device) => {
  using plain = await compile(net, { device: device() });
  using session = await compile(net, { device: device(), verify: true });
  const want = await plain.run(inputs);
  expect(await session.run(inputs)).toEqual(want);
  expect(session.runSync(inputs)).toEqual(want);
  const steps = session.explain();
  expect(steps.length).toBe(plain.explain().length);
  for (const { kernel, error } of steps) {
    expect(error, kernel).toBeDefined();
    expect(error!.relative, kernel).toBeLessThan(1e-5);
  }
  expect(steps.some(({ error }) => error!.absolute > 0)).toBe(true);
  expect(plain.explain()[0].error).toBeUndefined();
  expect(warnings).not.toHaveBeenCalled();
});

test.each(devices)("on %s a wrong kernel gives way to the next variant, with a warning", async (_, device) => {
  using plain = await compile(net, { device: device() });
  const want = await plain.run(inputs);
  const broken = withKernels(device(), [wrongAdd("wrong/add/a"), wrongAdd("wrong/add/b")]);
  using unchecked = await compile(net, { device: broken });
  expect(await unchecked.run(inputs)).not.toEqual(want);
  expect(unchecked.explain().map((s) => s.kernel)).toContain("wrong/add/a");
  using session = await compile(net, { device: broken, verify: true });
  expect(await session.run(inputs)).toEqual(want);
  expect(session.explain().map((s) => s.kernel)).toEqual(plain.explain().map((s) => s.kernel));
  expect(warnings.mock.calls.map(([text]) => /^wrong\/add\/[ab] is off by/.test(text as string))).toEqual([true, true]);
});

test.each(devices)("on %s without another variant the reference runs", async (_, device) => {
  using plain = await compile(net, { device: device() });
  const want = (await plain.run(inputs))["y"];
  using session = await compile(net, { device: withKernels(device(), [wrongAdd("wrong/add")], false), verify: true });
  const { y } = await session.run(inputs);
  expect(session.explain().map((s) => s.kernel)).toContain("reference/add");
  for (let i = 0; i < y.data.length; i++) expect(y.data[i]).toBeCloseTo(want.data[i] as number, 6);
  expect(warnings).toHaveBeenCalledTimes(1);
});

test("each combination of kernel and shapes is checked once, and other shapes anew", async () => {
  const calls = vi.spyOn(add.op as Required<OpDef>, "reference");
  using session = await compile(net, { device: cpu() as Backend, verify: true });
  await session.run(inputs);
  await session.run(inputs);
  expect(calls).toHaveBeenCalledTimes(1);
  await session.run({ x: f32([2, 8], (i) => i), z: f32([2, 16], (i) => i) });
  expect(calls).toHaveBeenCalledTimes(2);
  calls.mockRestore();
});

const [width, rows] = [8, 64];
const caching = graph(({ input, state }) => {
  const x = input("x", "f32", [1, "tokens", width]);
  const position = input("position", "i32", ["tokens"]);
  const sequence = input("sequence", "i32", ["tokens"]);
  const cache = (name: string, v: typeof x) => kvAppend(state(name, "f16", [rows, width]), v, position, sequence);
  return {
    y: relu(add(cachedAttention(x, cache("k", x), cache("v", add(x, x)), position, sequence, { heads: 2 }), x)),
  };
});

/** Tokens of sequences by number, each from where it stands. */
async function feed(session: Session, states: SessionState[], chunks: readonly (readonly number[])[]) {
  const filled = states.map(() => 0);
  const out: HostTensor[] = [];
  for (const chunk of chunks) {
    const position = Int32Array.from(chunk, (s) => filled[s]++);
    const x = f32([1, chunk.length, width], (i) => Math.sin(i + 3 * position[0] + chunk[0]));
    const given = { x, position, sequence: Int32Array.from(chunk) };
    const options = { state: states, rows: states.map(() => Math.max(...filled)) };
    out.push((await session.run(given, options))["y"]);
  }
  return out;
}

const wrong = (op: AnyOp, name: string): Kernel<HostStep> =>
  hostKernel(op, name, (inputs, outputs, attrs) => ({
    run(given, results) {
      const host = (t: TensorType | undefined, data: TypedArray) => t && { dtype: t.dtype, shape: t.shape, data };
      const y = host(outputs[0], results[0])!;
      op.op.reference!(
        inputs.map((t, i) => host(t, given[i])),
        attrs,
        [y],
      );
      y.data[3] = (y.data[3] as number) * 2 + 1;
    },
  }));

describe.each(devices)("on %s steps that know state", (name, device) => {
  const one = [[0, 0, 0, 0, 0], [0], [0], [0, 0, 0, 0, 0, 0, 0], [0]];
  const several = [
    [0, 0, 1],
    [1, 0],
    [1, 1, 1, 0],
    [0, 1],
  ];

  test.each(name === "cpu" ? [one] : [one, several])(
    "are checked, and change nothing but what they should",
    async (...chunks) => {
      const count = Math.max(...chunks.flat()) + 1;
      const open = (s: Session) => Array.from({ length: count }, () => s.openState());
      using plain = await compile(caching, { device: device() });
      using session = await compile(caching, { device: device(), verify: true });
      expect(await feed(session, open(session), chunks)).toEqual(await feed(plain, open(plain), chunks));
      const steps = session.explain().filter((s) => !s.kernel.startsWith("reference/"));
      expect(new Set(steps.map((s) => s.op))).toContain("cachedAttention");
      for (const { kernel, error } of steps) expect(error, kernel).toBeDefined();
      expect(warnings).not.toHaveBeenCalled();
    },
  );

  test.each([cachedAttention, kvAppend])("are replaced where they are wrong", async (op) => {
    const backend = device();
    const broken: Backend = {
      ...backend,
      kernelsFor: (o) => (o.name === op.op.name ? [wrong(op, "wrong/state")] : []).concat(backend.kernelsFor(o) as []),
    };
    using plain = await compile(caching, { device: device() });
    using unchecked = await compile(caching, { device: broken });
    using session = await compile(caching, { device: broken, verify: true });
    const want = await feed(plain, [plain.openState()], one);
    expect(await feed(unchecked, [unchecked.openState()], one)).not.toEqual(want);
    expect(await feed(session, [session.openState()], one)).toEqual(want);
    expect(session.explain().map((s) => s.kernel)).not.toContain("wrong/state");
    expect(warnings).toHaveBeenCalled();
  });
});

test("a model passes on wasm", async () => {
  const bytes = new Uint8Array(
    readFileSync(new URL("../../examples/models/spam-transformer/model.onnx", import.meta.url)),
  );
  const ids = (values: number[]): HostTensor => ({
    dtype: "i64",
    shape: [1, values.length],
    data: BigInt64Array.from(values, BigInt),
  });
  const given = { input_ids: ids([1, 20, 300, 2]), attention_mask: ids([1, 1, 1, 0]) };
  using session = await load(bytes, { device: "wasm", threads: 1, verify: true });
  using plain = await load(bytes, { device: "wasm", threads: 1 });
  expect(await session.run(given)).toEqual(await plain.run(given));
  const kernels = session.explain().filter((s) => !s.kernel.startsWith("reference/"));
  expect(kernels.length).toBeGreaterThan(20);
  for (const { kernel, error } of kernels) expect(error, kernel).toBeDefined();
  expect(warnings).not.toHaveBeenCalled();
});
