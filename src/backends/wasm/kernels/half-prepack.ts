/** Layouts of constant weights that stay 16-bit floats. */
import type { Half } from "../../../tensor/dtype.ts";
import type { Prepack } from "../../backend.ts";
import { type Expr, i32 } from "../assembler.ts";
import { isSpecial } from "./half.ts";

/** Halves behind the weights: the first tells whether f16 are all finite. Kernels read up to eight at a time. */
export const tailHalves = 8;

/**
 * @param length places, the last of which may be empty
 * @param size weights
 * @param visit calls its argument with the place of each weight and the weight
 */
export function prepackHalves(
  input: number,
  key: string,
  type: Half,
  { length, size }: { length: number; size: number },
  visit: (put: (at: number, weight: number) => void) => void,
): Prepack {
  return {
    input,
    key: `halves/${type}/${key}`,
    type: { dtype: "u16", shape: [length + tailHalves] },
    stored: true,
    pack(source, packed) {
      let special = 0;
      packed.fill(0 as never);
      visit((at, weight) => {
        const bits = source[weight] as number;
        packed[at] = bits;
        if (isSpecial(bits)) special = 1;
      });
      packed[length] = special;
    },
    unpack(packed) {
      const source = new Uint16Array(size);
      visit((at, weight) => {
        source[weight] = packed[at] as number;
      });
      return source;
    },
  };
}

/** Whether infinities or NaNs are among weights of `length` places. */
export const isSpecialAt = (weights: number, length: number): Expr<"i32"> => i32.load16_u(weights, 2 * length);
