/** Large files are read by parts, with the same result. */
import { describe, expect, test } from "vitest";
import { importOnnx, importOnnxSource } from "../../src/formats/onnx/index.ts";
import { type ByteSource, bytesSource } from "../../src/formats/source.ts";
import { FormatError } from "../../src/index.ts";
import { tensorFrom } from "../cases/case.ts";
import { encodeModel } from "./encode.ts";

const initializers = Object.fromEntries(
  [3, 700, 40, 1, 350].map((n, i) => [`w${i}`, tensorFrom(i, i === 2 ? "i64" : "f32", [n, 512])]),
);
const names = Object.keys(initializers);
const bytes = encodeModel({
  nodes: names.map((w) => ({ type: "Neg", inputs: [w], outputs: [`y${w}`] })),
  outputs: names.map((w) => ({ name: `y${w}` })),
  initializers,
});

/** Notes what is read, as a file on disk would be. */
function local(data: Uint8Array): ByteSource & { reads: number[] } {
  const plain = bytesSource(data, "model.onnx");
  const reads: number[] = [];
  const read: ByteSource["read"] = (offset, length) => {
    reads.push(length);
    return plain.read(offset, length).then((view) => view.slice());
  };
  return { ...plain, local: true, read, reads };
}

describe("a model by parts", () => {
  test("has the same constants, and never as one piece", async () => {
    const source = local(bytes);
    const { graph } = await importOnnxSource(source);
    const whole = (await importOnnx(bytes)).graph;
    expect([...graph.constants].map(([id, t]) => [id, t.shape, t.data])).toEqual(
      [...whole.constants].map(([id, t]) => [id, t.shape, t.data]),
    );
    expect(graph.nodes.length).toBe(names.length);
    expect(Math.max(...source.reads)).toBe(4 * 700 * 512);
    for (const t of graph.constants.values())
      if (t.data.length > 1 << 16) expect((t.data as Float32Array).buffer.byteLength).toBe(4 * t.data.length);
  });

  test("is read whole from where small reads cost", async () => {
    const source = local(bytes);
    await importOnnxSource({ ...source, local: false });
    expect(source.reads).toEqual([bytes.length]);
  });

  test("says what is wrong where it is, cut off or broken", async () => {
    for (const size of [bytes.length - 1, bytes.length >> 1, (1 << 20) + 7]) {
      const e = await importOnnxSource(local(bytes.subarray(0, size))).catch((e) => e);
      const whole = await importOnnx(bytes.subarray(0, size)).catch((e) => e);
      expect(e).toBeInstanceOf(FormatError);
      expect(e.message).toBe(whole.message);
    }
    const random = tensorFrom(9, "u8", [400], { min: 0, max: 255 }).data as Uint8Array;
    for (let i = 0; i < random.length; i += 2) {
      const broken = bytes.slice();
      broken[i * 3] ^= random[i];
      broken[bytes.length - 1 - i] = random[i + 1];
      const outcome = (p: Promise<unknown>) => p.then(() => "imported").catch((e) => `${e.name}: ${e.message}`);
      expect(await outcome(importOnnxSource(local(broken)))).toBe(await outcome(importOnnx(broken)));
    }
  });
});
