/** Models compiled ahead of time: the same results without the engine, where nothing may be compiled. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AheadFiles, compileAhead } from "../src/ahead.ts";
import { wasm } from "../src/backends/wasm/index.ts";
import { InputError, load, ShapeError, UnsupportedOpError } from "../src/index.ts";
import { tensorFrom } from "./cases/case.ts";
import { encodeModel, node } from "./onnx/encode.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "forwardpass-ahead-"));
});
afterAll(() => rm(folder, { recursive: true }));

const modelOf = (name: string): string =>
  fileURLToPath(new URL(`../examples/models/${name}/model.onnx`, import.meta.url));

/**
 * Loads a compiled model through `WebAssembly.instantiate(module)` alone: every other way to compile is gone, and so is
 * the engine. Prints the results.
 */
const guest = `
import { readFileSync } from "node:fs";
const [module, weights] = [new WebAssembly.Module(readFileSync(process.argv[2] + "/model.wasm")), readFileSync(process.argv[2] + "/model.weights")];
for (const way of ["Module", "compile", "compileStreaming", "instantiateStreaming"])
  WebAssembly[way] = () => { throw new Error("compiling is forbidden"); };
try { new Function("return 1")(); process.exit(3); } catch {}
const { instantiate } = await import(process.argv[2] + "/model.mjs");
const model = await instantiate(module, weights);
const given = JSON.parse(readFileSync(process.argv[2] + "/inputs.json"));
const typed = Object.fromEntries(model.inputs.map((p) => [p.name, globalThis[p.array].from(given[p.name], p.array.startsWith("Big") ? BigInt : Number)]));
const first = model.run(typed);
const again = model.run(typed);
let error = "";
try { model.run({}); } catch (e) { error = e.message; }
console.log(JSON.stringify({ first, again, error }, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v, Number) : v)));
`;

interface Results {
  readonly first: Record<string, number[]>;
  readonly again: Record<string, number[]>;
  readonly error: string;
}

/** Both directions of an LSTM, of which the last state is read. */
const recurrent = (): Uint8Array => {
  const weights = (seed: number, ...shape: number[]) => tensorFrom(seed, "f32", shape, { min: -0.5, max: 0.5 });
  const attributes = { hidden_size: { int: 5 }, direction: { string: "bidirectional" } };
  return encodeModel({
    nodes: [node("LSTM", ["x", "w", "r", "b"], ["", "h"], attributes)],
    inputs: [{ name: "x", dtype: "f32", shape: [7, 2, 6] }],
    outputs: [{ name: "h", dtype: "f32", shape: [2, 2, 5] }],
    initializers: { w: weights(1, 2, 20, 6), r: weights(2, 2, 20, 5), b: weights(3, 2, 40) },
  });
};

/** Its kernel has tables in memory. */
const resized = (): Uint8Array =>
  encodeModel({
    nodes: [
      node("Resize", ["x", "", "scales"], ["h"], { mode: { string: "linear" } }),
      node("Resize", ["h", "", "scales"], ["y"]),
    ],
    inputs: [{ name: "x", dtype: "f32", shape: [1, 3, 7, 9] }],
    outputs: [{ name: "y", dtype: "f32", shape: [1, 3, 28, 36] }],
    initializers: { scales: { dtype: "f32", shape: [4], data: Float32Array.of(1, 1, 2, 2) } },
  });

/** Rows of x, changed at some places. */
const indexed = (): Uint8Array => {
  const places = (shape: number[], ...values: number[]) => ({
    dtype: "i64" as const,
    shape,
    data: BigInt64Array.from(values, BigInt),
  });
  return encodeModel({
    nodes: [
      node("GatherND", ["x", "rows"], ["h"]),
      node("ScatterElements", ["h", "columns", "updates"], ["k"], { axis: { int: 1 }, reduction: { string: "add" } }),
      node("ScatterND", ["k", "row", "h1"], ["m"]),
      node("GatherElements", ["m", "columns"], ["y"], { axis: { int: 1 } }),
    ],
    inputs: [
      { name: "x", dtype: "f32", shape: [7, 9] },
      { name: "updates", dtype: "f32", shape: [3, 2] },
      { name: "h1", dtype: "f32", shape: [1, 9] },
    ],
    outputs: [
      { name: "m", dtype: "f32", shape: [3, 9] },
      { name: "y", dtype: "f32", shape: [3, 2] },
    ],
    initializers: {
      rows: places([3, 1], 6, -7, 2),
      columns: places([3, 2], 0, 0, 8, -2, 3, 4),
      row: places([1, 1], 1),
    },
  });
};

const cases: [name: string, model: string | Uint8Array, shapes: Record<string, number[]>][] = [
  ["fraud-mlp", modelOf("fraud-mlp"), { x: [3, 30] }],
  ["mnist-cnn", modelOf("mnist-cnn"), {}],
  ["cifar10-cnn", modelOf("cifar10-cnn"), {}],
  ["spam-transformer", modelOf("spam-transformer"), {}],
  ["lstm", recurrent(), {}],
  ["resize", resized(), {}],
  ["indexed", indexed(), {}],
];

interface Program {
  readonly inputs: readonly { name: string }[];
  run(inputs: unknown): Record<string, Float32Array>;
}

const loaderOf = (files: AheadFiles) =>
  import(`data:text/javascript,${encodeURIComponent(files["model.mjs"])}`) as Promise<{
    instantiate(module: unknown, weights: unknown): Promise<Program>;
  }>;

async function instantiated(model: Uint8Array): Promise<Program> {
  const files = await compileAhead(model);
  const { instantiate } = await loaderOf(files);
  return instantiate(await WebAssembly.compile(files["model.wasm"]), files["model.weights"]);
}

describe("compiled ahead of time", () => {
  for (const [name, model, wanted] of cases)
    test(`${name} gives what the wasm device gives, bit for bit`, async () => {
      const device = wasm({ threads: 1, features: { relaxedSimd: false } });
      using session = await load(model, { device });
      const shapes: Record<string, number[]> = {};
      const inputs: Record<string, number[]> = {};
      const typed: Record<string, { dtype: "f32" | "i64"; shape: number[]; data: Float32Array | BigInt64Array }> = {};
      session.inputs.forEach((p, i) => {
        const own = Object.values(wanted)[0];
        const shape = own ?? (p.shape ?? []).map((d, k) => (typeof d === "number" ? d : k === 0 ? 2 : 12));
        shapes[p.name] = shape;
        const size = shape.reduce((n, d) => n * d, 1);
        const whole = p.dtype === "i64";
        const data = Float32Array.from({ length: size }, (_, k) => (whole ? 1 + ((k * 7 + i) % 50) : Math.sin(k + i)));
        inputs[p.name] = [...data];
        typed[p.name] = whole
          ? { dtype: "i64", shape, data: BigInt64Array.from(inputs[p.name], BigInt) }
          : { dtype: "f32", shape, data };
      });
      const files = await compileAhead(model, { shapes });
      const own = await mkdtemp(join(folder, name));
      for (const [file, content] of Object.entries(files)) await writeFile(join(own, file), content);
      await writeFile(join(own, "inputs.json"), JSON.stringify(inputs));
      await writeFile(join(own, "guest.mjs"), guest);
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--disallow-code-generation-from-strings", join(own, "guest.mjs"), own],
        { maxBuffer: 1 << 26 },
      );
      const { first, again, error } = JSON.parse(stdout) as Results;
      const want = await session.run(typed);
      for (const [output, { data }] of Object.entries(want))
        expect(first[output]).toEqual(Array.from(data as never, Number));
      expect(again).toEqual(first);
      expect(error).toMatch(/takes a \w+Array of \d+ elements/);
      expect(files["model.mjs"].length).toBeLessThan(5000);
    });

  test("outputs that no kernel writes: inputs, constants, and what is empty", async () => {
    const { run, inputs } = await instantiated(
      encodeModel({
        nodes: [node("Relu", ["x"], ["y"]), node("Identity", ["w"], ["z"]), node("Relu", ["none"], ["e"])],
        inputs: [
          { name: "x", dtype: "f32", shape: [3] },
          { name: "alone", dtype: "i64", shape: [1, 2] },
          { name: "none", dtype: "f32", shape: [0, 3] },
        ],
        outputs: [
          { name: "y", dtype: "f32", shape: [3] },
          { name: "x", dtype: "f32", shape: [3] },
          { name: "z", dtype: "i64", shape: [2] },
          { name: "alone", dtype: "i64", shape: [1, 2] },
          { name: "e", dtype: "f32", shape: [0, 3] },
        ],
        initializers: { w: { dtype: "i64", shape: [2], data: BigInt64Array.of(1n, -(2n ** 40n)) } },
      }),
    );
    expect(inputs.map((p) => p.name)).toEqual(["x", "alone"]);
    for (const x of [Float32Array.of(1, -2, 3), Float32Array.of(-1, -2, 0.5)]) {
      const alone = BigInt64Array.of(7n, -8n);
      expect(run({ x, alone })).toEqual({
        y: x.map((v) => Math.max(v, 0)),
        x,
        z: BigInt64Array.of(1n, -(2n ** 40n)),
        alone,
        e: new Float32Array(0),
      });
    }
  });

  test("a shape that comes from an input's values is told, also where zeros are none", async () => {
    const model = encodeModel({
      nodes: [node("Reshape", ["x", "s"], ["y"])],
      inputs: [
        { name: "x", dtype: "f32", shape: [4] },
        { name: "s", dtype: "i64", shape: [2] },
      ],
      outputs: [{ name: "y", dtype: "f32" }],
    });
    await expect(compileAhead(model)).rejects.toThrow(
      new UnsupportedOpError("compile: shapes depend on the values of s"),
    );
  });

  test("options of another name or type are refused", async () => {
    const refused = (options: object) => expect(compileAhead(modelOf("mnist-cnn"), options)).rejects;
    for (const name of ["device", "threads", "verify", "fallback", "shape"])
      await refused({ [name]: 1 }).toThrow(new RegExp(`^compile: unknown option "${name}"`));
    await refused({ relaxedSimd: "no" }).toThrow('compile: relaxedSimd takes true or false, got "no"');
  });

  test("the loader takes what it is given as it comes, and says what it wants", async () => {
    const model = encodeModel({
      nodes: [node("Cast", ["x"], ["h"], { to: { int: 1 } }), node("Add", ["h", "w"], ["y"])],
      inputs: [{ name: "x", dtype: "u8", shape: [4] }],
      outputs: [{ name: "y", dtype: "f32", shape: [4] }],
      initializers: { w: { dtype: "f32", shape: [4], data: Float32Array.of(1, 2, 3, 4) } },
    });
    const files = await compileAhead(model);
    const { instantiate } = await loaderOf(files);
    const [code, weights] = [files["model.wasm"], files["model.weights"]];
    for (const given of [weights, weights.buffer, new DataView(weights.buffer), Buffer.from(weights)]) {
      const { run } = await instantiate(code, given);
      class Bytes extends Uint8Array {}
      for (const x of [Uint8Array.of(0, 1, 2, 255), Buffer.from([0, 1, 2, 255]), Bytes.of(0, 1, 2, 255)])
        expect(run({ x })).toEqual({ y: Float32Array.of(1, 3, 5, 259) });
      for (const wrong of [undefined, null, {}, { x: new Int8Array(4) }, { x: new Uint8Array(3) }])
        expect(() => run(wrong)).toThrow(new TypeError('input "x" takes a Uint8Array of 4 elements'));
    }
    for (const given of [undefined, null, "weights", weights.length, {}, weights.slice(1)])
      await expect(instantiate(code, given)).rejects.toThrow(
        `instantiate takes the ${weights.length} bytes of model.weights, as a Uint8Array or ArrayBuffer; got `,
      );
  });

  test("the loader names its files where bundlers look for them, and imports nothing", async () => {
    const { "model.mjs": text, ...files } = await compileAhead(modelOf("mnist-cnn"), {
      shapes: { image: [1, 1, 28, 28] },
    });
    for (const name of ["model.wasm", "model.weights"]) {
      expect(files).toHaveProperty([name]);
      expect(text).toContain(`new URL("./${name}", import.meta.url)`);
    }
    expect(text).not.toMatch(/\bimport\b(?!\.meta)/);
    const own = await mkdtemp(join(folder, "beside"));
    for (const [name, content] of Object.entries({ ...files, "model.mjs": text }))
      await writeFile(join(own, name), content);
    const { load: beside } = (await import(join(own, "model.mjs"))) as { load(): Promise<Program> };
    expect((await beside()).run({ image: new Float32Array(784) })["logits"]).toHaveLength(10);
  });

  test("an open shape has to be given", async () => {
    await expect(compileAhead(modelOf("fraud-mlp"))).rejects.toThrow(ShapeError);
    await expect(compileAhead(modelOf("spam-transformer"), { shapes: {} })).rejects.toThrow(
      /"input_ids" is \[batch,seq\], "attention_mask" is \[batch,seq\]; give them, as --shape input_ids=1,1 --shape attention_mask=1,1 /,
    );
    await expect(compileAhead(modelOf("fraud-mlp"), { shapes: { nobody: [1] } })).rejects.toThrow(
      /there is no input "nobody"/,
    );
  });

  test("inputs that are left out follow those that are given, by their dimensions' names", async () => {
    const model = encodeModel({
      nodes: [node("Identity", ["a"], ["y"]), node("Identity", ["b"], ["z"])],
      inputs: [
        { name: "a", dtype: "f32", shape: ["rows", "?"] },
        { name: "b", dtype: "f32", shape: [2, "rows"] },
        { name: "c", dtype: "f32", shape: ["rows", "?"] },
      ],
      outputs: ["y", "z"].map((name) => ({ name, dtype: "f32" })),
    });
    const compiled = (shapes: Record<string, number[]>) => compileAhead(model, { shapes });
    const files = await compiled({ a: [3, 4], c: [3, 5] });
    const { inputs } = (await loaderOf(files)) as unknown as Pick<Program, "inputs">;
    expect(Object.fromEntries(inputs.map((p) => [p.name, (p as { shape?: number[] }).shape]))).toMatchObject({
      a: [3, 4],
      b: [2, 3],
    });
    for (const [shapes, told] of [
      [{ a: [3, 4] }, 'shapes are open: "c" is [rows,?]; give them, as --shape c=3,1 '],
      [
        { a: [3, 4], b: [2, 5], c: [3, 4] },
        'input "b": its dimension "rows" is 5, but 3 in input "a": give both one size',
      ],
      [{ a: [3] }, 'input "a" is f32[rows,?], got f32[3]'],
      [{ b: [1, 3] }, 'input "b" is f32[2,rows], got f32[1,3]'],
    ] as [Record<string, number[]>, string][]) {
      await expect(compiled(shapes)).rejects.toThrow(told);
      await expect(compiled(shapes)).rejects.toThrow(ShapeError);
    }
  });

  test("an index that is outside of its tensor is told with operator, node, axis and indices", async () => {
    const model = encodeModel({
      nodes: [
        { ...node("Gather", ["x", "rows"], ["h"], { axis: { int: 1 } }), name: "lookup" },
        node("Relu", ["h"], ["y"]),
      ],
      inputs: [
        { name: "x", dtype: "f32", shape: [2, 5] },
        { name: "rows", dtype: "i64", shape: [3] },
      ],
      outputs: [{ name: "y", dtype: "f32", shape: [2, 3] }],
    });
    const { run } = await instantiated(model);
    const x = Float32Array.from({ length: 10 }, (_, i) => i);
    const rows = (...values: number[]) => ({ x, rows: BigInt64Array.from(values, BigInt) });
    expect(() => run(rows(0, 9, -2))).toThrow(
      new RangeError(
        'gather: an index is outside of its tensor: f32[2,5], i64[3], indices from -2 to 9, axis 1 (node "lookup")',
      ),
    );
    expect([...run(rows(4, 0, -2)).y]).toEqual([4, 0, 3, 9, 5, 8]);
  });

  test("what is no shape is told", async () => {
    const model = modelOf("fraud-mlp");
    const refused = (features: unknown) => compileAhead(model, { shapes: { features } as never });
    for (const shape of [5, [-1, 30], [1.5, 30], ["1", 30]])
      await expect(refused(shape)).rejects.toThrow(/input "features": a shape is an array of whole numbers/);
    await expect(refused([1e9, 30])).rejects.toThrow(/input "features" of type f32\[1000000000,30\] takes more than/);
    for (const shape of [5, [-1, 30], [1e9, 30]]) await expect(refused(shape)).rejects.toThrow(ShapeError);
    await expect(compileAhead(model, null as never)).rejects.toThrow(InputError);
    await expect(compileAhead(model, { shapes: 5 as never })).rejects.toThrow("shapes are an object");
  });

  test("what wasm has no kernel for is named", async () => {
    const model = encodeModel({
      nodes: [
        { type: "Det", inputs: ["x"], outputs: ["d"], name: "volume" },
        { type: "Relu", inputs: ["d"], outputs: ["y"] },
      ],
      inputs: [{ name: "x", dtype: "f32", shape: [2, 3, 3] }],
      outputs: [{ name: "y", dtype: "f32", shape: [2] }],
    });
    const refused = compileAhead(model);
    await expect(refused).rejects.toThrow(UnsupportedOpError);
    await expect(refused).rejects.toThrow(/volume/);
  });
});
