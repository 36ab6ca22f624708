import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  dequantize,
  ggufTypes,
  type QuantizableType,
  quantize,
  readGguf,
  writeGguf,
} from "../../src/formats/gguf/index.ts";
import { bytesSource } from "../../src/formats/source.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { encodeFloat, f16ToNumber, numberToF16 } from "../../src/tensor/float.ts";

const scaled = ["Q8_0", "Q4_0", "Q4_K", "Q6_K"] as const;
const roundTrip = (type: QuantizableType, x: Float32Array) => dequantize(type, quantize(type, x), x.length);

/** Standard normal values, from a fixed seed. */
function normal(n: number): Float32Array {
  let seed = 1;
  const uniform = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed + 1) / (2 ** 32 + 1);
  };
  return new Float32Array(n).map(() => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

const squares = (x: ArrayLike<number>, y: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] - y[i]) ** 2;
  return sum;
};

/** What the range of each group alone gives, without a search and with ideal scales: q in [0, levels] over [low, high]. */
function byRange(x: Float32Array, group: number, levels: number, symmetric: boolean): Float32Array {
  const out = new Float32Array(x.length);
  for (let g = 0; g < x.length; g += group) {
    const part = x.subarray(g, g + group);
    let low = Math.min(0, ...part);
    let high = Math.max(0, ...part);
    if (symmetric) high = -(low = -Math.max(high, -low));
    const d = (high - low) / levels;
    for (let i = g; i < g + group; i++) out[i] = d ? Math.min(levels, Math.round((x[i] - low) / d)) * d + low : 0;
  }
  return out;
}

describe("quality on normally distributed weights", () => {
  const x = normal(1 << 14);
  const power = squares(x, new Float32Array(x.length));
  // Relative root mean square error: the figures of these quantisers on this sample, with 2% of room.
  test.each([
    ["Q8_0", 0.00546],
    ["Q4_0", 0.0827],
    ["Q4_K", 0.0727],
    ["Q6_K", 0.01765],
  ] as const)("%s", (type, bound) => {
    expect(Math.sqrt(squares(x, roundTrip(type, x)) / power)).toBeLessThan(bound);
  });

  test("the search beats rounding over the range", () => {
    expect(squares(x, roundTrip("Q4_0", x))).toBeLessThan(0.9 * squares(x, byRange(x, 32, 15, true)));
    expect(squares(x, roundTrip("Q4_K", x))).toBeLessThan(0.95 * squares(x, byRange(x, 32, 15, false)));
  });
});

describe("properties", () => {
  /** Blocks of values of one magnitude, each with elements that are zero, small or at the limit. */
  const blocks = (size: number) =>
    fc
      .tuple(
        fc.integer({ min: -12, max: 30 }),
        fc.array(fc.oneof(fc.double({ min: -1, max: 1, noNaN: true }), fc.constantFrom(0, 1, -1)), {
          minLength: size,
          maxLength: size,
        }),
      )
      .map(([e, values]) => Float32Array.from(values, (v) => v * 2 ** (e / 2)));
  const largestOf = (x: Float32Array) => x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);

  // Largest error over the largest magnitude in a block: half a step, plus the rounding of the scale to f16, for Q8_0. The
  // others trade the extremes for the bulk, and clip up to a step at the end that has no level of its own.
  test.each([
    ["Q8_0", 0.5 / 127 + 2 ** -10],
    ["Q4_0", 0.25],
    ["Q4_K", 0.2],
    ["Q6_K", 0.06],
  ] as const)(
    "%s stays near every value",
    (type, bound) => {
      fc.assert(
        fc.property(blocks(ggufTypes[type].blockSize), (x) => {
          const y = roundTrip(type, x);
          const limit = largestOf(x) * bound + 1e-6;
          expect(largestOf(x.map((v, i) => v - y[i]))).toBeLessThanOrEqual(limit);
        }),
        { numRuns: 300 },
      );
    },
    60_000,
  );

  test("what a type can hold exactly comes back exactly", () => {
    // Multiples of a power of two by every level of the type, the extreme one included.
    const ramp = (n: number, low: number, levels: number, d: number) =>
      Float32Array.from({ length: n }, (_, i) => d * (low + (i % levels)));
    for (const d of [1, 0.25, 8]) {
      expect(roundTrip("Q8_0", ramp(32, -127, 32, d))).toEqual(ramp(32, -127, 32, d));
      expect(roundTrip("Q4_0", ramp(32, -8, 16, d))).toEqual(ramp(32, -8, 16, d));
    }
    for (const type of scaled) expect(roundTrip(type, new Float32Array(256))).toEqual(new Float32Array(256));
  });

  test("F16 and BF16 round each element", () => {
    fc.assert(
      fc.property(fc.array(fc.float(), { maxLength: 40 }), (values) => {
        const x = Float32Array.from(values);
        expect(roundTrip("F32", x)).toEqual(x);
        const fits = (infinity: number, bits: number, v: number) => (bits & 0x7fff) !== infinity || !Number.isFinite(v);
        const halves = x.filter((v) => fits(0x7c00, numberToF16(v), v));
        expect(roundTrip("F16", halves)).toEqual(halves.map((v) => f16ToNumber(numberToF16(v))));
        const brains = x.filter((v) => fits(0x7f80, encodeFloat("bf16", v), v));
        expect(new Uint16Array(quantize("BF16", brains).buffer)).toEqual(
          Uint16Array.from(brains, (v) => encodeFloat("bf16", v)),
        );
      }),
    );
  });

  test("tiny and large values stay finite", () => {
    for (const type of scaled)
      for (const scale of [1e-38, 1e-9, 1e-7, 1e4]) {
        const y = roundTrip(
          type,
          normal(256).map((v) => v * scale),
        );
        expect(y.every(Number.isFinite)).toBe(true);
      }
  });

  test("lengths that do not fill blocks, and values that are not finite, are refused", () => {
    for (const type of scaled) {
      expect(() => quantize(type, new Float32Array(ggufTypes[type].blockSize - 1))).toThrow(InputError);
      for (const bad of [Number.NaN, Infinity, -Infinity])
        expect(() => quantize(type, new Float32Array(256).fill(bad, 7, 8))).toThrow(/element 7/);
    }
  });

  test("finite values that a type cannot hold are refused, with the largest of them", () => {
    const with1 = (at: number, v: number): Float32Array => {
      const x = normal(512);
      x[at] = v;
      return x;
    };
    const message = (type: string, v: string) => new RegExp(`^${type}: element 300 is ${v}, .* F32 holds? it$`);
    expect(() => quantize("F16", with1(300, 65520))).toThrow(message("F16", "65520"));
    expect(() => quantize("F16", with1(300, -1e6))).toThrow(message("F16", "-1000000"));
    expect(roundTrip("F16", with1(300, 65519))[300]).toBe(65504);
    expect(() => quantize("BF16", with1(300, 3.4e38))).toThrow(message("BF16", "3.39.*e.38"));
    for (const type of ["F16", "BF16"] as const) expect(roundTrip(type, with1(3, Infinity))[3]).toBe(Infinity);
    for (const type of scaled) {
      for (const v of [1e9, -1e38]) expect(() => quantize(type, with1(300, v))).toThrow(InputError);
      expect(() => quantize(type, with1(300, 1e9))).toThrow(message(type, "1000000000"));
    }
    // A block's scale is a fraction of its largest value.
    expect(roundTrip("Q8_0", with1(300, 8e6))[300]).toBeCloseTo(8e6, -4);
  });

  test("other types and arrays are refused", () => {
    for (const type of ["q8_0", "f32", "Q4_1", "toString", undefined])
      expect(() => quantize(type as never, new Float32Array(256))).toThrow(/ is none of F32, F16, BF16, Q8_0/);
    for (const x of [[1, 2], new Float64Array(32)])
      expect(() => quantize("F32", x as never)).toThrow(/elements of a Float32Array/);
    expect(() => dequantize("q8_0" as never, new Uint8Array(34), 32)).toThrow(/"q8_0" is no tensor type.*Q8_0/);
    expect(() => dequantize("F32", [0, 0, 0, 0] as never, 1)).toThrow(InputError);
  });

  test("through a file", async () => {
    const x = normal(1024);
    const tensors = new Map(
      (["F32", "F16", "BF16", ...scaled] as const).map((type) => [
        type,
        { type, shape: [2, 512], bytes: quantize(type, x) },
      ]),
    );
    const file = await readGguf(bytesSource(writeGguf({ metadata: new Map(), tensors })));
    for (const [type, t] of file.tensors) expect(await t.dequantize()).toEqual(roundTrip(type as QuantizableType, x));
  });
});
