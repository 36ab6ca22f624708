/**
 * 3x3 convolutions with stride 1 by Winograd's F(2x2, 3x3) (Lavin and Gray, 2015): 16 products a channel where the plain
 * sum for the same 2x2 outputs takes 36. Everything is in doubles, so it rounds no worse than the plain sum. Weights are
 * transformed for each block of tiles, three output channels at a time: kept transformed they would take 16/9 of their
 * memory, and a block is large enough that it costs a tenth.
 */
import { activate } from "./activate.ts";
import { type ConvPlan, type ConvRunner, forEachGroup, isEmpty, padCopy } from "./conv.ts";
import { lanes, reserve, rows, scratch, tile } from "./tile.ts";

/** Of a transformed tile, and of transformed weights. */
const points = 16;

/** Doubles of a block's transformed tiles: what stays in the second-level cache, and at least a few tiles. */
const blockLength = 48 * 1024;
const leastBlock = 16;

/** Fewer channels don't pay for the transforms. */
const leastIn = 8;
const leastOut = 6;
/** Nor do fewer tiles for those of the weights. */
const leastTiles = 8;

export function winogradConv(plan: ConvPlan): ConvRunner | undefined {
  const { g, inPerGroup: channels, outPerGroup, outputPlane } = plan;
  const { kernel, strides, dilations, input, output, padBegin, padEnd } = g.window;
  if (kernel.length !== 2 || kernel.some((k) => k !== 3) || [...strides, ...dilations].some((s) => s !== 1))
    return undefined;
  if (isEmpty(plan) || channels < leastIn || outPerGroup < leastOut) return undefined;
  if ([...padBegin, ...padEnd].some((p) => p < 0)) return undefined;
  const [height, width] = output;
  const tilesAcross = Math.ceil(width / 2);
  const tiles = Math.ceil(height / 2) * tilesAcross;
  if (tiles < leastTiles) return undefined;
  // The last tiles of odd sizes reach past the padding.
  const dims = [2 * Math.ceil(height / 2) + 2, 2 * tilesAcross + 2];
  const paddedPlane = dims[0] * dims[1];
  const copied = { ...plan, padded: true, paddedPlane, copy: padCopy(input, dims, padBegin) };
  const wanted = Math.max(leastBlock, Math.floor(blockLength / points / channels / rows) * rows);
  const block = Math.min(wanted, Math.ceil(tiles / rows) * rows);
  const moving = points * lanes * channels;
  const products = moving + points * block * channels;
  reserve(products + points * block * lanes);
  return {
    floats: channels * paddedPlane,
    run(x, zero, weights, y, { bias, residual, activation }, floats) {
      forEachGroup(copied, x, zero, floats, (source, from, group, image) => {
        const first = group * outPerGroup;
        const plane = (image * g.channelsOut + first) * outputPlane;
        for (let t0 = 0; t0 < tiles; t0 += block) {
          const count = Math.min(block, tiles - t0);
          transformTiles(source, from, t0, count, tilesAcross, dims[1], paddedPlane, channels, moving, block);
          for (let v = 0; v < outPerGroup; v += lanes) {
            const vs = Math.min(lanes, outPerGroup - v);
            transformWeights(weights, (first + v) * channels * 9, vs, channels);
            multiply(channels, count, moving, block, products);
            for (let j = 0; j < vs; j++) {
              const m = v + j;
              const shift = bias ? bias[first + m] : 0;
              store(products + j, block, t0, count, tilesAcross, height, width, shift, y, plane + m * outputPlane);
            }
          }
        }
        const end = plane + outPerGroup * outputPlane;
        if (residual) for (let i = plane; i < end; i++) y[i] += residual[i];
        activate(activation, y as Float32Array, plane, end);
      });
    },
  };
}

/** B^T d B of `count` tiles, for each point in panels of 4 tiles: [point][tile / 4][channel][4]. */
function transformTiles(
  x: Float32Array,
  from: number,
  t0: number,
  count: number,
  across: number,
  row: number,
  plane: number,
  channels: number,
  to: number,
  block: number,
): void {
  const s = scratch;
  const step = block * channels;
  for (let t = 0; t < block; t++) {
    // Lanes past the last tile repeat it.
    const n = t0 + Math.min(t, count - 1);
    let at = from + 2 * Math.floor(n / across) * row + 2 * (n % across);
    let w = to + (t - (t % rows)) * channels + (t % rows);
    if (t - (t % rows) >= count) return;
    for (let c = 0; c < channels; c++, at += plane, w += rows) {
      const r1 = at + row;
      const r2 = r1 + row;
      const r3 = r2 + row;
      let o = w;
      for (let i = 0; i < 4; i++) {
        // One row of B^T d: rows 0 - 2, 1 + 2, 2 - 1, 1 - 3.
        const p = i === 0 ? at : i === 2 ? r2 : r1;
        const q = i === 3 ? r3 : i === 2 ? r1 : r2;
        const sign = i === 1 ? 1 : -1;
        const d0 = x[p] + sign * x[q];
        const d1 = x[p + 1] + sign * x[q + 1];
        const d2 = x[p + 2] + sign * x[q + 2];
        const d3 = x[p + 3] + sign * x[q + 3];
        s[o] = d0 - d2;
        s[o + step] = d1 + d2;
        s[o + 2 * step] = d2 - d1;
        s[o + 3 * step] = d1 - d3;
        o += 4 * step;
      }
    }
  }
}

/** G g G^T of up to three output channels: [point][channel][3] from 0. Missing ones are 0. */
function transformWeights(w: Float32Array, from: number, vs: number, channels: number): void {
  const s = scratch;
  const step = lanes * channels;
  if (vs < lanes) s.fill(0, 0, points * step);
  for (let v = 0; v < vs; v++)
    for (let c = 0; c < channels; c++) {
      const g = from + (v * channels + c) * 9;
      let o = c * lanes + v;
      for (let i = 0; i < 4; i++) {
        // One row of G g: rows 0, (0 + 1 + 2) / 2, (0 - 1 + 2) / 2, 2.
        let g0: number;
        let g1: number;
        let g2: number;
        if (i === 0 || i === 3) {
          const r = i === 0 ? g : g + 6;
          g0 = w[r];
          g1 = w[r + 1];
          g2 = w[r + 2];
        } else {
          const sign = i === 1 ? 1 : -1;
          g0 = (w[g] + sign * w[g + 3] + w[g + 6]) / 2;
          g1 = (w[g + 1] + sign * w[g + 4] + w[g + 7]) / 2;
          g2 = (w[g + 2] + sign * w[g + 5] + w[g + 8]) / 2;
        }
        const outer = (g0 + g2) / 2;
        const inner = g1 / 2;
        s[o] = g0;
        s[o + step] = outer + inner;
        s[o + 2 * step] = outer - inner;
        s[o + 3 * step] = g2;
        o += 4 * step;
      }
    }
}

/** For each point the products of all tiles with three channels: [point][tile][3] from `to`. */
function multiply(channels: number, count: number, moving: number, block: number, to: number): void {
  for (let p = 0; p < points; p++) {
    const staying = p * lanes * channels;
    const tiles = moving + p * block * channels;
    const out = to + p * block * lanes;
    for (let t = 0; t < count; t += rows) tile(staying, tiles + t * channels, channels, out + t * lanes, false);
  }
}

/** A^T m A of one output channel, cut at the edges. */
function store(
  from: number,
  block: number,
  t0: number,
  count: number,
  across: number,
  height: number,
  width: number,
  shift: number,
  y: Float32Array | Int32Array,
  plane: number,
): void {
  const s = scratch;
  const p = block * lanes;
  for (let t = 0; t < count; t++) {
    const m = from + t * lanes;
    const r = 2 * Math.floor((t0 + t) / across);
    const c = 2 * ((t0 + t) % across);
    let upper0 = shift;
    let upper1 = shift;
    let lower0 = shift;
    let lower1 = shift;
    for (let i = 0; i < 4; i++) {
      const at = m + 4 * i * p;
      const m1 = s[at + p];
      const m2 = s[at + 2 * p];
      const left = s[at] + m1 + m2;
      const right = m1 - m2 - s[at + 3 * p];
      // A^T: rows 0 + 1 + 2 above, 1 - 2 - 3 below.
      if (i < 3) {
        upper0 += left;
        upper1 += right;
      }
      if (i === 1) {
        lower0 += left;
        lower1 += right;
      } else if (i > 1) {
        lower0 -= left;
        lower1 -= right;
      }
    }
    const o = plane + r * width + c;
    y[o] = upper0;
    if (c + 1 < width) y[o + 1] = upper1;
    if (r + 1 < height) {
      y[o + width] = lower0;
      if (c + 1 < width) y[o + width + 1] = lower1;
    }
  }
}
