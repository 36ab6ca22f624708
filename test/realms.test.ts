/**
 * The package in a context of `node:vm` without modules of its own, as tests in Jest run: it has other classes than what
 * comes from outside, `import` fails, and what the host has is there only where it was put.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Context, createContext, Script } from "node:vm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as Forwardpass from "../src/index.ts";
import { publishTo } from "./published.ts";

type Package = typeof Forwardpass;

const model = fileURLToPath(new URL("../examples/models/fraud-mlp/model.onnx", import.meta.url));
const features = { dtype: "f32", shape: [1, 30], data: new Float32Array(30).fill(0.5) } as const;

/** What Jest's environment of a page lacks. */
const encoders = { TextEncoder, TextDecoder };
const host = { process, URL, AbortSignal, Blob, Response, performance, setTimeout, clearTimeout, queueMicrotask };

let folder: string;
let place: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "forwardpass-realms-"));
  place = await publishTo(folder);
  const peers = {
    "@huggingface/hub": "exports.listFiles = () => { throw new Error('the hub was asked'); };",
    webgpu: "require('what-nobody-has');",
  };
  for (const [name, code] of Object.entries(peers)) {
    await mkdir(join(folder, "node_modules", name), { recursive: true });
    await writeFile(join(folder, "node_modules", name, "index.js"), code);
  }
});
afterAll(() => rm(folder, { recursive: true }));

/** A context with a `require` of its own: files, and packages in the folder. */
function inContext(globals: object): { forwardpass: Package; context: Context } {
  const context = createContext({ ...globals });
  const modules = new Map<string, { exports: unknown; require(name: string): unknown }>();
  const requireFrom = (from: string) => (name: string) => {
    const file = name.startsWith(".") ? resolve(dirname(from), name) : join(folder, "node_modules", name, "index.js");
    let module = modules.get(file);
    if (module) return module.exports;
    let code: string;
    try {
      code = readFileSync(file, "utf8");
    } catch {
      throw Object.assign(new Error(`Cannot find module '${name}' from '${from}'`), { code: "MODULE_NOT_FOUND" });
    }
    modules.set(file, (module = { exports: {}, require: requireFrom(file) }));
    const run = new Script(`(function (exports, require, module) {${code}\n})`, { filename: file }).runInContext(
      context,
    );
    run.call(module.exports, module.exports, module.require, module);
    return module.exports;
  };
  return { forwardpass: requireFrom(join(place, "dist/test.cjs"))("./index.cjs") as Package, context };
}

describe("in a context of node:vm", () => {
  let forwardpass: Package;
  let context: Context;
  beforeAll(() => {
    ({ forwardpass, context } = inContext({ ...host, ...encoders }));
  });

  test("a model loads from a path, is checked, and runs on threads", async () => {
    const sha256 = createHash("sha256")
      .update(await readFile(model))
      .digest("hex");
    const session = await forwardpass.load(model, { threads: 2, sha256 });
    const { risk } = await session.run({ features });
    expect(risk.data).toHaveLength(1);
    session.dispose();
    await expect(forwardpass.load(`${model}.none`)).rejects.toBeInstanceOf(forwardpass.InputError);
  });

  test("peers are required; one that does not load is not called missing", async () => {
    await expect(forwardpass.load("hf:some/model")).rejects.toThrow("hf:some/model: the hub was asked");
    await expect(forwardpass.openDevice("webgpu")).rejects.toThrow(
      /needs the package webgpu, which does not load: Cannot find module 'what-nobody-has'/,
    );
  });

  test("bytes, blobs and typed arrays of another realm are taken", async () => {
    const file = await readFile(model);
    const foreign = new Script("(bytes) => Uint8Array.from(bytes)").runInContext(context)(file) as Uint8Array;
    const inputs = [file, new DataView(file.buffer, file.byteOffset, file.length), foreign, foreign.buffer];
    const want = (await (await forwardpass.load(model)).run({ features })).risk.data;
    for (const input of [...inputs, new Blob([file]), new File([file], "model.onnx"), new Response(file)]) {
      const session = await forwardpass.load(input as Uint8Array);
      for (const data of [features, features.data])
        expect([...((await session.run({ features: data })).risk.data as [])]).toEqual([...(want as [])]);
    }
    const clamped = forwardpass.hostTensor(new Uint8ClampedArray([1, 2]) as never);
    expect(clamped).toMatchObject({ dtype: "u8", shape: [2] });
    expect(() => forwardpass.hostTensor(new Float32Array(2), { dtype: "f64" })).toThrow(
      "f64 data must be a Float64Array, got Float32Array",
    );
    await expect(forwardpass.load(5 as never)).rejects.toThrow("got [object Number]");
  });
});

test("without encoders of text, graphs run on both devices", async () => {
  const { compile, graph, matmul } = inContext(host).forwardpass;
  const square = graph(({ input }) => ({ y: matmul(input("a", "f32", [2, 2]), input("b", "f32", [2, 2])) }));
  const a = Float32Array.of(1, 2, 3, 4);
  for (const device of ["wasm", "cpu"] as const) {
    const net = await compile(square, { device: await inContext(host).forwardpass.openDevice(device) });
    expect([...((await net.run({ a, b: a })).y.data as Float32Array)]).toEqual([7, 10, 15, 22]);
  }
});
