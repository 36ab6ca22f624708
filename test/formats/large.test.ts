/** Files larger than 2 GiB: sparse ones, of which both ends are read. */
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ggufHeader, readGguf } from "../../src/formats/gguf/index.ts";
import { readLlama2c } from "../../src/formats/llama2c.ts";
import { recognize } from "../../src/formats/recognize.ts";
import { readSafetensors, safetensorsHeader } from "../../src/formats/safetensors.ts";
import { type ByteSource, openSource } from "../../src/formats/source.ts";
import { FormatError, load, type TensorType } from "../../src/index.ts";
import { encodeModel, type TensorSpec } from "../onnx/encode.ts";
import { TestServer } from "./server.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-large-"));
afterAll(() => rm(folder, { recursive: true }));

const filler = 5 * 2 ** 30;
const first = Float32Array.of(1, 2, 3, 4);
const last = Float32Array.of(5, 6, 7, 8);
const bytesOf = (a: Float32Array | Int32Array | Uint8Array) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

/** Some bytes at some positions; the rest takes no room on the disk. */
async function sparse(name: string, size: number, parts: [number, Uint8Array][]): Promise<string> {
  const path = join(folder, name);
  const file = await open(path, "w");
  await file.truncate(size);
  for (const [at, bytes] of parts) await file.write(bytes, 0, bytes.length, at);
  await file.close();
  return path;
}

/** A source that fails when more than a little is read at once. */
async function careful(input: string): Promise<ByteSource> {
  const inner = await openSource(input);
  return {
    ...inner,
    read(offset, length, signal) {
      expect(length).toBeLessThan(1 << 20);
      return inner.read(offset, length, signal);
    },
  };
}

describe("files of more than 2 GiB", () => {
  const shape = [4];
  const tensors = new Map([
    ["first", { type: "F32" as const, shape }],
    ["filler", { type: "I8" as const, shape: [filler / 1024, 1024] }],
    ["last", { type: "F32" as const, shape }],
  ]);
  const gguf = async () => {
    const { bytes: head } = ggufHeader({ metadata: new Map([["general.architecture", "none"]]), tensors });
    const end = head.length + 32 + filler;
    return sparse("model.gguf", end + 16, [
      [0, head],
      [head.length, bytesOf(first)],
      [end, bytesOf(last)],
    ]);
  };

  test("GGUF", async () => {
    const source = await careful(await gguf());
    expect(await recognize(source)).toBe("gguf");
    const file = await readGguf(source);
    expect(file.tensors.get("filler")!.byteLength).toBe(filler);
    expect(file.tensors.get("last")!.byteOffset).toBeGreaterThan(filler);
    for (const [name, want] of [["first", first] as const, ["last", last] as const])
      expect(await file.tensors.get(name)!.dequantize()).toEqual(want);
  });

  test("safetensors", async () => {
    const types = new Map<string, TensorType>([
      ["first", { dtype: "f32", shape }],
      ["filler", { dtype: "u8", shape: [filler] }],
      ["last", { dtype: "f32", shape }],
    ]);
    const head = safetensorsHeader(types);
    const path = await sparse("model.safetensors", head.length + filler + 32, [
      [0, head],
      [head.length, bytesOf(first)],
      [head.length + 16 + filler, bytesOf(last)],
    ]);
    const source = await careful(path);
    expect(await recognize(source)).toBe("safetensors");
    const file = await readSafetensors(source);
    expect((await file.tensors.get("first")!.read()).data).toEqual(first);
    expect((await file.tensors.get("last")!.read()).data).toEqual(last);
  });

  test("llama2.c", async () => {
    const [dim, hidden, layers, heads, vocab, length] = [4096, 4096, 6, 32, 32000, 16];
    const weights =
      2 * vocab * dim + layers * (4 * dim * dim + 3 * dim * hidden + 2 * dim) + dim + length * (dim / heads);
    const size = 28 + 4 * weights;
    expect(size).toBeGreaterThan(2 ** 31);
    const path = await sparse("model.bin", size, [
      [0, bytesOf(Int32Array.of(dim, hidden, layers, heads, heads, -vocab, length))],
      [28, bytesOf(first)],
      [size - 16, bytesOf(last)],
    ]);
    const source = await careful(path);
    expect(await recognize(source)).toBe("llama2c");
    const { tensors: all } = await readLlama2c(source);
    const { byteOffset, byteLength } = all.get("output")!;
    expect(new Float32Array((await source.read(28, 16)).buffer)).toEqual(first);
    expect(new Float32Array((await source.read(byteOffset + byteLength - 16, 16)).buffer)).toEqual(last);
  });

  test("ONNX with external data", async () => {
    const initializer = (offset: number): TensorSpec => ({
      dtype: "f32",
      shape: [4],
      data: new Float32Array(0),
      external: { location: "weights.bin", offset: `${offset}`, length: "16" },
    });
    await mkdir(join(folder, "onnx"));
    await sparse("onnx/weights.bin", filler + 16, [
      [0, bytesOf(first)],
      [filler, bytesOf(last)],
    ]);
    const path = join(folder, "onnx/model.onnx");
    const bytes = encodeModel({
      nodes: [
        { type: "Add", inputs: ["x", "a"], outputs: ["h"] },
        { type: "Mul", inputs: ["h", "b"], outputs: ["y"] },
      ],
      inputs: [{ name: "x", dtype: "f32", shape: [4] }],
      outputs: [{ name: "y", dtype: "f32", shape: [4] }],
      initializers: { a: initializer(0), b: initializer(filler) },
    });
    await writeFile(path, bytes);
    using model = await load(path, { device: "cpu" });
    expect((await model.run({ x: new Float32Array(4) }))["y"].data).toEqual(Float32Array.of(5, 12, 21, 32));
    // Moved away from its weights.
    await writeFile(join(folder, "alone.onnx"), bytes);
    const alone = load(join(folder, "alone.onnx"), { device: "cpu" });
    await expect(alone).rejects.toThrow(FormatError);
    await expect(alone).rejects.toThrow(/tensor "a": its data file "weights.bin" cannot be opened: .*no such file/);
  });

  test("a URL, by ranges", async () => {
    const server = await TestServer.open();
    const size = filler + 16;
    server.serve((q, r) => {
      const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(q.headers.range ?? "")!.map(Number);
      const body = new Uint8Array(Math.min(end + 1, size) - start);
      if (end >= size - 1) body.set(bytesOf(last), body.length - 16);
      r.writeHead(206, {
        "content-length": body.length,
        "content-range": `bytes ${start}-${start + body.length - 1}/${size}`,
      });
      r.end(body);
    });
    const source = await openSource(`${server.base}/model.bin`);
    expect(source.size).toBe(size);
    expect(new Float32Array((await source.read(filler, 16)).slice().buffer)).toEqual(last);
    server.close();
  });
});
