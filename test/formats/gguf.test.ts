import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  dequantize,
  type GgufValue,
  type GgufValueType,
  ggufTypes,
  isGguf,
  readGguf,
  writeGguf,
} from "../../src/formats/gguf/index.ts";
import { type ByteSource, bytesSource } from "../../src/formats/source.ts";
import { ForwardpassError, InputError, ShapeError } from "../../src/tensor/errors.ts";
import { metadata, read, small } from "./small-gguf.ts";

const shared = new URL("../../../shared/formats/", import.meta.url);
const present = existsSync(shared);
if (!present) console.warn("gguf: shared/formats is absent, sample.gguf is skipped");

describe.skipIf(!present)("sample.gguf", () => {
  test("metadata, shapes and values", async () => {
    const bytes = new Uint8Array(readFileSync(new URL("sample.gguf", shared)));
    expect(isGguf(bytes)).toBe(true);
    const file = await read(bytes);
    expect([file.version, file.alignment]).toEqual([3, 32]);
    expect(Object.fromEntries(file.metadata)).toMatchObject({
      "general.architecture": "llama",
      "test.s": "héllo",
      "test.u32": 7,
      "test.f": 1.5,
      "test.arr": Int32Array.of(1, 2, 3),
      "test.sarr": ["a", "bb", ""],
      "test.b": true,
    });
    expect(file.types.get("test.arr")).toBe("i32[]");
    const expected: Record<string, { shape: number[]; data: number[] }> = JSON.parse(
      readFileSync(new URL("sample.gguf.expected.json", shared), "utf8"),
    );
    expect([...file.tensors.keys()]).toEqual(Object.keys(expected));
    for (const [name, want] of Object.entries(expected)) {
      const t = file.tensors.get(name)!;
      expect(t.shape).toEqual(want.shape);
      expect(Array.from(await t.dequantize())).toEqual(Array.from(Float32Array.from(want.data.flat())));
    }
  });

  test("written again, byte by byte the same", async () => {
    const bytes = new Uint8Array(readFileSync(new URL("sample.gguf", shared)));
    const file = await read(bytes);
    const tensors = new Map<string, { type: keyof typeof ggufTypes; shape: readonly number[]; bytes: Uint8Array }>();
    for (const [name, t] of file.tensors) tensors.set(name, { ...t, bytes: await t.bytes() });
    const again = writeGguf({ metadata: file.metadata, types: file.types, tensors });
    expect(Buffer.compare(again.subarray(0, bytes.length), bytes)).toBe(0);
    expect(again.length - bytes.length).toBeLessThan(32);
  });
});

describe("reader and writer", () => {
  test("what is written is read: metadata of every kind, shapes in row-major order", async () => {
    const file = await read(small);
    expect(file.metadata).toEqual(metadata);
    expect(file.types.get("a.nested")).toBe("array[]");
    expect([...file.tensors].map(([name, t]) => [name, t.shape, t.byteLength])).toEqual([
      ["w", [2, 2], 16],
      ["s", [], 4],
      ["none", [0, 32], 0],
      ["q", [3, 32], 102],
    ]);
    expect(await file.tensors.get("w")!.dequantize()).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(await file.tensors.get("s")!.dequantize()).toEqual(Float32Array.of(5));
    expect((await file.tensors.get("q")!.dequantize()).length).toBe(96);
  });

  test("stored types can be chosen, and are checked", async () => {
    const one = (value: GgufValue, type?: string) =>
      writeGguf({
        metadata: new Map([["k", value]]),
        types: new Map(type ? [["k", type as "u8"]] : []),
        tensors: new Map(),
      });
    for (const [value, type] of [
      [5, "u8"],
      [-5, "i8"],
      [5, "u16"],
      [-5, "i16"],
      [5, "i64"],
      [5, "u64"],
      [0.5, "f32"],
      [5, "f32"],
      [-0, "f64"],
      [2 ** 40, "u64"],
    ] as const) {
      const file = await read(one(value, type));
      expect([file.metadata.get("k"), file.types.get("k")]).toEqual([value, type]);
    }
    for (const [value, type] of [
      [256, "u8"],
      [-1, "u32"],
      [0.5, "i32"],
      ["a", "u8"],
      [1, "string"],
      [1, "bool"],
      [2n ** 64n, "u64"],
      [[1], "u8[]"],
    ] as const)
      expect(() => one(value as GgufValue, type)).toThrow(InputError);
    expect(() => one(new DataView(new ArrayBuffer(1)) as never)).toThrow(InputError);
  });

  test.each<[string, unknown, unknown, RegExp]>([
    ["a type in lower case", "f32", [1], /"f32" is no tensor type/],
    ["a negative size", "F32", [-1, -1], /\[-1,-1\] is not a list of sizes/],
    ["half a size", "F32", [1.5, 2], /\[1\.5,2\] is not a list of sizes/],
    ["no list of sizes", "F32", 1, /1 is not a list of sizes/],
    ["more dimensions than files have", "F32", [1, 1, 1, 1, 1, 1, 1, 1, 1], /9 dimensions, files have 8 at most/],
    ["bytes that are none", "F32", [4], /no bytes in a Uint8Array/],
  ])("%s is refused", (_, type, shape, message) => {
    const t = { type, shape, bytes: Array.isArray(shape) && shape[0] === 4 ? new Float32Array(4) : new Uint8Array(4) };
    const write = () => writeGguf({ metadata: new Map(), tensors: new Map([["a", t as never]]) });
    expect(write).toThrow(ForwardpassError);
    expect(write).toThrow(message);
  });

  test("types of metadata and objects that are none are refused", () => {
    const one = { metadata: new Map([["a", 1]]), types: new Map([["a", "int"]]), tensors: new Map() };
    expect(() => writeGguf(one as never)).toThrow(/metadata "a": "int" is no type/);
    for (const none of [null, undefined, 1]) expect(() => writeGguf(none as never)).toThrow(InputError);
    expect(() => writeGguf({ metadata: {}, tensors: new Map() } as never)).toThrow(/metadata are a Map/);
    expect(() => writeGguf({ metadata: new Map(), tensors: {} } as never)).toThrow(InputError);
    expect(() => writeGguf({ metadata: new Map([["a", null]]), tensors: new Map() } as never)).toThrow(InputError);
  });

  test("alignment from the metadata; version 2", async () => {
    const bytes = writeGguf({
      metadata: new Map([["general.alignment", 64]]),
      tensors: new Map(["a", "b"].map((n) => [n, { type: "I8", shape: [3], bytes: Uint8Array.of(1, 2, 3) }])),
    });
    bytes[4] = 2;
    const file = await read(bytes);
    expect([file.version, file.alignment]).toEqual([2, 64]);
    for (const t of file.tensors.values()) {
      expect(t.byteOffset % 64).toBe(0);
      expect(await t.dequantize()).toEqual(Float32Array.of(1, 2, 3));
    }
    const tensors = new Map([["a", { type: "I8" as const, shape: [1], bytes: new Uint8Array(1) }]]);
    for (const wrong of [48, 2 ** 21, 2 ** 31, 2 ** 40])
      expect(() => writeGguf({ metadata: new Map([["general.alignment", wrong]]), tensors })).toThrow(InputError);
    const wrong = new Map([["q", { type: "Q4_0" as const, shape: [2, 16], bytes: new Uint8Array(18) }]]);
    expect(() => writeGguf({ metadata: new Map(), tensors: wrong })).toThrow(ShapeError);
  });

  test.each([true, false])(
    "a header is read once, in parts, whatever lies across their ends; local: %s",
    async (local) => {
      const metadata = new Map<string, GgufValue>([
        ["words", Array.from({ length: 100_000 }, (_, i) => `word ${i}`)],
        ["numbers", Float64Array.from({ length: 50_000 }, (_, i) => i / 3)],
        ["long", "x".repeat(400_000)],
        ["flags", Array.from({ length: 100 }, (_, i) => i % 3 === 0)],
        ["nested", [["a", "b"], Array.from({ length: 30_000 }, (_, i) => `${i}`)]],
        ["last", 7],
      ]);
      const names = Array.from({ length: 3000 }, (_, i) => `tensor ${i} ${"y".repeat(i % 90)}`);
      const data = Uint8Array.of(1, 2, 3);
      const tensors = new Map(names.map((n) => [n, { type: "I8" as const, shape: [3], bytes: data }]));
      const bytes = writeGguf({ metadata, tensors });
      let end = 0;
      let reads = 0;
      const inner = bytesSource(bytes);
      const source: ByteSource = {
        ...inner,
        local,
        read(offset, length) {
          expect(offset).toBe(end);
          end += length;
          reads++;
          return inner.read(offset, length);
        },
      };
      const file = await readGguf(source);
      expect(file.metadata).toEqual(metadata);
      expect([...file.tensors.keys()]).toEqual(names);
      const header = file.tensors.get(names[0])!.byteOffset;
      // A local file is read in small parts, and not further than that; over a network there are few.
      if (local) expect(end - header).toBeLessThan(200_000);
      else expect(reads).toBeLessThan(6);
      expect(reads).toBeGreaterThan(2);
    },
  );
});

describe("properties", () => {
  const integer = (min: bigint, max: bigint) => fc.bigInt({ min, max });
  const scalar: Record<string, fc.Arbitrary<GgufValue>> = {
    u8: fc.nat(255),
    i8: fc.integer({ min: -128, max: 127 }),
    u16: fc.nat(65535),
    i16: fc.integer({ min: -32768, max: 32767 }),
    u32: fc.nat(2 ** 32 - 1),
    i32: fc.integer(),
    f32: fc.float({ noNaN: true }),
    bool: fc.boolean(),
    string: fc.string({ unit: "grapheme" }),
    // Numbers where they are exact, as the reader gives them.
    u64: integer(0n, 2n ** 64n - 1n).map((v) => (v <= Number.MAX_SAFE_INTEGER ? Number(v) : v)),
    i64: integer(-(2n ** 63n), 2n ** 63n - 1n).map((v) => (BigInt.asIntN(54, v) === v ? Number(v) : v)),
    f64: fc.double({ noNaN: true }),
  };
  const list = (type: string): fc.Arbitrary<GgufValue> => {
    const arrays = {
      u8: Uint8Array,
      i8: Int8Array,
      u16: Uint16Array,
      i16: Int16Array,
      u32: Uint32Array,
      i32: Int32Array,
    };
    const wide = { f32: Float32Array, f64: Float64Array, u64: BigUint64Array, i64: BigInt64Array };
    const kind = ({ ...arrays, ...wide } as Record<string, { from(v: unknown[]): GgufValue }>)[type];
    const values = fc.array(scalar[type], { maxLength: 5 });
    if (!kind) return values as fc.Arbitrary<GgufValue>;
    return values.map((v) => kind.from(type.endsWith("64") && type !== "f64" ? v.map((n) => BigInt(n as bigint)) : v));
  };
  const names = Object.keys(scalar);
  const nested = fc.array(fc.constantFrom(...names.filter((n) => n !== "string")).chain(list), {
    minLength: 1,
    maxLength: 3,
  });
  const value = fc.oneof(
    fc.constantFrom(...names).chain((type) => scalar[type].map((v) => ({ type, v }))),
    fc.constantFrom(...names).chain((type) => list(type).map((v) => ({ type: `${type}[]`, v }))),
    nested.map((v) => ({ type: "array[]", v: v as GgufValue })),
  );
  const tensor = fc
    .tuple(
      fc.constantFrom(...(Object.keys(ggufTypes) as (keyof typeof ggufTypes)[])),
      fc.nat(3),
      fc.nat(2),
      fc.nat(255),
    )
    .map(([type, rows, blocks, fill]) => {
      const { blockSize, blockBytes } = ggufTypes[type];
      const bytes = new Uint8Array(rows * blocks * blockBytes).map((_, i) => (i * 7 + fill) & 255);
      return { type, shape: [rows, blocks * blockSize], bytes };
    });

  test("what is written is read: metadata of every type, tensors of every type, any alignment", async () => {
    const key = fc.string({ minLength: 1 });
    const contents = fc.record({
      entries: fc.uniqueArray(fc.tuple(key, value), { selector: ([k]) => k, maxLength: 8 }),
      tensors: fc.uniqueArray(fc.tuple(key, tensor), { selector: ([k]) => k, maxLength: 5 }),
      alignment: fc.constantFrom(undefined, 1, 8, 64, 4096),
    });
    await fc.assert(
      fc.asyncProperty(contents, async ({ entries, tensors, alignment }) => {
        const metadata = new Map(entries.map(([k, { v }]) => [k, v]));
        const types = new Map(entries.map(([k, { type }]) => [k, type as GgufValueType]));
        if (alignment) metadata.set("general.alignment", alignment);
        const file = await read(writeGguf({ metadata, types, tensors: new Map(tensors) }));
        expect(file.metadata).toEqual(metadata);
        for (const [k, type] of types) if (k !== "general.alignment") expect(file.types.get(k)).toBe(type);
        expect([...file.tensors.keys()]).toEqual(tensors.map(([k]) => k));
        for (const [k, t] of tensors) {
          const got = file.tensors.get(k)!;
          expect([got.type, got.shape, got.byteOffset % (alignment ?? 32)]).toEqual([t.type, t.shape, 0]);
          expect(Buffer.compare(await got.bytes(), t.bytes)).toBe(0);
        }
      }),
      { numRuns: 500 },
    );
  });
});

test("dequantize of whole tensors agrees with its parts", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...(Object.keys(ggufTypes) as (keyof typeof ggufTypes)[])),
      fc.infiniteStream(fc.nat(255)),
      (type, stream) => {
        const { blockSize, blockBytes } = ggufTypes[type];
        const bytes = Uint8Array.from({ length: blockBytes * 3 }, () => stream.next().value);
        const whole = dequantize(type, bytes, blockSize * 3);
        for (let b = 0; b < 3; b++)
          expect(dequantize(type, bytes.slice(b * blockBytes, (b + 1) * blockBytes), blockSize)).toEqual(
            whole.slice(b * blockSize, (b + 1) * blockSize),
          );
      },
    ),
  );
});
