/** Pictures at another size, byte for byte as Pillow makes them: what models of Hugging Face were trained and judged with. */
import type { Pixels, Region } from "./image.ts";

interface Kernel {
  /** Half its width, in new pixels, or in old ones where they are larger. */
  readonly support: number;
  of(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const kernels = {
  nearest: undefined,
  lanczos: { support: 3, of: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  bilinear: { support: 1, of: (x) => Math.max(0, 1 - Math.abs(x)) },
  /** Of Keys, with a = -1/2. */
  bicubic: {
    support: 2,
    of(x) {
      const d = Math.abs(x);
      if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
      return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
    },
  },
  box: { support: 0.5, of: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  hamming: { support: 1, of: (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0) },
} satisfies Record<string, Kernel | undefined>;

export type Filter = keyof typeof kernels;

/** In the order of Pillow's numbers for them. */
export const filters = Object.keys(kernels) as Filter[];

/** Old pixels that a new one is made of, `from` on, and their shares. None beyond the edges, where it is black. */
interface Taps {
  readonly from: number;
  readonly weights: readonly number[];
}

/** Pillow's weights are whole numbers of this. Sums of them are exact in doubles, and rounded as Pillow rounds. */
const unit = 2 ** -22;
const toByte = (v: number): number => Math.min(255, Math.max(0, Math.floor(v + 0.5)));

/**
 * A region at another size as if it were an image of its own, RGB [height, width, 3]. Filtered as wide as a new pixel: first
 * rows, then columns, each rounded to bytes.
 * @param region whole pixels within the image
 * @param window the part of the new pixels that is wanted; beyond their edges it is black. Default: all
 */
export function resample(
  image: Pixels,
  region: Region,
  height: number,
  width: number,
  filter: Filter = "bilinear",
  window: Region = { x: 0, y: 0, width, height },
): Uint8Array {
  const stored = image.data.length / (image.width * image.height);
  const columns = tapsOf(filter, region.width, width, window.x, window.width);
  const rows = tapsOf(filter, region.height, height, window.y, window.height);
  const out = new Uint8Array(window.height * window.width * 3);
  const lines = new Map<number, Uint8Array>();
  /** A row of the region at the new width. */
  const line = (y: number): Uint8Array => {
    const known = lines.get(y);
    if (known) return known;
    const l = new Uint8Array(window.width * 3);
    columns.forEach(({ from, weights }, x) => {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        let at = ((region.y + y) * image.width + region.x + from) * stored + (stored === 1 ? 0 : c);
        for (let k = 0; k < weights.length; k++, at += stored) sum += weights[k] * image.data[at];
        l[3 * x + c] = toByte(sum);
      }
    });
    lines.set(y, l);
    return l;
  };
  rows.forEach(({ from, weights }, y) => {
    for (const old of lines.keys()) if (old < from) lines.delete(old);
    const parts = weights.map((_, k) => line(from + k));
    const start = y * window.width * 3;
    for (let i = 0; i < window.width * 3; i++) {
      let sum = 0;
      for (let k = 0; k < parts.length; k++) sum += weights[k] * parts[k][i];
      out[start + i] = toByte(sum);
    }
  });
  return out;
}

/**
 * For `wanted` new pixels, from the one at `first` on.
 * @param length how many old pixels become `count` new ones
 */
function tapsOf(filter: Filter, length: number, count: number, first: number, wanted: number): Taps[] {
  const scale = length / count;
  const kernel: Kernel | undefined = kernels[filter];
  const stretch = Math.max(scale, 1);
  // Pillow walks to the nearest pixels step by step: on the border of two the sum of the steps decides, not the product.
  let [walked, steps] = [scale / 2, 0];
  return Array.from({ length: wanted }, (_, i) => {
    const place = first + i + 0.5;
    if (place < 0 || place > count) return { from: 0, weights: [] };
    if (!kernel) {
      for (; steps + 1 <= place; steps++) walked += scale;
      return { from: Math.min(length - 1, Math.floor(walked)), weights: [1] };
    }
    const center = place * scale;
    const support = kernel.support * stretch;
    const from = Math.max(0, Math.floor(center - support + 0.5));
    const to = Math.min(length, Math.floor(center + support + 0.5));
    const raw = Array.from({ length: to - from }, (_, k) => kernel.of((from + k - center + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { from, weights: raw.map((w) => Math.sign(w) * Math.floor(Math.abs(w / sum) / unit + 0.5) * unit) };
  });
}
