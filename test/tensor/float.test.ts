import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromF64, storeBigInts, toF64 } from "../../src/tensor/convert.ts";
import { type DType, dtypes } from "../../src/tensor/dtype.ts";
import {
  decodeFloat,
  encodeFloat,
  encodeFloats,
  f16ToNumber,
  numberToF16,
  roundHalfEven,
  type SmallFloat,
} from "../../src/tensor/float.ts";

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const sixteen = ["f16", "bf16"] as const;
const eight = ["f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz"] as const;
const few = ["f6e2m3", "f6e3m2", "f4e2m1"] as const;
const rounding = [...sixteen, ...eight, ...few] as const;
const patterns = (format: SmallFloat) => 2 ** dtypes[format].bits;

/** Finite values >= 0 of a format in rising order; the index is the bit pattern. */
const finite = new Map(
  rounding.map((format) => {
    const values: number[] = [];
    for (let bits = 0; bits < patterns(format) / 2; bits++) {
      const v = decodeFloat(format, bits);
      if (!Number.isFinite(v)) break;
      values.push(v);
    }
    return [format, values];
  }),
);

/** The nearest finite value's bits by search: ties to the even pattern. Undefined beyond half a step above the largest. */
function nearest(format: (typeof rounding)[number], x: number): number | undefined {
  const values = finite.get(format)!;
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (values[mid] <= x) low = mid;
    else high = mid - 1;
  }
  if (low === values.length - 1) {
    const limit = values[low] + (values[low] - values[low - 1]) / 2;
    return x < limit || (x === limit && low % 2 === 0) ? low : undefined;
  }
  // Differences of neighbours and x are exact here: they lie within a factor of two, or are powers of two apart.
  const middle = (values[low] + values[low + 1]) / 2;
  return x < middle || (x === middle && low % 2 === 0) ? low : low + 1;
}

describe("layouts", () => {
  test("landmarks of each format", () => {
    // Largest finite, smallest normal, smallest subnormal: OFP8 table 1, ONNX float8, float6 and float4 notes, IEEE 754.
    const landmarks: Record<string, [number, number, number]> = {
      f16: [65504, 2 ** -14, 2 ** -24],
      bf16: [255 * 2 ** 120, 2 ** -126, 2 ** -133],
      f8e4m3fn: [448, 2 ** -6, 2 ** -9],
      f8e4m3fnuz: [240, 2 ** -7, 2 ** -10],
      f8e5m2: [57344, 2 ** -14, 2 ** -16],
      f8e5m2fnuz: [57344, 2 ** -15, 2 ** -17],
      f6e2m3: [7.5, 1, 0.125],
      f6e3m2: [28, 0.25, 0.0625],
      f4e2m1: [6, 1, 0.5],
    };
    for (const format of rounding) {
      const values = finite.get(format)!;
      expect([format, values.at(-1), values[1]]).toEqual([format, landmarks[format][0], landmarks[format][2]]);
      expect(values).toContain(landmarks[format][1]);
      expect(values.every((v, i) => i === 0 || v > values[i - 1])).toBe(true);
    }
    expect(Array.from({ length: 8 }, (_, b) => decodeFloat("f4e2m1", b))).toEqual([0, 0.5, 1, 1.5, 2, 3, 4, 6]);
    expect(decodeFloat("f8e5m2", 0x7c)).toBe(inf);
    expect(decodeFloat("f8e4m3fn", 0x7f)).toBeNaN();
    expect(decodeFloat("f8e4m3fnuz", 0x80)).toBeNaN();
    expect(decodeFloat("f8e4m3fnuz", 0x7f)).toBe(240);
  });

  test("every bit pattern survives decode and encode", () => {
    for (const format of rounding)
      for (let bits = 0; bits < patterns(format); bits++) {
        const value = decodeFloat(format, bits);
        const back = encodeFloat(format, value);
        if (Number.isNaN(value)) {
          if (!Number.isNaN(decodeFloat(format, back))) throw new Error(`${format} ${bits}: NaN became ${back}`);
        } else if (back !== bits) throw new Error(`${format} ${bits}: ${value} became ${back}`);
      }
    for (let bits = 0; bits < 255; bits++) expect(encodeFloat("f8e8m0", decodeFloat("f8e8m0", bits))).toBe(bits);
    expect(encodeFloat("f8e8m0", decodeFloat("f8e8m0", 255))).toBe(255);
  }, 60_000);

  test("the shortcuts agree with the general decoder for every pattern", () => {
    for (let bits = 0; bits < 65536; bits++)
      if (!Object.is(f16ToNumber(bits), decodeFloat("f16", bits))) throw new Error(`pattern ${bits}`);
    for (const format of ["bf16", ...eight, ...few, "f8e8m0"] as const) {
      const numbers = Array.from({ length: patterns(format) }, (_, i) => i);
      const data = format === "bf16" ? Uint16Array.from(numbers) : Uint8Array.from(numbers);
      expect(Array.from(toF64({ dtype: format, data }))).toEqual(Array.from(data, (b) => decodeFloat(format, b)));
    }
  });
});

describe("rounding", () => {
  test("between any two neighbours: below, at and above the middle, to nearest even, both signs", () => {
    for (const format of rounding) {
      const values = finite.get(format)!;
      const sign = patterns(format) / 2;
      for (let bits = 0; bits + 1 < values.length; bits++) {
        const middle = (values[bits] + values[bits + 1]) / 2;
        // The doubles next to the middle: rounding through f32 first would lose them.
        const up = nextUp(middle);
        const down = -nextUp(-middle);
        const got = [
          encodeFloat(format, down),
          encodeFloat(format, middle),
          encodeFloat(format, up),
          encodeFloat(format, -up),
        ];
        const want = [bits, bits + (bits & 1), bits + 1, sign | (bits + 1)];
        if (got.join() !== want.join())
          throw new Error(`${format} between ${bits} and ${bits + 1}: ${got}, not ${want}`);
      }
    }
  }, 60_000);

  test("any double rounds as a search over all values says", () => {
    for (const format of rounding) {
      const values = finite.get(format)!;
      const top = values.at(-1)! * 2;
      fc.assert(
        fc.property(
          fc.oneof(fc.double({ noNaN: true, min: 0, max: top }), fc.double({ noNaN: true, min: 0, max: values[9] })),
          (x) => {
            const want = nearest(format, x);
            if (want !== undefined) expect(encodeFloat(format, x)).toBe(want);
            else expect(decodeFloat(format, encodeFloat(format, x, true))).toBe(values.at(-1));
          },
        ),
        { numRuns: 2000 },
      );
    }
  }, 60_000);

  test("known hard cases", () => {
    expect(numberToF16(65519.99)).toBe(0x7bff);
    expect(numberToF16(65520)).toBe(0x7c00);
    expect(numberToF16(2 ** -25)).toBe(0);
    expect(numberToF16(nextUp(2 ** -25))).toBe(1);
    expect(numberToF16(-(2 ** -26))).toBe(0x8000);
    expect(numberToF16(Number.MIN_VALUE)).toBe(0);
    expect(numberToF16(Number.MAX_VALUE)).toBe(0x7c00);
    // Rounded through f32 this is the tie 1 + 2^-11, which goes down to 1.
    expect(numberToF16(1 + 2 ** -11 + 2 ** -40)).toBe(0x3c01);
    expect(encodeFloat("bf16", 1 + 2 ** -8 + 2 ** -40)).toBe(0x3f81);
    expect(encodeFloat("bf16", 3.4028234663852886e38)).toBe(0x7f80);
    expect(encodeFloat("bf16", 2 ** -134)).toBe(0);
    expect(encodeFloat("bf16", nextUp(2 ** -134))).toBe(1);
    expect(numberToF16(nan)).toBe(0x7e00);
    expect(encodeFloat("bf16", nan)).toBe(0x7fc0);
    expect(encodeFloat("bf16", -inf)).toBe(0xff80);
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, -0, -2, 2, 3]);
  });
});

describe("the tables of ONNX Cast", () => {
  const signBit = { f8e4m3fn: 0x80, f8e4m3fnuz: 0, f8e5m2: 0x80, f8e5m2fnuz: 0 };
  const isUz = (format: string) => format.endsWith("uz");
  const largest = (format: (typeof eight)[number]) => finite.get(format)!.at(-1)!;

  test.each(eight)("%s, saturating", (format) => {
    expect(encodeFloat(format, 0, true)).toBe(0);
    expect(encodeFloat(format, -0, true)).toBe(signBit[format]);
    expect(decodeFloat(format, encodeFloat(format, nan, true))).toBeNaN();
    for (const x of [inf, 1e9, largest(format) * 1.2]) {
      expect(decodeFloat(format, encodeFloat(format, x, true))).toBe(largest(format));
      expect(decodeFloat(format, encodeFloat(format, -x, true))).toBe(-largest(format));
    }
  });

  test.each(eight)("%s, not saturating", (format) => {
    expect(decodeFloat(format, encodeFloat(format, nan))).toBeNaN();
    for (const x of [inf, 1e9, largest(format) * 1.2]) {
      const above = decodeFloat(format, encodeFloat(format, x));
      const below = decodeFloat(format, encodeFloat(format, -x));
      if (format === "f8e5m2") expect([above, below]).toEqual([inf, -inf]);
      else expect([above, below]).toEqual([nan, nan]);
      if (format === "f8e4m3fn") expect(encodeFloat(format, -x)).toBe(0xff);
    }
    // Overflow is decided after rounding.
    const step = largest(format) - finite.get(format)!.at(-2)!;
    expect(decodeFloat(format, encodeFloat(format, largest(format) + step / 4))).toBe(largest(format));
    if (isUz(format)) expect(encodeFloat(format, -(2 ** -30))).toBe(0);
  });

  test("f4e2m1 always saturates", () => {
    expect([inf, -inf, 100, -100, nan, 5.1, -0].map((x) => decodeFloat("f4e2m1", encodeFloat("f4e2m1", x)))).toEqual([
      6, -6, 6, -6, -0, 6, -0,
    ]);
  });

  test("fp6 always saturates", () => {
    const cast = (format: "f6e2m3" | "f6e3m2") =>
      [inf, -inf, 25, -0, nan].map((x) => decodeFloat(format, encodeFloat(format, x)));
    expect(cast("f6e2m3")).toEqual([7.5, -7.5, 7.5, -0, -0]);
    expect(cast("f6e3m2")).toEqual([28, -28, 24, -0, -0]);
  });

  test("f8e8m0 in its three roundings", () => {
    const e8m0 = (x: number, saturate: boolean, mode: "up" | "down" | "nearest") =>
      encodeFloat("f8e8m0", x, saturate, mode);
    // x: up, down, nearest, as exponents of two.
    const cases: [number, number, number, number][] = [
      [1, 0, 0, 0],
      [1.1, 1, 0, 0],
      [1.4999, 1, 0, 0],
      [1.5, 1, 0, 1],
      [nextUp(1), 1, 0, 0],
      [3, 2, 1, 2],
      [0.124, -3, -4, -3],
      [2 ** 127, 127, 127, 127],
      [2 ** -127, -127, -127, -127],
    ];
    for (const [x, up, down, near] of cases)
      for (const saturate of [true, false])
        expect([e8m0(x, saturate, "up"), e8m0(x, saturate, "down"), e8m0(x, saturate, "nearest")]).toEqual([
          up + 127,
          down + 127,
          near + 127,
        ]);
    for (const mode of ["up", "down", "nearest"] as const) {
      expect([0, nan, inf, 2 ** 127.5, 2 ** -130].map((x) => e8m0(x, true, mode))).toEqual([0, 255, 254, 254, 0]);
      expect([0, nan, inf, 2 ** 127.5, 2 ** -130].map((x) => e8m0(x, false, mode))).toEqual([255, 255, 255, 255, 255]);
    }
    // test_cast_e8m0_FLOAT_to_FLOAT8E8M0 of the ONNX backend suite.
    expect([0, 0.124, 0.25, 0.5, 1.1, 2, 4, 8].map((x) => e8m0(x, true, "up"))).toEqual([
      0, 0x7c, 0x7d, 0x7e, 0x80, 0x80, 0x81, 0x82,
    ]);
  });
});

describe("arrays", () => {
  test("f32 and f64 arrays encode as single numbers do", () => {
    const value = fc.oneof(
      fc.float(),
      fc.float({ min: Math.fround(-1e-6), max: Math.fround(1e-6) }),
      fc.constantFrom(0, -0, nan, inf, -inf, 65520, 2 ** -25, 2 ** -134, 2 ** -149),
    );
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 50 }),
        fc.boolean(),
        fc.constantFrom(...rounding, "f8e8m0" as const),
        (values, saturate, format) => {
          const want = values.map((v) => encodeFloat(format, v, saturate));
          for (const array of [Float32Array.from(values), Float64Array.from(values), values]) {
            const out = new Uint16Array(values.length);
            encodeFloats(format, array, out, saturate);
            expect(Array.from(out)).toEqual(want);
          }
        },
      ),
      { numRuns: 3000 },
    );
  }, 60_000);

  test("every f32 whose lower half matters, over all signs and exponents", () => {
    const bits = new Uint32Array(512 * 64);
    for (let i = 0; i < bits.length; i++) bits[i] = ((i >> 6) << 23) | (Math.imul(i, 0x9e3779b1) & 0x7fffff);
    for (let i = 0; i < bits.length; i += 64) {
      bits[i] &= 0xff800000;
      bits[i + 1] = (bits[i + 1] & 0xff800000) | 0x1000;
      bits[i + 2] = (bits[i + 2] & 0xff800000) | 0x8000;
      bits[i + 3] = (bits[i + 3] & 0xff800000) | 0x18000;
      bits[i + 4] |= 0x7fffff;
    }
    const values = new Float32Array(bits.buffer);
    for (const format of sixteen) {
      const out = new Uint16Array(values.length);
      encodeFloats(format, values, out);
      const wrong = out.findIndex((b, i) => b !== encodeFloat(format, values[i]));
      expect(wrong).toBe(-1);
    }
  });

  test("64-bit integers end where they end", () => {
    const store = <T extends BigInt64Array | BigUint64Array>(values: number[], out: T) => {
      storeBigInts(values, out);
      return Array.from(out);
    };
    const [low, high] = [-(2n ** 63n), 2n ** 63n - 1n];
    const values = [inf, 1e30, 2 ** 63, 2 ** 63 - 1024, 2.9, -2.9, nan, -(2 ** 63), -1e30, -inf];
    expect(store(values, new BigInt64Array(10))).toEqual([high, high, high, high - 1023n, 2n, -2n, 0n, low, low, low]);
    const most = 2n ** 64n - 1n;
    const unsigned = [inf, 1e30, 2 ** 64, 2 ** 63, -1, -(2 ** 53), -inf];
    expect(store(unsigned, new BigUint64Array(7))).toEqual([
      ...[most, most, most, 2n ** 63n, most, most - 2n ** 53n + 1n, 2n ** 63n],
    ]);
  });

  test("fromF64 and toF64 over the integer types: truncation, wrapping, NaN", () => {
    const values = [1.9, -1.9, 200, -200, 300.5, nan, 0];
    const back = (dtype: DType, data: Parameters<typeof toF64>[0]["data"]) => {
      fromF64(values, { dtype, data });
      return Array.from(toF64({ dtype, data }));
    };
    expect(back("i8", new Int8Array(7))).toEqual([1, -1, -56, 56, 44, 0, 0]);
    expect(back("u8", new Uint8Array(7))).toEqual([1, 255, 200, 56, 44, 0, 0]);
    expect(back("i4", new Int8Array(7))).toEqual([1, -1, -8, -8, -4, 0, 0]);
    expect(back("u4", new Uint8Array(7))).toEqual([1, 15, 8, 8, 12, 0, 0]);
    expect(back("i2", new Int8Array(7))).toEqual([1, -1, 0, 0, 0, 0, 0]);
    expect(back("u2", new Uint8Array(7))).toEqual([1, 3, 0, 0, 0, 0, 0]);
    expect(back("bool", new Uint8Array(7))).toEqual([1, 1, 1, 1, 1, 1, 0]);
    expect(back("i64", new BigInt64Array(7))).toEqual([1, -1, 200, -200, 300, 0, 0]);
    expect(back("f32", new Float32Array(7)).slice(0, 5)).toEqual(values.slice(0, 5).map(Math.fround));
    expect(back("f8e8m0", new Uint8Array(7))).toEqual([2, 2, 256, 256, 512, nan, 2 ** -127]);
    expect(() => fromF64([1], { dtype: "string", data: [""] })).toThrow();
    expect(() => toF64({ dtype: "string", data: ["1"] })).toThrow();
  });
});

/** The next double above x. */
function nextUp(x: number): number {
  if (x === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  view.setBigInt64(0, view.getBigInt64(0) + (x > 0 ? 1n : -1n));
  return view.getFloat64(0);
}
