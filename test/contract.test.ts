/**
 * The public contract, on the package as it is published: `dist` built into a folder of its own, found by its name through
 * package.json's `exports`, once as an ES module and once with `require`; and its ES modules, which Node doesn't take.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as Forwardpass from "../src/index.ts";
import { TestServer } from "./formats/server.ts";
import { encodeModel, node } from "./onnx/encode.ts";
import { publishTo } from "./published.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-contract-"));
const server = await TestServer.open();
let published: string;
beforeAll(async () => {
  published = await publishTo(folder);
  await writeFile(join(folder, "entry.mjs"), 'export * from "forwardpass";\n');
  await writeFile(join(folder, "model.onnx"), doubling("f32"));
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/** y = x + x for x of any length. */
const doubling = (dtype: Forwardpass.DType): Uint8Array =>
  encodeModel({
    nodes: [node("Add", ["x", "x"], ["y"])],
    inputs: [{ name: "x", dtype, shape: ["n"] }],
    outputs: [{ name: "y", dtype, shape: ["n"] }],
  });

const same = (dtype: Forwardpass.DType): Uint8Array =>
  encodeModel({
    nodes: [node("Identity", ["x"], ["y"])],
    inputs: [{ name: "x", dtype, shape: ["n"] }],
    outputs: [{ name: "y", dtype, shape: ["n"] }],
  });

const entries: Record<string, () => Promise<typeof Forwardpass>> = {
  import: () => import(/* @vite-ignore */ pathToFileURL(join(folder, "entry.mjs")).href),
  require: async () => createRequire(join(folder, "entry.cjs"))("forwardpass") as typeof Forwardpass,
  "what bundlers take": () => import(/* @vite-ignore */ pathToFileURL(join(published, "dist/index.js")).href),
};

describe.each(Object.entries(entries))("by %s", (_, entry) => {
  const device = "cpu";

  test.each<[string, () => Promise<Parameters<typeof Forwardpass.load>[0]>]>([
    ["a Uint8Array", async () => doubling("f32")],
    ["an ArrayBuffer", async () => doubling("f32").slice().buffer as ArrayBuffer],
    ["a path", async () => join(folder, "model.onnx")],
    ["a file URL", async () => pathToFileURL(join(folder, "model.onnx"))],
    ["a URL", async () => new URL(`${server.base}/model.onnx`)],
    ["a URL as text", async () => `${server.base}/model.onnx`],
    ["a Response", async () => fetch(`${server.base}/model.onnx`)],
    ["a Blob", async () => new Blob([doubling("f32") as Uint8Array<ArrayBuffer>])],
  ])("load of %s", async (_, source) => {
    const file = await readFile(join(folder, "model.onnx"));
    server.serve((_, response) => response.writeHead(200, { "content-length": file.length }).end(file));
    const { load } = await entry();
    const model = await load(await source(), { device });
    expect(model.inputs).toEqual([{ name: "x", dtype: "f32", shape: ["n"] }]);
    expect(model.outputs).toEqual([{ name: "y", dtype: "f32", shape: ["n"] }]);
    const { y } = await model.run({ x: Float32Array.of(1, 2, 3) });
    expect({ ...y }).toEqual({ dtype: "f32", shape: [3], data: Float32Array.of(2, 4, 6) });
    model.dispose();
  });

  test("inputs as a Tensor, a typed array, and dtype, shape and data", async () => {
    const { load, tensor } = await entry();
    const model = await load(doubling("f32"), { device });
    const data = Float32Array.of(0.5, -1);
    for (const x of [tensor([0.5, -1]), data, { dtype: "f32", shape: [2], data } as const])
      expect((await model.run({ x }))["y"].data).toEqual(Float32Array.of(1, -2));
    model.dispose();
  });

  test.each<[Forwardpass.DType, Forwardpass.TensorData]>([
    ["f32", Float32Array.of(1.5, -2)],
    ["f64", Float64Array.of(1.5, -2)],
    ["f16", Uint16Array.of(0x3e00, 0xc000)],
    ["bf16", Uint16Array.of(0x3fc0, 0xc000)],
    ["i8", Int8Array.of(1, -2)],
    ["i16", Int16Array.of(1, -2)],
    ["i32", Int32Array.of(1, -2)],
    ["i64", BigInt64Array.of(1n, -(2n ** 62n))],
    ["u8", Uint8Array.of(1, 255)],
    ["u16", Uint16Array.of(1, 65535)],
    ["u32", Uint32Array.of(1, 2 ** 32 - 1)],
    ["u64", BigUint64Array.of(1n, 2n ** 64n - 1n)],
    ["bool", Uint8Array.of(0, 1)],
    ["string", ["a", "é"]],
    ["i4", Int8Array.of(7, -8)],
    ["u4", Uint8Array.of(0, 15)],
    ["f8e4m3fn", Uint8Array.of(0x3c, 0xc0)],
  ])("%s comes back as it went in", async (dtype, data) => {
    const { load } = await entry();
    const model = await load(same(dtype), { device });
    const { y } = await model.run({ x: { dtype, shape: [2], data } });
    expect({ ...y }).toEqual({ dtype, shape: [2], data });
    expect(Object.getPrototypeOf(y.data)).toBe(Object.getPrototypeOf(data));
    model.dispose();
  });

  test("what is compared is bool, what is half is bits", async () => {
    const { load } = await entry();
    const model = await load(
      encodeModel({
        nodes: [node("Less", ["x", "y"], ["less"]), node("Cast", ["x"], ["half"], { to: { int: 10 } })],
        inputs: [
          { name: "x", dtype: "f32", shape: [2] },
          { name: "y", dtype: "f32", shape: [2] },
        ],
        outputs: [{ name: "less" }, { name: "half" }],
      }),
      { device },
    );
    const { less, half } = await model.run({ x: Float32Array.of(1, 2), y: Float32Array.of(2, 1) });
    expect(less).toMatchObject({ dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) });
    expect(half).toMatchObject({ dtype: "f16", shape: [2], data: Uint16Array.of(0x3c00, 0x4000) });
    model.dispose();
  });

  test("dispose, twice too, and a typed error afterwards", async () => {
    const { load, DisposedError, ForwardpassError } = await entry();
    const model = await load(doubling("f32"), { device });
    model.dispose();
    model.dispose();
    const run = model.run({ x: Float32Array.of(1) });
    await expect(run).rejects.toBeInstanceOf(DisposedError);
    await expect(run).rejects.toBeInstanceOf(ForwardpassError);
  });

  test("the default device and threads run it too", async () => {
    const { load } = await entry();
    const model = await load(doubling("f32"));
    expect((await model.run({ x: Float32Array.of(1) }))["y"].data).toEqual(Float32Array.of(2));
    model.dispose();
  });
});

test("import and require give the same classes and functions in Node, from every entry", async () => {
  const manifest = JSON.parse(await readFile(join(published, "package.json"), "utf8")) as { exports: object };
  const names = Object.keys(manifest.exports).filter((name) => name !== "./package.json");
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) {
    const specifier = name.replace(".", "forwardpass");
    await writeFile(join(folder, "one.mjs"), `export * from "${specifier}";\n`);
    const imported = await import(/* @vite-ignore */ `${pathToFileURL(join(folder, "one.mjs")).href}?${name}`);
    expect({ ...imported }, specifier).toEqual({ ...createRequire(join(folder, "one.cjs"))(specifier) });
  }
});

test("modules that every model needs are too small to leave holes in Node's memory", async () => {
  const chunks = join(published, "dist/chunks");
  const core = (await readdir(chunks)).filter((file) => /^(ops-core|core|wasm-core)-.*\.cjs$/.test(file));
  expect(core).toHaveLength(3);
  // From 128 kB on the C library maps what a file is read into: docs/decisions/016.
  for (const file of core) expect((await stat(join(chunks, file))).size, file).toBeLessThan(128 * 1024);
});

test("the command runs a model from anywhere", async () => {
  await writeFile(join(folder, "x.json"), "[1, 2, 3]");
  const bin = join(published, "dist/cli.cjs");
  const args = [bin, "run", "model.onnx", "--input", "x=x.json", "--device", "cpu", "--json"];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  expect(JSON.parse(stdout)).toMatchObject({ y: { dtype: "f32", shape: [3], data: [2, 4, 6] } });
});
