/**
 * Winograd's method with kernels that are 16-bit floats in memory: 18 bytes each, where transformed ones of F(4x4) take 144.
 * Each thread transforms some tiles of channels, which stay in its second-level cache, and multiplies with them. Where a plane
 * is small that is a fifth of its product, and large kernels come from memory in the time that it takes.
 */
import type { Half } from "../../tensor/dtype.ts";
import { type Expr, i32, type Operand } from "./assembler.ts";
import type { ConvShape } from "./conv-shape.ts";
import { type KernelSource, pointStride } from "./conv-winograd.ts";
import { forBlocks } from "./kernels/blocks.ts";
import { tileRowsOf } from "./kernels/gemm.ts";
import { isSpecialAt, prepackHalves } from "./kernels/half-prepack.ts";
import { dealRows, tallerFrom } from "./kernels/row-deal.ts";
import type { TileSize } from "./kernels/winograd.ts";
import { emitTransform, QUAD_BYTES } from "./kernels/winograd-weights.ts";
import type { WasmTarget } from "./step.ts";

/** Bytes of transformed kernels, if they are more than a tile of channels. */
const mostBytes = 256 * 1024;

/** Places of a tile's kernels, which are in quads. */
const placesOf = (kernels: number): number => (QUAD_BYTES / 2) * Math.ceil(kernels / 4);

export const halfKernels =
  (type: Half) =>
  ({ features: { fma } }: WasmTarget, s: ConvShape, m: TileSize): KernelSource => {
    const { groups, channelsIn: k, channelsOut: rows } = s;
    const tileRows = tileRowsOf(fma);
    const deal = dealRows(rows, tileRows);
    const { tiles, height, taller } = deal;
    const [low, high] = [placesOf(height * k), placesOf((height + 1) * k)];
    /** Of the tiles in front of tile `t`. */
    const placesBefore = (t: Operand<"i32">): Expr<"i32"> =>
      i32.add(i32.mul(t, low), i32.mul(i32.sub(taller, tallerFrom(deal, t)), high - low));
    const ofGroup = tiles * low + taller * (high - low);
    const points = (m + 2) ** 2;
    const tileBytes = 4 * k * (height + 1);
    const most = Math.max(1, Math.floor(mostBytes / points / tileBytes));
    const pointBytes = pointStride(most * tileBytes + 16);
    return {
      bytes: points * pointBytes,
      prepack: prepackHalves(
        1,
        `winograd/${tileRows}/${groups}`,
        type,
        { length: groups * ofGroup, size: 9 * groups * rows * k },
        (put) => {
          for (let i = 0, first = 0, place = 0; i < groups * tiles; i++) {
            const h = height + (i % tiles < taller ? 1 : 0);
            for (let n = 0; n < h * k; n++) {
              const kernel = (first + (n % h)) * k + Math.floor(n / h);
              for (let tap = 0; tap < 9; tap++) put(place + 36 * (n >> 2) + 4 * tap + (n & 3), 9 * kernel + tap);
            }
            first += h;
            place += placesOf(h * k);
          }
        },
      ),
      emit(e, { group, first, last, workspace }, multiply) {
        const { f } = e;
        const weights = e.inputs[1];
        const name = `winograd${m}/kernels/${type}/${pointBytes}`;
        const transform = e.own(name, (module) => emitTransform(module, { name, m, fma, type, pointBytes }));
        const special = isSpecialAt(weights, groups * ofGroup);
        const [tile, isTaller, out] = f.locals("i32", 3);
        const w = f.let(i32.add(i32.shl(i32.add(i32.mul(group, ofGroup), placesBefore(first)), 1), weights));
        forBlocks(f, first, last, most, (t, n) => {
          f.set(out, workspace);
          f.forRange(tile, t, i32.add(t, n), 1, () => {
            f.set(isTaller, i32.lt_s(tile, taller));
            const end = f.let(i32.add(w, i32.add(i32.mul(isTaller, 2 * (high - low)), 2 * low)));
            f.call(transform, { w, end, out, special });
            f.set(w, end);
            f.increment(out, i32.mul(i32.add(isTaller, height), 4 * k));
          });
          multiply(t, n, (point) => i32.add(workspace, i32.mul(point, pointBytes)));
        });
      },
    };
  };
