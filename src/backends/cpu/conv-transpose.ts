/**
 * Transposed convolution in f32 over 1 to 3 spatial axes, as gemm and col2im by tiles: the moving vectors are the
 * positions of x (one element per channel), the staying ones w's columns (output channel, tap), and each finished tile
 * is added into a padded copy of the output, where every tap of every position has a place. The copy is then cropped.
 */
import { convTranspose, convTransposeGeometry } from "../../ops/conv-transpose.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { HostStep, Kernel, Prepack } from "../backend.ts";
import { kernel } from "../backend.ts";
import { activate } from "./activate.ts";
import { gridOffsets } from "./conv.ts";
import { arithmetic, carve, f32, lanes, packPanels, product, reserveProduct, type Sink, scratch } from "./tile.ts";

/** y[vectors[u] + columns[v]] += sum. */
class ScatterSink implements Sink {
  constructor(
    private readonly y: Float32Array,
    private readonly vectors: Int32Array,
    private readonly columns: Int32Array,
  ) {}

  store(sums: number, u: number, us: number, v: number, vs: number): void {
    const { y, vectors, columns } = this;
    for (let i = 0; i < us; i++) {
      const at = vectors[u + i];
      for (let j = 0; j < vs; j++) y[at + columns[v + j]] += scratch[sums + lanes * i + j];
    }
  }

  finish(): void {}
}

const tiled = kernel<HostStep, typeof convTranspose>(
  convTranspose,
  "cpu/convTranspose/tile2x3",
  ([x, w], [out], attrs) => {
    if (out.dtype !== "f32") return undefined;
    const g = convTransposeGeometry(x, w, attrs);
    const { window, groups } = g;
    const { input, kernel, strides, dilations, padBegin, padEnd, output } = window;
    const xPlane = sizeOf(output);
    if (sizeOf(g.shape) * xPlane * g.channelsOut === 0) return undefined;
    // Negative padding makes the output larger than what the taps reach: the copy holds both.
    const dims = input.map((n, d) => n + padBegin[d] + Math.max(0, padEnd[d]));
    const dimStrides = stridesOf(dims);
    const padded = sizeOf(dims);
    const channels = g.channelsOut / groups;
    const outPerGroup = g.channelsIn / groups;
    const taps = gridOffsets(
      kernel,
      dimStrides.map((s, d) => s * dilations[d]),
    );
    const count = outPerGroup * taps.length;
    const columns = Int32Array.from(
      { length: count },
      (_, i) => Math.floor(i / taps.length) * padded + taps[i % taps.length],
    );
    const positions = gridOffsets(
      output,
      dimStrides.map((s, d) => s * strides[d]),
    );
    const moving = { vectors: arithmetic(xPlane, 1), steps: arithmetic(channels, xPlane) };
    const last = input.length - 1;
    const row = input[last];
    const first = padBegin.reduce((s, p, d) => s + p * dimStrides[d], 0);
    const rows = gridOffsets(input.slice(0, last), dimStrides.slice(0, last));
    const size = count * channels;
    const pack: Prepack["pack"] = (source, packed) => {
      for (let i = 0; i < groups; i++)
        packPanels(f32(source), i * channels * count, count, 1, channels, count, f32(packed), i * size);
    };
    const key = `panels3/convTranspose/${groups}`;
    const type = { dtype: "f32", shape: [groups * size] } as const;
    const prepacked = w.constant !== undefined;
    const space = carve(0, outPerGroup * padded, prepacked ? 0 : groups * size);
    reserveProduct(xPlane, channels);
    return {
      workspaceBytes: space.bytes,
      prepack: prepacked ? [{ input: 1, key, type, moves: true, pack }] : undefined,
      run([x, w, bias], [out], workspace) {
        const { floats } = space.of(workspace);
        const y = f32(out);
        const [canvas] = floats;
        if (!prepacked) pack(w, floats[1]);
        const panels = prepacked ? f32(w) : floats[1];
        const sink = new ScatterSink(canvas, positions, columns);
        let to = 0;
        for (let b = 0; b < g.batch; b++)
          for (let i = 0; i < groups; i++) {
            canvas.fill(0);
            product(f32(x), (b * groups + i) * channels * xPlane, moving, panels, i * size, count, sink);
            for (let m = 0; m < outPerGroup; m++) {
              const shift = bias ? f32(bias)[i * outPerGroup + m] : 0;
              for (let r = 0; r < rows.length; r++) {
                const from = m * padded + first + rows[r];
                for (let c = 0; c < row; c++) y[to + c] = canvas[from + c] + shift;
                to += row;
              }
            }
          }
        activate(attrs.activation, y, 0, y.length);
      },
    };
  },
);

export const convTransposeKernels: Kernel<HostStep>[] = [tiled];
