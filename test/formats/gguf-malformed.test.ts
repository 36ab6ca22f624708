/** GGUF files that lie or break off: a FormatError with the offset, and no more memory than the file. */
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Bytes } from "../../src/formats/gguf/values.ts";
import { FormatError } from "../../src/tensor/errors.ts";
import { read, small } from "./small-gguf.ts";

const shared = new URL("../../../shared/formats/", import.meta.url);
const present = existsSync(shared);

describe("malformed files", () => {
  /** A header written field by field; `edit` gets the builder after the counts. */
  const make = (tensors: number, entries: number, edit: (b: Bytes) => void, tail = 64) => {
    const b = new Bytes();
    b.u32(0x46554747);
    b.u32(3);
    b.u64(tensors);
    b.u64(entries);
    edit(b);
    b.raw(new Uint8Array(tail));
    return b.done().slice();
  };
  const tensor = (b: Bytes, name: string, dims: (number | bigint)[], type: number, offset: number) => {
    b.text(name);
    b.u32(dims.length);
    for (const d of dims) b.u64(d);
    b.u32(type);
    b.u64(offset);
  };
  const entry = (b: Bytes, key: string, type: number, rest: (b: Bytes) => void) => {
    b.text(key);
    b.u32(type);
    rest(b);
  };
  const version = (v: number) => {
    const bytes = small.slice();
    new DataView(bytes.buffer).setUint32(4, v, true);
    return bytes;
  };

  test.each<[string, Uint8Array]>([
    ["empty", new Uint8Array(0)],
    ["another magic", Uint8Array.from("GGML0000000000000000000000", (c) => c.charCodeAt(0))],
    ["version 1", version(1)],
    ["version 4", version(4)],
    ["big-endian", version(3 << 24)],
    ["more tensors than bytes", make(2 ** 40, 0, () => {})],
    ["more tensors than 2^53", make(2 ** 60, 0, () => {})],
    ["more entries than bytes", make(0, 1000, () => {})],
    ["long key", make(0, 1, (b) => b.u64(2 ** 33))],
    [
      "key not in UTF-8",
      make(0, 1, (b) => {
        b.u64(1);
        b.raw(Uint8Array.of(0xff));
      }),
    ],
    ["unknown value type", make(0, 1, (b) => entry(b, "k", 13, () => {}))],
    ["bool of 2", make(0, 1, (b) => entry(b, "k", 7, (b) => b.raw(Uint8Array.of(2))))],
    [
      "long array",
      make(0, 1, (b) =>
        entry(b, "k", 9, (b) => {
          b.u32(4);
          b.u64(2 ** 40);
        }),
      ),
    ],
    [
      "long string array",
      make(0, 1, (b) =>
        entry(b, "k", 9, (b) => {
          b.u32(8);
          b.u64(20);
        }),
      ),
    ],
    [
      "array of an unknown type",
      make(0, 1, (b) =>
        entry(b, "k", 9, (b) => {
          b.u32(99);
          b.u64(0);
        }),
      ),
    ],
    [
      "nesting without end",
      make(0, 1, (b) =>
        entry(b, "k", 9, (b) => {
          for (let i = 0; i < 100_000; i++) {
            b.u32(9);
            b.u64(1);
          }
        }),
      ),
    ],
    [
      "same key twice",
      make(0, 2, (b) => {
        for (let i = 0; i < 2; i++) entry(b, "k", 0, (b) => b.raw(Uint8Array.of(1)));
      }),
    ],
    ["alignment 0", make(0, 1, (b) => entry(b, "general.alignment", 4, (b) => b.u32(0)))],
    ["alignment 24", make(0, 1, (b) => entry(b, "general.alignment", 4, (b) => b.u32(24)))],
    ["alignment 2^31", make(0, 1, (b) => entry(b, "general.alignment", 4, (b) => b.u32(2 ** 31)))],
    ["alignment of text", make(0, 1, (b) => entry(b, "general.alignment", 8, (b) => b.text("32")))],
    ["nine dimensions", make(1, 0, (b) => tensor(b, "t", new Array(9).fill(1), 0, 0))],
    ["unknown tensor type", make(1, 0, (b) => tensor(b, "t", [1], 4, 0))],
    ["rows that do not fill blocks", make(1, 0, (b) => tensor(b, "t", [16, 2], 2, 0))],
    ["scalar of a block type", make(1, 0, (b) => tensor(b, "t", [], 2, 0))],
    ["offset off the alignment", make(1, 0, (b) => tensor(b, "t", [1], 0, 4))],
    ["tensor past the end", make(1, 0, (b) => tensor(b, "t", [1000], 0, 0))],
    ["offset past the end", make(1, 0, (b) => tensor(b, "t", [1], 0, 2 ** 40))],
    ["product past 2^53", make(1, 0, (b) => tensor(b, "t", [2 ** 40, 2 ** 40, 2 ** 40], 0, 0))],
    ["dimension past 2^53", make(1, 0, (b) => tensor(b, "t", [2n ** 63n], 0, 0))],
    [
      "same tensor twice",
      make(
        2,
        0,
        (b) => {
          for (const o of [0, 32]) tensor(b, "t", [1], 0, o);
        },
        128,
      ),
    ],
    [
      "overlap",
      make(
        2,
        0,
        (b) => {
          for (const n of ["a", "b"]) tensor(b, n, [1], 0, 0);
        },
        128,
      ),
    ],
  ])("%s", async (_, bytes) => {
    const error = await read(bytes).catch((e) => e);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.offset).toBeTypeOf("number");
  });

  test("every truncation", async () => {
    const end = (await read(small)).tensors.get("q")!;
    for (let length = 0; length < end.byteOffset + end.byteLength; length++)
      await expect(read(small.subarray(0, length))).rejects.toThrow(FormatError);
  });

  test.each([
    ["sample", present ? new Uint8Array(readFileSync(new URL("sample.gguf", shared))) : small],
    ["small", small],
  ])(
    "10,000 mutations of the header of %s give FormatError or a valid file, within the file's size",
    async (_, valid) => {
      const dataStart = Math.min(...[...(await read(valid)).tensors.values()].map((t) => t.byteOffset));
      let rejected = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.tuple(fc.nat(dataStart - 1), fc.oneof(fc.nat(255), fc.nat(13), fc.constantFrom(0, 1, 127, 128, 255))),
            { minLength: 1, maxLength: 5 },
          ),
          fc.oneof({ weight: 4, arbitrary: fc.constant(valid.length) }, { weight: 1, arbitrary: fc.nat(valid.length) }),
          async (edits, length) => {
            const bytes = valid.slice(0, length);
            for (const [at, value] of edits) if (at < length) bytes[at] = value;
            try {
              const file = await read(bytes);
              let total = 0;
              let wrong = 0;
              for (const t of file.tensors.values()) {
                total += t.byteLength;
                if ((await t.dequantize()).length !== t.shape.reduce((a, b) => a * b, 1)) wrong++;
              }
              expect(total).toBeLessThanOrEqual(length);
              expect(wrong).toBe(0);
            } catch (error) {
              if (!(error instanceof FormatError)) throw error;
              rejected++;
            }
          },
        ),
        { numRuns: 10_000 },
      );
      expect(rejected).toBeGreaterThan(1000);
    },
    60_000,
  );

  test("arrays of numbers take no more memory than the file", async () => {
    const bytes = make(
      0,
      1,
      (b) =>
        entry(b, "k", 9, (b) => {
          b.u32(12);
          b.u64(9);
        }),
      64,
    );
    await expect(read(bytes)).rejects.toThrow(/do not fit/);
    const fits = make(
      0,
      1,
      (b) =>
        entry(b, "k", 9, (b) => {
          b.u32(12);
          b.u64(8);
        }),
      64,
    );
    expect((await read(fits)).metadata.get("k")).toEqual(new Float64Array(8));
  });
});
