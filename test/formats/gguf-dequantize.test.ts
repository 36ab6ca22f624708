import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { codebook, evenSigns } from "../../src/tensor/blocks/codebooks.ts";
import { dequantize } from "../../src/tensor/blocks/dequantize.ts";
import { type GgufType, ggufTypeOf, ggufTypes } from "../../src/tensor/blocks/types.ts";
import { FormatError, InputError } from "../../src/tensor/errors.ts";

const shared = new URL("../../../shared/formats/gguf-blocks/", import.meta.url);
const present = existsSync(shared);
if (!present) console.warn("gguf: shared/formats is absent, the golden blocks are skipped");

interface Golden {
  type: GgufType;
  id: number;
  rows: number;
  cols: number;
  blockSize: number;
  blockBytes: number;
}
const goldens: Golden[] = present ? JSON.parse(readFileSync(new URL("index.json", shared), "utf8")) : [];

describe("dequantize", () => {
  test.each(goldens)("$type is bit-exact", ({ type, id, rows, cols, blockSize, blockBytes }) => {
    expect(ggufTypes[type]).toEqual({ id, blockSize, blockBytes });
    expect(ggufTypeOf(id)).toBe(type);
    const bytes = readFileSync(new URL(`${type}.bin`, shared));
    const want = readFileSync(new URL(`${type}.f32`, shared));
    const got = dequantize(type, bytes, rows * cols);
    expect(Buffer.compare(Buffer.from(got.buffer), want)).toBe(0);
  });

  test("the types without a golden file", () => {
    const view = (bytes: number, set: (v: DataView) => void) => {
      const v = new DataView(new ArrayBuffer(bytes));
      set(v);
      return new Uint8Array(v.buffer);
    };
    expect(
      dequantize(
        "F32",
        view(4, (v) => v.setFloat32(0, 1.25, true)),
        1,
      )[0],
    ).toBe(1.25);
    expect(
      dequantize(
        "F64",
        view(8, (v) => v.setFloat64(0, -0.1, true)),
        1,
      )[0],
    ).toBe(Math.fround(-0.1));
    expect(dequantize("I8", Uint8Array.of(0xff, 3), 2)).toEqual(Float32Array.of(-1, 3));
    expect(
      dequantize(
        "I16",
        view(2, (v) => v.setInt16(0, -300, true)),
        1,
      )[0],
    ).toBe(-300);
    expect(
      dequantize(
        "I32",
        view(4, (v) => v.setInt32(0, 70_000, true)),
        1,
      )[0],
    ).toBe(70_000);
    expect(
      dequantize(
        "I64",
        view(8, (v) => v.setBigInt64(0, -5n, true)),
        1,
      )[0],
    ).toBe(-5);
    // d = 0.5 in f16 is 0x3800.
    const q8_1 = new Uint8Array(36).map((_, i) => (i === 1 ? 0x38 : i >= 4 ? i - 20 : 0));
    expect(Array.from(dequantize("Q8_1", q8_1, 32))).toEqual(Array.from({ length: 32 }, (_, i) => (i - 16) / 2));
    const q8_k = view(292, (v) => {
      v.setFloat32(0, 0.25, true);
      for (let i = 0; i < 256; i++) v.setInt8(4 + i, i - 128);
    });
    expect(Array.from(dequantize("Q8_K", q8_k, 256))).toEqual(Array.from({ length: 256 }, (_, i) => (i - 128) / 4));
    const q1 = dequantize("Q1_0", Uint8Array.of(0, 0x38, 0b101, ...new Array(15).fill(0)), 128);
    expect(Array.from(q1.subarray(0, 4))).toEqual([0.5, -0.5, 0.5, -0.5]);
    const q2 = dequantize("Q2_0", Uint8Array.of(0, 0x38, 0b11_10_01_00, ...new Array(15).fill(0)), 64);
    expect(Array.from(q2.subarray(0, 5))).toEqual([-0.5, 0, 0.5, 1, -0.5]);
  });

  test("the codebooks are complete", () => {
    // FNV-1a over all bytes of ggml's published tables: the golden blocks reach only part of the entries.
    const published = {
      iq1: [2048, 8, 803785678],
      iq2xxs: [256, 8, 1035247982],
      iq2xs: [512, 8, 3958052829],
      iq2s: [1024, 8, 2191003920],
      iq3xxs: [256, 4, 1235505205],
      iq3s: [512, 4, 1909222537],
    } as const;
    for (const name of Object.keys(published) as (keyof typeof published)[]) {
      const [entries, width, hash] = published[name];
      const grid = codebook(name);
      expect(grid.length).toBe(entries * width);
      expect(grid.reduce((h, byte) => Math.imul(h ^ (byte & 255), 0x01000193), 0x811c9dc5) >>> 0).toBe(hash);
    }
    for (const [i, signs] of evenSigns.entries()) {
      expect(signs & 127).toBe(i);
      expect(signs.toString(2).replaceAll("0", "").length % 2).toBe(0);
    }
  });

  test("sizes that do not fit are refused", () => {
    expect(() => dequantize("Q4_0", new Uint8Array(18), 31)).toThrow(FormatError);
    expect(() => dequantize("Q4_0", new Uint8Array(17), 32)).toThrow(FormatError);
    expect(() => dequantize("Q4_K", new Uint8Array(144), 256, new Float32Array(255))).toThrow(FormatError);
    expect(dequantize("Q4_K", new Uint8Array(0), 0).length).toBe(0);
    for (const n of [-32, 0.5, Number.NaN, "32"])
      expect(() => dequantize("Q8_0", new Uint8Array(34), n as number)).toThrow(InputError);
    expect(() => dequantize("Q8_0", new Uint8Array(34), 2 ** 50)).toThrow(FormatError);
  });
});
