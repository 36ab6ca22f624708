/** Weights that stay in their file, or in the bytes that a model came in, until a device is about to take them. */
import { mkdtemp, rename, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { importOnnxSource } from "../../src/formats/onnx/index.ts";
import { openSource } from "../../src/formats/source.ts";
import { FormatError, load } from "../../src/index.ts";
import type { TypedArray } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { Weight } from "../../src/tensor/weight.ts";
import { tensorFrom } from "../cases/case.ts";
import { encodeModel, node, type TensorSpec } from "./encode.ts";

const folder = await mkdtemp(join(tmpdir(), "stored-"));
afterAll(() => rm(folder, { recursive: true }));

const channels = 96;
const perChannel = (seed: number, min: number, max: number) => tensorFrom(seed, "f32", [channels], { min, max });
const small: Record<string, TensorSpec> = {
  scale: perChannel(1, -1, 1),
  bias: perChannel(2, -1, 1),
  mean: perChannel(3, -1, 1),
  variance: perChannel(4, 0.5, 2),
};
const large: Record<string, HostTensor> = {
  kernel: tensorFrom(5, "f32", [channels, channels, 3, 3], { min: -0.1, max: 0.1 }),
  plain: tensorFrom(6, "f32", [channels, channels, 3, 3], { min: -0.1, max: 0.1 }),
  matrix: tensorFrom(7, "f32", [12 * 12, 600], { min: -0.1, max: 0.1 }),
  table: tensorFrom(8, "f32", [600, 40]),
};

/** A scaled convolution, one without a norm, a product, and a table: packed, packed beyond recognition, and as it is. */
const model = (initializers: Record<string, TensorSpec>): Uint8Array =>
  encodeModel({
    inputs: [
      { name: "x", dtype: "f32", shape: [1, channels, "h", 12] },
      { name: "rows", dtype: "i64", shape: [3] },
    ],
    nodes: [
      node("Conv", ["x", "kernel"], ["c"], { pads: { ints: [1, 1, 1, 1] } }),
      node("BatchNormalization", ["c", "scale", "bias", "mean", "variance"], ["n"]),
      node("Conv", ["n", "plain"], ["p"], { pads: { ints: [1, 1, 1, 1] } }),
      node("Reshape", ["p", "shape"], ["flat"]),
      node("MatMul", ["flat", "matrix"], ["y"]),
      node("Gather", ["table", "rows"], ["z"]),
    ],
    outputs: [{ name: "y" }, { name: "z" }],
    initializers: {
      ...small,
      shape: { dtype: "i64", shape: [2], data: BigInt64Array.of(-1n, 144n) },
      ...initializers,
    },
  });

const bytes = model(large);
const write = async (name: string, content: Uint8Array = bytes): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
};

const inputs = (height: number) => ({
  x: tensorFrom(height, "f32", [1, channels, height, 12]),
  rows: BigInt64Array.of(5n, 0n, 599n),
});

describe.each(["cpu", "wasm"] as const)("on %s", (device) => {
  const options = { device, threads: 1 } as const;

  test("results are those of weights in memory, bit for bit, for several shapes, with and without waiting", async () => {
    const path = await write(`${device}.onnx`);
    const aligned = await load(bytes, { ...options, optimize: true });
    // One byte further, nothing is aligned to four bytes.
    const shifted = new Uint8Array(bytes.length + 1).subarray(1);
    shifted.set(bytes);
    const [file, sync, moved] = [await load(path, options), await load(path, options), await load(shifted, options)];
    for (const height of [12, 24, 13, 12]) {
      const want = await aligned.run(inputs(height));
      expect(await file.run(inputs(height))).toEqual(want);
      expect(await moved.run(inputs(height))).toEqual(want);
      expect(sync.runSync(inputs(height))).toEqual(want);
    }
    const verified = await load(path, { ...options, verify: true });
    await verified.run(inputs(12));
    for (const s of [aligned, file, sync, moved, verified]) s.dispose();
  });

  test("bytes of the caller are not written to", async () => {
    const copy = bytes.slice();
    const session = await load(copy, options);
    await session.run(inputs(12));
    session.runSync(inputs(24));
    expect(Buffer.compare(copy, bytes)).toBe(0);
    session.dispose();
  });

  test("a file may go, or another take its name, after it was loaded", async () => {
    const want = await (await load(bytes, options)).run(inputs(12));
    const [gone, replaced] = [await write("gone.onnx"), await write("replaced.onnx")];
    const sessions = [await load(gone, options), await load(replaced, options)];
    await rm(gone);
    await rename(await write("other.onnx", new Uint8Array(bytes.length)), replaced);
    for (const session of sessions) {
      expect(await session.run(inputs(12))).toEqual(want);
      expect((await session.run(inputs(24)))["z"]).toEqual(want["z"]);
      session.dispose();
    }
  });

  test("a file that shrinks or changes meanwhile is a FormatError with the offset", async () => {
    const path = await write("shrinks.onnx");
    const session = await load(path, options);
    await truncate(path, 500_000);
    const shrunk = { name: "FormatError", offset: 500_000, message: expect.stringMatching(/ends at 500000/) };
    await expect(session.run(inputs(12))).rejects.toMatchObject(shrunk);
    expect(() => session.runSync(inputs(12))).toThrow(expect.objectContaining(shrunk));
    session.dispose();
    const changing = await write("changes.onnx");
    const other = await load(changing, options);
    await writeFile(changing, bytes);
    await utimes(changing, 1, 1);
    const error = await other.run(inputs(12)).catch((e) => e);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/changes.onnx: the file was changed before its bytes from \d+ on were read/);
    expect(error.offset).toBeGreaterThan(0);
    other.dispose();
  });
});

test("large weights of a file are pending, those in other files too, and can be had at once", async () => {
  const path = await write("pending.onnx");
  const whole = (await importOnnxSource(await openSource(bytes))).graph;
  let offset = 0;
  const external = Object.entries(large).map(([name, t]): [string, TensorSpec] => {
    const length = (t.data as TypedArray).byteLength;
    const at = { location: "weights.bin", offset: `${offset}`, length: `${length}` };
    offset += length;
    return [name, { ...t, data: new Float32Array(0), external: at }];
  });
  await write(
    "weights.bin",
    Buffer.concat(Object.values(large).map((t) => Buffer.from((t.data as TypedArray).buffer))),
  );
  const outside = await write("outside.onnx", model(Object.fromEntries(external)));
  for (const name of [path, outside]) {
    const source = await openSource(name);
    const { graph } = await importOnnxSource(source, { loadExternal: (file) => source.sibling!(file) });
    const pending = [...graph.constants.values()].filter((t) => t instanceof Weight && t.elements.pending);
    expect(pending.map((t) => t.shape)).toEqual(Object.values(large).map((t) => t.shape));
    expect([...graph.constants.values()].map((t) => t.data)).toEqual([...whole.constants.values()].map((t) => t.data));
  }
  await truncate(join(folder, "weights.bin"), offset - 1);
  await expect(load(outside)).rejects.toThrow(/"table": cannot read 96000 bytes at \d+ of "weights.bin"/);
});
