/** TensorProto and the wire format: every way to store elements, and what is refused. */
import fc from "fast-check";
import { PbfWriter } from "pbf";
import { describe, expect, test, vi } from "vitest";
import { readModel } from "../../src/formats/onnx/proto.ts";
import { decodeSequenceProto, decodeTensorProto, onnxOfDType } from "../../src/formats/onnx/tensor-proto.ts";
import { type DType, FormatError, type HostTensor } from "../../src/index.ts";
import { dtypes } from "../../src/tensor/dtype.ts";
import { tensorFrom } from "../cases/case.ts";
import { type AttributeSpec, encodeModel, encodeTensor } from "./encode.ts";

function tensorBytes(dims: number[], dataType: number, write: (w: PbfWriter) => void): Uint8Array {
  const w = new PbfWriter();
  w.writePackedVarint(1, dims);
  w.writeVarintField(2, dataType);
  w.writeStringField(8, "t");
  write(w);
  return w.finish().slice();
}
const elements = (bytes: Uint8Array): unknown[] => Array.from(decodeTensorProto(bytes).data as Float32Array);

describe("raw data", () => {
  const whole = (Object.keys(dtypes) as DType[]).filter((d) => d !== "string" && dtypes[d].bits >= 8);
  test.each(whole)("%s comes back as it was", (dtype) => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }), (seed, shape) => {
        const t = tensorFrom(seed, dtype, shape);
        expect(decodeTensorProto(encodeTensor(t))).toEqual(t);
      }),
      { numRuns: 20 },
    );
  });

  test("is a view of the file where it is aligned", () => {
    const bytes = encodeTensor(tensorFrom(1, "u8", [100]));
    expect(decodeTensorProto(bytes).data).toMatchObject({ buffer: bytes.buffer });
  });

  test("elements of less than a byte start in the low bits", () => {
    const raw = (dtype: DType, size: number, ...bytes: number[]): unknown[] =>
      elements(tensorBytes([size], onnxOfDType(dtype), (w) => w.writeBytesField(9, Uint8Array.from(bytes))));
    expect(raw("i4", 3, 0x8f, 0x07)).toEqual([-1, -8, 7]);
    expect(raw("u4", 3, 0x8f, 0x07)).toEqual([15, 8, 7]);
    expect(raw("f4e2m1", 2, 0x21)).toEqual([1, 2]);
    // Four of 6 bits in three bytes: 1, 2, 3, 63.
    expect(raw("f6e2m3", 4, 0x81, 0x30, 0xfc)).toEqual([1, 2, 3, 63]);
    expect(raw("u2", 5, 0b11100100, 0b01)).toEqual([0, 1, 2, 3, 1]);
    expect(raw("i2", 4, 0b11100100)).toEqual([0, 1, -2, -1]);
  });
});

describe("lists of attributes", () => {
  const listOf = (attribute: AttributeSpec) => {
    const { nodes } = readModel(encodeModel({ nodes: [{ type: "Any", attributes: { list: attribute } }] })).graph;
    return nodes[0].attributes[0];
  };

  test("are typed arrays, of 64 bits where one of them is no number", () => {
    expect(listOf({ ints: [3, -1, 2 ** 53 - 1] }).ints).toEqual(Float64Array.of(3, -1, 2 ** 53 - 1));
    expect(listOf({ ints: [3, 2n ** 53n + 1n, -(2n ** 63n)] }).ints).toEqual(
      BigInt64Array.of(3n, 2n ** 53n + 1n, -(2n ** 63n)),
    );
    expect(listOf({ floats: [0.5, Number.POSITIVE_INFINITY] }).floats).toEqual(
      Float32Array.of(0.5, Number.POSITIVE_INFINITY),
    );
    expect(listOf({ ints: [] })).toMatchObject({ kind: "ints", ints: new Float64Array(0) });
  });

  test("of strings are decoded once for each that is in them often", () => {
    const decode = vi.spyOn(TextDecoder.prototype, "decode");
    const decodesOf = (strings: string[]): number => {
      decode.mockClear();
      expect(listOf({ strings }).strings).toEqual(strings);
      return decode.mock.calls.length;
    };
    const modes = ["LEAF", "", "BRANCH_LEQ", "BRANCH_LTE", "é"];
    const few = decodesOf(modes);
    expect(decodesOf([...modes, ...modes, "LEAF"])).toBe(few);
    expect(decodesOf([...modes, ..."abcdefgh", ...modes])).toBe(few + 8);
    decode.mockRestore();
  });
});

describe("typed fields", () => {
  const of = (dtype: DType, dims: number[], write: (w: PbfWriter) => void): unknown[] =>
    elements(tensorBytes(dims, onnxOfDType(dtype), write));

  test("floats, packed and not", () => {
    expect(of("f32", [2], (w) => w.writePackedFloat(4, [1.5, -2]))).toEqual([1.5, -2]);
    const unpacked = (w: PbfWriter): void => {
      w.writeFloatField(4, 1.5);
      w.writeFloatField(4, -2);
    };
    expect(of("f32", [2], unpacked)).toEqual([1.5, -2]);
    expect(of("f64", [2], (w) => w.writePackedDouble(10, [0.1, -2]))).toEqual([0.1, -2]);
  });

  test("narrow types in int32_data", () => {
    expect(of("i32", [3], (w) => w.writePackedVarint(5, [1, -2, 2 ** 31 - 1]))).toEqual([1, -2, 2 ** 31 - 1]);
    expect(of("i8", [2], (w) => w.writePackedVarint(5, [-128, 127]))).toEqual([-128, 127]);
    expect(of("u16", [2], (w) => w.writePackedVarint(5, [65535, 7]))).toEqual([65535, 7]);
    expect(of("f16", [1], (w) => w.writePackedVarint(5, [0x3c00]))).toEqual([0x3c00]);
    expect(of("bool", [2], (w) => w.writePackedVarint(5, [1, 0]))).toEqual([1, 0]);
    // What is not 0 is true; kernels count on 1.
    expect(of("bool", [4], (w) => w.writePackedVarint(5, [2, 0, 256, -1]))).toEqual([1, 0, 1, 1]);
    expect(of("bool", [3], (w) => w.writeBytesField(9, Uint8Array.of(255, 0, 2)))).toEqual([1, 0, 1]);
    expect(of("u4", [3], (w) => w.writePackedVarint(5, [0x21, 0x03]))).toEqual([1, 2, 3]);
    const unpacked = (w: PbfWriter): void => {
      w.writeVarintField(5, 1);
      w.writeVarintField(5, -2);
    };
    expect(of("i32", [2], unpacked)).toEqual([1, -2]);
  });

  test("64-bit integers exactly", () => {
    const max = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f);
    expect(of("i64", [2], (w) => w.writeBytesField(7, Uint8Array.of(...max, 1)))).toEqual([(1n << 63n) - 1n, 1n]);
    const minusOne = Uint8Array.of(...Array(9).fill(0xff), 1);
    expect(of("i64", [1], (w) => w.writeBytesField(7, minusOne))).toEqual([-1n]);
    expect(of("u64", [1], (w) => w.writeBytesField(11, minusOne))).toEqual([(1n << 64n) - 1n]);
    expect(of("u32", [1], (w) => w.writePackedVarint(11, [2 ** 32 - 1]))).toEqual([2 ** 32 - 1]);
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })), (values) => {
        const bytes = values.flatMap((v) => [...varint(BigInt.asUintN(64, v))]);
        const read = of("i64", [values.length], (w) => w.writeBytesField(7, Uint8Array.from(bytes)));
        expect(read).toEqual(values);
      }),
    );
  });

  test("strings", () => {
    const t = { dtype: "string" as const, shape: [2], data: ["", "Füße"] };
    expect(decodeTensorProto(encodeTensor(t))).toEqual(t);
  });

  test("sequences", () => {
    const w = new PbfWriter();
    for (const t of [tensorFrom(1, "f32", [2]), tensorFrom(2, "f32", [3])]) w.writeBytesField(3, encodeTensor(t));
    expect(decodeSequenceProto(w.finish()).map((t) => (t as HostTensor).shape)).toEqual([[2], [3]]);
  });
});

function* varint(v: bigint): Generator<number> {
  for (; v >= 128n; v >>= 7n) yield Number(v & 127n) | 128;
  yield Number(v);
}

describe("broken files", () => {
  const refuse = (bytes: Uint8Array, message: RegExp): void => {
    const read = (): unknown => decodeTensorProto(bytes);
    expect(read).toThrow(FormatError);
    expect(read).toThrow(message);
  };

  test("data that doesn't fill the dimensions, which are not trusted", () => {
    refuse(
      tensorBytes([2 ** 40], 1, (w) => w.writePackedFloat(4, [1])),
      /f32\[1099511627776\] needs 1099511627776 elements, the file has 4 bytes/,
    );
    refuse(
      tensorBytes([2 ** 31], 6, (w) => w.writePackedVarint(5, [1])),
      /the file has 1 bytes/,
    );
    refuse(
      tensorBytes([3], 6, (w) => w.writePackedVarint(5, [300, 300])),
      /needs 3 elements, the file has 2/,
    );
    refuse(
      tensorBytes([-1], 1, () => {}),
      /impossible dimensions/,
    );
    refuse(
      tensorBytes([2 ** 30, 2 ** 30], 2, () => {}),
      /impossible dimensions/,
    );
  });

  test("a length past the end, a bad varint, a group, field 0", () => {
    refuse(Uint8Array.of(0x4a, 0x7f, 1, 2), /field of 127 bytes reaches past the end .*at byte 1/);
    refuse(Uint8Array.of(0x10, ...Array(12).fill(0xff)), /malformed protobuf|past the end/);
    refuse(Uint8Array.of(0xfb, 0x01, 0x01), /malformed protobuf at byte 2: Unimplemented type: 3/);
    refuse(Uint8Array.of(0x00, 0x01), /field number 0/);
    refuse(Uint8Array.of(0x4d, 1, 2), /wire type 5 where 2 is expected/);
  });

  test("messages that nest without end", () => {
    let graph = new Uint8Array(0);
    const wrap = (field: number, body: Uint8Array): Uint8Array<ArrayBuffer> => {
      const w = new PbfWriter();
      w.writeBytesField(field, body);
      return w.finish().slice() as Uint8Array<ArrayBuffer>;
    };
    for (let i = 0; i < 2000; i++) graph = wrap(1, wrap(5, wrap(6, graph)));
    expect(() => readModel(wrap(7, graph))).toThrow(/nest deeper than 100 levels/);
  });

  test("no graph at all", () => {
    expect(() => readModel(Uint8Array.of(8, 7))).toThrow(/holds no graph/);
    expect(() => readModel(new TextEncoder().encode("<!DOCTYPE html>"))).toThrow(FormatError);
  });

  test("unknown fields are passed over", () => {
    const w = new PbfWriter();
    w.writeVarintField(99, 5);
    w.writeStringField(100, "later");
    expect(readModel(Uint8Array.of(...w.finish(), ...encodeModel({}))).irVersion).toBe(10);
  });
});
