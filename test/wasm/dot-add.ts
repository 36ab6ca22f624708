import { afterAll, beforeAll, vi } from "vitest";
import { type Expr, f32x4, i8x16, i16x8, i32x4 } from "../../src/backends/wasm/assembler.ts";

/**
 * What processors compute whose dot products take a 7-bit operand of 8 bits for that, and the rest of relaxed SIMD, out of the
 * instructions that every host has: in the tests of a `describe`.
 */
export function standIn(dotAdd: "unsigned" | "signed"): void {
  beforeAll(() => {
    // Instructions are there once they have been looked at.
    void [f32x4.relaxed_madd, i16x8.relaxed_dot_i8x16_i7x16_s, i32x4.relaxed_dot_i8x16_i7x16_add_s];
    vi.spyOn(f32x4, "relaxed_madd").mockImplementation((a, b, c) => f32x4.add(f32x4.mul(a, b), c));
    const low = dotAdd === "signed" ? i16x8.extend_low_i8x16_s : i16x8.extend_low_i8x16_u;
    const high = dotAdd === "signed" ? i16x8.extend_high_i8x16_s : i16x8.extend_high_i8x16_u;
    const pairs = (a: Expr<"v128">, b: Expr<"v128">) =>
      [
        i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(a), low(b)),
        i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(a), high(b)),
      ] as const;
    vi.spyOn(i16x8, "relaxed_dot_i8x16_i7x16_s").mockImplementation((a, b) => i16x8.narrow_i32x4_s(...pairs(a, b)));
    vi.spyOn(i32x4, "relaxed_dot_i8x16_i7x16_add_s").mockImplementation((a, b, c) => {
      const every = (first: number) => Array.from({ length: 16 }, (_, i) => 8 * (i >> 2) + first + (i & 3));
      return i32x4.add(i32x4.add(i8x16.shuffle(...pairs(a, b), every(0)), i8x16.shuffle(...pairs(a, b), every(4))), c);
    });
  });
  afterAll(() => vi.restoreAllMocks());
}
