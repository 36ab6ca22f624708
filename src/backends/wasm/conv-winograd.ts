/**
 * 3x3 convolution with stride 1 by Winograd's method (kernels/winograd.ts). Tiles are to it what outputs are to the
 * product (conv-gemm.ts): windows of m + 2 with stride m, staged and packed by the same code, in blocks of whole rows of
 * tiles. Then one product for each point, and the transform back.
 *
 * Threads that divide channels each transform all inputs. Staging and transforming are this part of a step on one thread
 * (Node 24, with and without them in turn, lower quartile of 25 runs): 4 to 10% in squeezenet, 3 to 15% in inception, 3 to 13%
 * in resnet50, the most where planes are large and channels few. That is 0.21 of 11.2 ms, 1.3 of 49.6 and 1.7 of 133. Two
 * threads that transformed half each would save half of it at most, 0.7 to 1.3% of the one thread's time, before they meet once
 * more in each step and read from the other core what it wrote (decision 013: 7 to 25 GB/s, 300 kB where a plane is 14 x 14
 * with 256 channels, 12 to 40 of the 55 microseconds that are saved there). Estimated, not built.
 */
import type { Prepack } from "../backend.ts";
import { type Expr, i32, type Local, type Operand } from "./assembler.ts";
import { productFunction } from "./conv-gemm.ts";
import { axisKey, type ConvForm, type ConvShape, formKey, isSingle, planeSize, workOf } from "./conv-shape.ts";
import { activationVector } from "./kernels/activations.ts";
import { atMost, forBlocks } from "./kernels/blocks.ts";
import { emitFinishRows } from "./kernels/conv-finish.ts";
import { packFunction } from "./kernels/conv-pack.ts";
import { type Axis, clearStage, stageBlock, stageBytes, stagedSource } from "./kernels/conv-stage.ts";
import { SCRATCH_BYTES, tileRowsOf } from "./kernels/gemm.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { packRows, tileGroup } from "./kernels/gemm-prepacked.ts";
import { splat } from "./kernels/math.ts";
import { dealRows, rowsBefore, tallerFrom } from "./kernels/row-deal.ts";
import { emitUntile, kernelTransformer, packTiles, type TileSize } from "./kernels/winograd.ts";
import { alignUp } from "./memory.ts";
import { addressOf, productWork, type StepEmitter, type WasmStep, type WasmTarget } from "./step.ts";

/** Bytes that a block's transformed inputs and sums may take. */
const blockBytes = 1200 * 1024;

/** The axis of tiles. */
const tiled = (a: Axis, m: TileSize): Axis => ({
  ...a,
  kernel: m + 2,
  stride: m,
  output: Math.ceil(a.output / m),
});

interface Layout {
  readonly m: TileSize;
  readonly rows: Axis;
  readonly columns: Axis;
  /** Rows of tiles in a block. */
  readonly blockRows: number;
  /** Panels of eight tiles that the whole plane takes, block by block. */
  readonly panels: number;
  readonly blockPanels: number;
}

function layoutOf(s: ConvShape, m: TileSize): Layout {
  const rows = tiled(s.rows, m);
  const columns = tiled(s.columns, m);
  const panelsOf = (n: number): number => Math.ceil((n * columns.output) / PANEL_COLUMNS);
  const panelBytes = 4 * (m + 2) ** 2 * (s.channelsIn + s.channelsOut) * PANEL_COLUMNS;
  const total = (n: number): number => Math.floor(rows.output / n) * panelsOf(n) + panelsOf(rows.output % n);
  let blockRows = 1;
  for (let n = 2; n <= rows.output && panelsOf(n) * panelBytes <= blockBytes; n++)
    if (total(n) <= total(blockRows)) blockRows = n;
  return { m, rows, columns, blockRows, panels: total(blockRows), blockPanels: panelsOf(blockRows) };
}

/**
 * Estimated cycles. Multiply-adds go eight at a time; weights come from memory or the last level of cache once for each
 * block; the transforms' costs are measured, for each tile and channel.
 */
const bytesPerCycle = 8;
const transformCycles: Record<TileSize, number> = { 2: 8, 4: 25 };

function winogradCycles(s: ConvShape, l: Layout): number {
  const points = (l.m + 2) ** 2;
  const tiles = l.panels * PANEL_COLUMNS;
  const blocks = Math.ceil(l.rows.output / l.blockRows);
  const product = (points * tiles * s.channelsIn * s.channelsOut) / 8;
  const weights = (4 * points * s.channelsIn * s.channelsOut * blocks) / bytesPerCycle;
  return product + weights + tiles * (s.channelsIn + s.channelsOut) * transformCycles[l.m];
}

function gemmCycles(s: ConvShape): number {
  const panels = Math.ceil(planeSize(s) / PANEL_COLUMNS);
  const k = 9 * s.channelsIn;
  return panels * k * (s.channelsOut + PANEL_COLUMNS) + (4 * k * s.channelsOut) / bytesPerCycle;
}

/** Products with transformed kernels of `tiles` tiles of channels from tile `first` on; `at`: where those of a point are. */
type Multiply = (first: Operand<"i32">, tiles: Operand<"i32">, at: (point: Local<"i32">) => Expr<"i32">) => void;

/** Where transformed kernels come from. */
export interface KernelSource {
  readonly prepack: Prepack;
  /** That it takes of each thread's workspace. */
  readonly bytes: number;
  /** Multiplies with the kernels of tiles [first, last) of a group, in one run or several. */
  emit(
    e: StepEmitter,
    kernels: { group: Local<"i32">; first: Operand<"i32">; last: Operand<"i32">; workspace: Expr<"i32"> },
    multiply: Multiply,
  ): void;
}

/** Kernels whose points are copied together: so many take 9 kB. */
const blockKernels = 64;

/** They are in memory. */
function transformed({ features }: WasmTarget, s: ConvShape, m: TileSize): KernelSource {
  const points = (m + 2) ** 2;
  const { channelsIn: k, channelsOut: rows, groups } = s;
  const tileRows = tileRowsOf(features.fma);
  const deal = dealRows(rows, tileRows);
  const size = groups * rows * k;
  return {
    bytes: 0,
    prepack: {
      input: 1,
      key: `winograd${m}/${tileRows}/${groups}`,
      type: { dtype: "f32", shape: [points * size] },
      pack(source, packed) {
        const [w, out] = [source as Float32Array, packed as Float32Array];
        const transform = kernelTransformer(m);
        // Points lie a power of two apart, which one set of the cache does not hold: some kernels' are copied together.
        const block = new Float32Array(points * blockKernels);
        let filled = 0;
        let done = 0;
        const flush = (): void => {
          for (let p = 0; p < points; p++)
            out.set(block.subarray(p * blockKernels, p * blockKernels + filled), p * size + done);
          done += filled;
          filled = 0;
        };
        packRows({ groups, rows, k, tileRows }, (_, first, height) => {
          for (let q = 0; q < k; q++)
            for (let i = 0; i < height; i++) {
              transform(w, 9 * ((first + i) * k + q), block, filled++, blockKernels);
              if (filled === blockKernels) flush();
            }
        });
        flush();
      },
    },
    emit(e, { group, first, last }, multiply) {
      const channel = i32.add(i32.mul(group, rows), rowsBefore(deal, first));
      const weights = e.f.let(i32.add(i32.mul(channel, 4 * k), e.inputs[1]));
      multiply(first, i32.sub(last, first), (point) => i32.add(weights, i32.mul(point, 4 * size)));
    },
  };
}

/** Whether F(m x m, 3x3) applies, and is the fastest way. */
export function winogradConv(
  target: WasmTarget,
  s: ConvShape,
  form: ConvForm,
  m: TileSize,
  kernelsOf = transformed,
): WasmStep | undefined {
  const fits = [s.rows, s.columns].every((a) => a.kernel === 3 && a.stride === 1 && a.dilation === 1);
  if (!fits || !isSingle(s.depth)) return undefined;
  const layout = layoutOf(s, m);
  const cycles = winogradCycles(s, layout);
  const other = layoutOf(s, m === 2 ? 4 : 2);
  if (cycles > gemmCycles(s) || cycles > winogradCycles(s, other)) return undefined;
  const kernels = kernelsOf(target, s, m);
  const memory = memoryOf(s, layout, kernels.bytes);
  return {
    workspaceBytes: memory.bytes * target.threads,
    work: productWork(workOf(s)),
    prepack: [kernels.prepack],
    emit: (e) => emitWinograd(e, s, form, layout, memory, kernels),
  };
}

/** From one point to the next: an odd number of cache lines, so that the points of a tile don't share a set of the cache. */
export const pointStride = (bytes: number): number => (Math.ceil(bytes / 64) | 1) * 64;

/** The workspace of one thread, part after part. */
function memoryOf(s: ConvShape, l: Layout, kernels: number) {
  const points = (l.m + 2) ** 2;
  const tiles = l.blockPanels * PANEL_COLUMNS;
  const source = stagedSource(l.rows, l.columns, l.blockRows);
  const rowBytes = alignUp(4 * l.m * l.columns.output);
  const inputPoint = pointStride(4 * s.channelsIn * tiles);
  const sumPoint = pointStride(4 * s.channelsOut * tiles);
  const sizes = {
    scratch: SCRATCH_BYTES,
    offsets: alignUp(4 * tiles),
    /** Rows of outputs of one channel; then room for tiles that are none. */
    plane: (l.blockRows + 1) * l.m * rowBytes + 64,
    stage: stageBytes(source, s.channelsIn),
    inputs: points * inputPoint,
    sums: points * sumPoint,
    kernels,
  };
  const bytes = Object.values(sizes).reduce((sum, n) => sum + n, 0);
  return { source, tiles, rowBytes, inputPoint, sumPoint, sizes, bytes: alignUp(bytes) };
}

type Split = "planes" | "rows" | "channels";

function splitOf(s: ConvShape, l: Layout, threads: number): Split {
  if (threads === 1) return "rows";
  const planes = s.batch * s.groups;
  if (planes % threads === 0 || planes >= 4 * threads) return "planes";
  return l.rows.output % threads === 0 && l.rows.output >= l.blockRows * threads ? "rows" : "channels";
}

function emitWinograd(
  e: StepEmitter,
  s: ConvShape,
  form: ConvForm,
  layout: Layout,
  memory: ReturnType<typeof memoryOf>,
  kernels: KernelSource,
): void {
  const { f } = e;
  const [x, , bias, residual] = e.inputs;
  const [y] = e.outputs;
  const { m, rows, columns, blockRows } = layout;
  const { source, tiles, rowBytes, inputPoint, sumPoint, sizes } = memory;
  const { channelsIn: k, channelsOut: outs } = s;
  const fma = e.target.features.fma;
  const points = (m + 2) ** 2;
  const deal = dealRows(outs, tileRowsOf(fma));
  const key = `winograd${m}/${axisKey(rows)}/${axisKey(columns)}/${k}x${outs}x${tiles}`;
  const product = productFunction(e, { bias: false, residual: false });
  const pack = packFunction(e, {
    name: `${key}/pack`,
    source,
    width: columns.output,
    height: rows.output,
    slice: packTiles(m, fma, source, inputPoint),
  });
  const untile = e.own(`${key}/untile`, (module) =>
    emitUntile(module, { name: `${key}/untile`, m, fma, pointBytes: sumPoint, rowBytes }),
  );
  const width = s.columns.output;
  const finishKey = `finish/${width}/${rowBytes}${formKey(form)}`;
  const activation = form.activation && activationVector(form.activation).make;
  const finish = e.own(finishKey, (module) =>
    emitFinishRows(module, { name: finishKey, width, rowBytes, bias: form.bias, residual: form.residual, activation }),
  );

  const scratch = f.let(i32.add(addressOf(e.workspace, e.thread, memory.bytes), 0));
  const offsets = f.let(i32.add(scratch, sizes.scratch));
  const plane = f.let(i32.add(offsets, sizes.offsets));
  const stage = f.let(i32.add(plane, sizes.plane));
  const inputs = f.let(i32.add(stage, sizes.stage));
  const sums = f.let(i32.add(inputs, sizes.inputs));
  clearStage(e, stage, sizes.stage, splat(0));

  const split = splitOf(s, layout, e.target.threads);
  const shareOf = (wanted: Split, total: number) => (wanted === split ? e.share(total) : { from: 0, to: total });
  const { from: firstImage, to: lastImage } = shareOf("planes", s.batch * s.groups);
  const { from: firstRow, to: lastRow } = shareOf("rows", rows.output);
  const { from: firstTile, to: lastTile } = shareOf("channels", deal.tiles);
  const firstOut = f.let(i32.add(rowsBefore(deal, firstTile), 0));
  const lastOut = f.let(i32.add(rowsBefore(deal, lastTile), 0));

  const inputPlane = 4 * s.rows.input * s.columns.input;
  const outputPlane = 4 * planeSize(s);
  const [image, p, o, count] = f.locals("i32", 4);
  emitOffsets(e, offsets, layout, memory);
  f.forRange(image, firstImage, lastImage, 1, () => {
    const from = f.let(i32.add(i32.mul(image, k * inputPlane), x));
    const group = f.let(i32.rem_u(image, s.groups));
    forBlocks(f, firstRow, lastRow, blockRows, (row, n) => {
      // Whole panels: what is beyond the last tile is computed and dropped.
      f.set(count, i32.and(i32.add(i32.mul(n, columns.output), PANEL_COLUMNS - 1), -PANEL_COLUMNS));
      const base = stageBlock(
        e,
        source.stage!,
        stage,
        { first: row, outputs: n },
        [{ from, fromSlice: inputPlane, toSlice: source.sliceBytes, count: k }],
        source.sliceBytes,
        splat(0),
      );
      const first = f.let(i32.mul(row, columns.output));
      f.forRange(p, 0, count, PANEL_COLUMNS, () =>
        f.call(pack, {
          pixel: i32.add(first, p),
          base,
          firstRow: row,
          slices: k,
          out: i32.add(inputs, i32.mul(p, 4 * k)),
        }),
      );
      const run = { group, first: firstTile, last: lastTile, workspace: i32.add(sums, sizes.sums) };
      kernels.emit(e, run, (firstOfRun, tilesOfRun, at) =>
        f.forRange(p, 0, points, 1, () =>
          f.call(product, {
            a: at(p),
            b: i32.add(inputs, i32.mul(p, inputPoint)),
            c: i32.add(i32.add(sums, i32.mul(p, sumPoint)), i32.mul(rowsBefore(deal, firstOfRun), 4 * tiles)),
            ldc: 4 * tiles,
            columns: count,
            k,
            bias: 0,
            residual: 0,
            ldr: 0,
            scratch,
            tiles: tilesOfRun,
            height: deal.height,
            taller: tallerFrom(deal, firstOfRun),
            group: tileGroup(k, deal.height + 1, tiles),
          }),
        ),
      );
      const top = f.let(i32.mul(row, m));
      const height = f.let(i32.mul(n, m));
      atMost(f, height, i32.sub(s.rows.output, top));
      f.forRange(o, firstOut, lastOut, 1, () => {
        f.call(untile, { points: i32.add(sums, i32.mul(o, 4 * tiles)), offsets, count, to: plane });
        const channel = f.let(i32.add(i32.mul(image, outs), o));
        const at = f.let(i32.add(i32.mul(channel, outputPlane), i32.mul(top, 4 * width)));
        f.call(finish, {
          from: plane,
          to: i32.add(at, y),
          residual: form.residual ? i32.add(at, residual) : 0,
          bias: form.bias ? i32.add(i32.shl(i32.add(i32.mul(group, outs), o), 2), bias) : 0,
          rows: height,
        });
      });
    });
  });
}

/** Writes where in a plane each tile of a block begins. */
function emitOffsets(
  e: StepEmitter,
  offsets: Local<"i32">,
  { m, columns, blockRows }: Layout,
  { tiles, rowBytes }: ReturnType<typeof memoryOf>,
): void {
  const { f } = e;
  const tile = f.local("i32");
  f.forRange(tile, 0, tiles, 1, () => {
    const row = f.let(i32.div_u(tile, columns.output));
    const column = i32.sub(tile, i32.mul(row, columns.output));
    const at = f.let(i32.add(i32.mul(row, m * rowBytes), i32.mul(column, 4 * m)));
    f.if(i32.ge_s(row, blockRows), () => f.set(at, i32.const(blockRows * m * rowBytes)));
    f.i32.store(i32.add(offsets, i32.shl(tile, 2)), at);
  });
}
