import { existsSync, readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  isSafetensors,
  readSafetensors,
  readShardedSafetensors,
  writeSafetensors,
} from "../../src/formats/safetensors.ts";
import { type ByteSource, bytesSource } from "../../src/formats/source.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { allocate, type DType, dtypes } from "../../src/tensor/dtype.ts";
import { DTypeError, FormatError, InputError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";

const shared = new URL("../../../shared/formats/safetensors/", import.meta.url);
const present = existsSync(shared);
if (!present) console.warn("safetensors: shared/formats is absent, its tests are skipped");

/** A file made by hand: header text or object, then data. */
function file(header: unknown, data: Uint8Array | number = 0): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = typeof data === "number" ? new Uint8Array(data) : data;
  const out = new Uint8Array(8 + text.length + bytes.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  out.set(bytes, 8 + text.length);
  return out;
}
const read = (bytes: Uint8Array) => readSafetensors(bytesSource(bytes));

describe.skipIf(!present)("shared files", () => {
  test("all-dtypes matches its expected values", async () => {
    const bytes = new Uint8Array(readFileSync(new URL("all-dtypes.safetensors", shared)));
    const expected = JSON.parse(readFileSync(new URL("all-dtypes.expected.json", shared), "utf8"));
    expect(isSafetensors(bytes.subarray(0, 16), bytes.length)).toBe(true);
    const { tensors, metadata } = await read(bytes);
    expect(new Set(tensors.keys())).toEqual(new Set(Object.keys(expected)));
    expect(Object.fromEntries(metadata)).toEqual({ k: "v", format: "pt" });
    const names: Record<string, DType> = { float64: "f64", float32: "f32", float16: "f16", bool: "bool" };
    for (const bits of [8, 16, 32, 64]) {
      names[`int${bits}`] = `i${bits}` as DType;
      names[`uint${bits}`] = `u${bits}` as DType;
    }
    for (const [name, want] of Object.entries<{ shape: number[]; dtype: string; data: unknown[] }>(expected)) {
      const t = await tensors.get(name)!.read();
      expect(t.shape).toEqual(want.shape);
      expect(t.dtype).toBe(names[want.dtype]);
      const values = want.data.flat(9).map((v) => (v === "True" ? 1 : v === "False" ? 0 : Number(v)));
      expect(Array.from(toF64(t))).toEqual(values);
    }
  });

  test.each(present ? readdirSync(shared).filter((f) => f.startsWith("bad-")) : [])("%s is rejected", async (name) => {
    const error = await read(new Uint8Array(readFileSync(new URL(name, shared)))).catch((e) => e);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.offset).toBeTypeOf("number");
  });
});

describe("reader", () => {
  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });

  test.each<[string, Uint8Array]>([
    ["array", file([])],
    ["null", file("null")],
    ["no header", file("")],
    ["metadata of a number", file({ __metadata__: { a: 1 } })],
    ["metadata list", file({ __metadata__: [] })],
    ["tensor null", file({ a: null })],
    ["negative dimension", file({ a: f32(0, 4, [-1]) }, 4)],
    ["fraction", file({ a: f32(0, 4, [1.5]) }, 4)],
    ["no shape", file({ a: { dtype: "F32", data_offsets: [0, 4] } }, 4)],
    ["three offsets", file({ a: { dtype: "F32", shape: [1], data_offsets: [0, 4, 4] } }, 4)],
    ["inherited dtype name", file({ a: { dtype: "toString", shape: [], data_offsets: [0, 4] } }, 4)],
    ["overlap", file({ a: f32(0, 8), b: f32(4, 12) }, 12)],
    ["same bytes twice", file({ a: f32(0, 8), b: f32(0, 8) }, 8)],
    ["gap", file({ a: f32(0, 4), b: f32(8, 12) }, 12)],
    ["late start", file({ a: f32(4, 8) }, 8)],
    ["trailing", file({ a: f32(0, 4) }, 5)],
    ["past the end", file({ a: f32(0, 8) }, 4)],
    ["odd number of f4", file({ a: { dtype: "F4", shape: [3], data_offsets: [0, 2] } }, 2)],
    ["huge shape", file({ a: f32(0, 4, [2 ** 50, 2 ** 50]) }, 4)],
    ["NUL after the header", file("{}\0")],
  ])("rejects %s", async (_, bytes) => {
    await expect(read(bytes)).rejects.toThrow(FormatError);
  });

  test("an empty header, padding, names that objects treat specially, zero-size tensors anywhere", async () => {
    expect((await read(file("{}"))).tensors.size).toBe(0);
    expect((await read(file("{}      "))).tensors.size).toBe(0);
    const text = `{"__proto__":${JSON.stringify(f32(0, 4))},"1":${JSON.stringify(f32(4, 4, [0, 7]))},"\\uFEFF":${JSON.stringify(f32(4, 8))}}`;
    const { tensors } = await read(file(text, 8));
    expect([...tensors.keys()].sort()).toEqual(["1", "__proto__", "\uFEFF"]);
    expect((await tensors.get("1")!.read()).data.length).toBe(0);
  });

  /** The format's list of dtypes, bits of an element, and what it is here: an error that names the tensor where it is nothing. */
  const list: [name: string, bits: number, dtype?: DType][] = [
    ["BOOL", 8, "bool"],
    ["F4", 4, "f4e2m1"],
    ["F6_E2M3", 6],
    ["F6_E3M2", 6],
    ["U8", 8, "u8"],
    ["I8", 8, "i8"],
    ["F8_E5M2", 8, "f8e5m2"],
    ["F8_E4M3", 8, "f8e4m3fn"],
    ["F8_E8M0", 8, "f8e8m0"],
    ["F8_E4M3FNUZ", 8, "f8e4m3fnuz"],
    ["F8_E5M2FNUZ", 8, "f8e5m2fnuz"],
    ["I16", 16, "i16"],
    ["U16", 16, "u16"],
    ["F16", 16, "f16"],
    ["BF16", 16, "bf16"],
    ["I32", 32, "i32"],
    ["U32", 32, "u32"],
    ["F32", 32, "f32"],
    ["C64", 64],
    ["F64", 64, "f64"],
    ["I64", 64, "i64"],
    ["U64", 64, "u64"],
  ];
  test.each(list)("%s is read as what it is", async (storage, bits, dtype) => {
    const size = bits; // eight elements
    const bytes = Uint8Array.from({ length: size }, (_, i) => i % 2);
    const { tensors } = await read(file({ "a.b": { dtype: storage, shape: [2, 4], data_offsets: [0, size] } }, bytes));
    const t = tensors.get("a.b")!;
    expect([t.storage, t.dtype, t.shape, t.byteLength]).toEqual([storage, dtype, [2, 4], size]);
    expect(await t.bytes()).toEqual(bytes);
    if (dtype) {
      const { data } = await t.read();
      expect(data.length).toBe(8);
      if (bits >= 8) expect(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).toEqual(bytes);
    } else {
      await expect(t.read()).rejects.toThrow(DTypeError);
      await expect(t.read()).rejects.toThrow(new RegExp(`"a\\.b" is ${storage}, which has no dtype here`));
    }
    const short = { dtype: storage, shape: [2, 4], data_offsets: [0, size - 1] };
    await expect(read(file({ a: short }, size - 1))).rejects.toThrow(FormatError);
  });

  test("bits of small floats are kept; f4 low half first; bool becomes 0 and 1", async () => {
    const map = {
      F8_E5M2: "f8e5m2",
      F8_E4M3: "f8e4m3fn",
      F8_E8M0: "f8e8m0",
      F8_E4M3FNUZ: "f8e4m3fnuz",
      F8_E5M2FNUZ: "f8e5m2fnuz",
    };
    for (const [storage, dtype] of Object.entries(map)) {
      const { tensors } = await read(
        file({ x: { dtype: storage, shape: [2], data_offsets: [0, 2] } }, Uint8Array.of(0x40, 0x41)),
      );
      expect(await tensors.get("x")!.read()).toEqual({ dtype, shape: [2], data: Uint8Array.of(0x40, 0x41) });
    }
    const { tensors } = await read(
      file(
        {
          f: { dtype: "F4", shape: [4], data_offsets: [0, 2] },
          b: { dtype: "BOOL", shape: [2], data_offsets: [2, 4] },
        },
        Uint8Array.of(0x21, 0x43, 0, 7),
      ),
    );
    expect((await tensors.get("f")!.read()).data).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect((await tensors.get("b")!.read()).data).toEqual(Uint8Array.of(0, 1));
  });

  test("a view where aligned, a copy otherwise", async () => {
    const whole = writeSafetensors(new Map([["w", { dtype: "f32", shape: [3], data: Float32Array.of(1, 2, 3) }]]));
    expect((await (await read(whole)).tensors.get("w")!.read()).data.buffer).toBe(whole.buffer);
    const shifted = new Uint8Array(whole.length + 1);
    shifted.set(whole, 1);
    const data = (await (await read(shifted.subarray(1))).tensors.get("w")!.read()).data;
    expect(data).toEqual(Float32Array.of(1, 2, 3));
    expect(data.buffer).not.toBe(shifted.buffer);
  });
});

/** Counts what is asked of a source: a reader that believes a corrupt header would ask for more than there is. */
const watched = (bytes: Uint8Array): ByteSource => {
  const inner = bytesSource(bytes);
  return {
    ...inner,
    read(offset, length) {
      expect(offset + length).toBeLessThanOrEqual(bytes.length);
      return inner.read(offset, length);
    },
  };
};

describe("properties", () => {
  const storable = (Object.keys(dtypes) as DType[]).filter(
    (d) => !["string", "i4", "u4", "i2", "u2", "f6e2m3", "f6e3m2"].includes(d),
  );
  const tensor: fc.Arbitrary<HostTensor> = fc
    .tuple(fc.constantFrom(...storable), fc.array(fc.nat(4), { maxLength: 3 }), fc.infiniteStream(fc.nat(255)))
    .map(([dtype, dims, stream]) => {
      const shape = dtype === "f4e2m1" ? [...dims, 2] : dims;
      const data = allocate(
        dtype,
        shape.reduce((a, b) => a * b, 1),
      ) as Uint8Array;
      const bytes = new Uint8Array(data.buffer);
      const top = dtype === "bool" ? 1 : dtype === "f4e2m1" ? 15 : 255;
      for (let i = 0; i < bytes.length; i++) bytes[i] = stream.next().value & top;
      return { dtype, shape, data };
    });

  test("write then read gives the same tensors and metadata", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          fc.tuple(
            fc.string().filter((s) => s !== "__metadata__"),
            tensor,
          ),
          { selector: ([n]) => n, maxLength: 5 },
        ),
        fc.array(
          fc.tuple(
            fc.string().filter((s) => s !== "__proto__"),
            fc.string(),
          ),
          { maxLength: 3 },
        ),
        async (entries, meta) => {
          const file = await read(writeSafetensors(new Map(entries), new Map(meta)));
          expect(new Map(file.metadata)).toEqual(new Map(meta));
          expect(file.tensors.size).toBe(entries.length);
          for (const [name, t] of entries) {
            const back = await file.tensors.get(name)!.read();
            expect([back.dtype, back.shape]).toEqual([t.dtype, t.shape]);
            const bytes = (d: HostTensor["data"]) =>
              Buffer.from((d as Uint8Array).buffer, (d as Uint8Array).byteOffset, (d as Uint8Array).byteLength);
            expect(bytes(back.data).equals(bytes(t.data))).toBe(true);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test("10,000 mutations of a valid file give FormatError or a valid result", async () => {
    const valid = file(
      {
        __metadata__: { format: "pt" },
        a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] },
        b: { dtype: "BF16", shape: [3], data_offsets: [16, 22] },
        c: { dtype: "F4", shape: [2, 2], data_offsets: [22, 24] },
      },
      24,
    );
    let rejected = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.nat(valid.length - 1),
            fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('0123456789,-[]{}":.e'))),
          ),
          { minLength: 1, maxLength: 4 },
        ),
        fc.oneof(fc.constant(valid.length), fc.nat(valid.length)),
        async (edits, length) => {
          const bytes = valid.slice(0, length);
          for (const [at, value] of edits) if (at < length) bytes[at] = value;
          try {
            const { tensors } = await readSafetensors(watched(bytes));
            for (const t of tensors.values())
              if (t.dtype) expect((await t.read()).data.length).toBe(t.shape.reduce((a, b) => a * b, 1));
          } catch (error) {
            if (!(error instanceof FormatError)) throw error;
            rejected++;
          }
        },
      ),
      { numRuns: 10_000 },
    );
    expect(rejected).toBeGreaterThan(1000);
  }, 60_000);
});

describe("sharded", () => {
  const shard = (...names: string[]) =>
    writeSafetensors(
      new Map(names.map((n) => [n, { dtype: "f32", shape: [1], data: Float32Array.of(n.length) } as HostTensor])),
    );
  const files: Record<string, Uint8Array> = { "m-1.safetensors": shard("a", "bb"), "m-2.safetensors": shard("ccc") };
  const open = async (name: string) => bytesSource(files[name], name);
  const index = (json: unknown) => bytesSource(new TextEncoder().encode(JSON.stringify(json)), "index.json");

  test("tensors of all files", async () => {
    const { tensors } = await readShardedSafetensors(
      index({
        metadata: { total_size: 12 },
        weight_map: { a: "m-1.safetensors", bb: "m-1.safetensors", ccc: "m-2.safetensors" },
      }),
      open,
    );
    for (const name of ["a", "bb", "ccc"]) expect((await tensors.get(name)!.read()).data[0]).toBe(name.length);
  });

  test.each([
    [{}],
    [[]],
    [{ weight_map: { a: 1 } }],
    [{ weight_map: { a: "../m-1.safetensors" } }],
    [{ weight_map: { a: ".." } }],
    [{ weight_map: { zz: "m-1.safetensors" } }],
  ])("rejects %j", async (json) => {
    await expect(readShardedSafetensors(index(json), open)).rejects.toThrow(FormatError);
  });
});

test("what is no Map, and metadata that is no text, is refused", () => {
  const tensors = new Map([["w", { dtype: "f32", shape: [1], data: Float32Array.of(1) } as const]]);
  expect(() => writeSafetensors({ w: 1 } as never)).toThrow(/tensors are a Map/);
  expect(() => writeSafetensors(tensors, { format: "pt" } as never)).toThrow(InputError);
  expect(() => writeSafetensors(tensors, new Map([["k", 5]]) as never)).toThrow(
    /metadata "k" is 5; it holds texts only/,
  );
  expect(() => writeSafetensors(new Map([["w", { dtype: "i3" }]]) as never)).toThrow(DTypeError);
});
