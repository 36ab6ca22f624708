/**
 * Convolution as a product: Y[channels out, outputs] = W[channels out, K] X'[K, outputs] with K = channels in x taps. X'
 * (im2col) is never there as a whole: blocks of outputs are packed into panels that stay in the cache, used for all
 * rows of W, and forgotten. A pointwise kernel with stride 1 packs x itself; others pack from staged rows.
 */

import type { Prepack } from "../backend.ts";
import { type Expr, i32, type Local, type Operand } from "./assembler.ts";
import {
  axisKey,
  type ConvForm,
  type ConvShape,
  depthOfProduct,
  formKey,
  isSingle,
  planeSize,
  workOf,
} from "./conv-shape.ts";
import { productActivation } from "./kernels/activations.ts";
import { atMost, forBlocks } from "./kernels/blocks.ts";
import { packFunction, packTaps } from "./kernels/conv-pack.ts";
import {
  clearStage,
  depthSlices,
  directSource,
  type Source,
  stageBlock,
  stageBytes,
  stagedSource,
} from "./kernels/conv-stage.ts";
import { type GemmOptions, SCRATCH_BYTES, tileRowsOf } from "./kernels/gemm.ts";
import { emitPackRows, PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { emitProduct, type ProductArgs, type ProductFunction, packRows, tileGroup } from "./kernels/gemm-prepacked.ts";
import { splat } from "./kernels/math.ts";
import { dealRows, rowsBefore, tallerFrom } from "./kernels/row-deal.ts";
import { alignUp } from "./memory.ts";
import { addressOf, partsOf, productWork, type StepEmitter, type WasmStep, type WasmTarget } from "./step.ts";

/** The product of packed operands with this epilogue, made once. */
export function productFunction(e: StepEmitter, form: ConvForm): ProductFunction {
  const options = productOptions(e, form);
  return e.shared(options.name, (m) => emitProduct(m, options));
}

export const productOptions = (e: StepEmitter, form: ConvForm): GemmOptions => ({
  name: `product${formKey(form)}`,
  fma: e.target.features.fma,
  bias: form.bias ? "row" : "none",
  residual: form.residual,
  ...productActivation(e, form.activation),
});

/** Bytes of a packed block of outputs: half of a usual second-level cache, less what else is read. */
const blockBytes = 160 * 1024;

export interface ConvLayout {
  readonly source: Source;
  /** Panels in a block. */
  readonly panels: number;
  readonly stageBytes: number;
  readonly bytes: number;
}

/** @param fewest panels that a block has, or all */
export function layoutOf(s: ConvShape, fewest = 1): ConvLayout {
  const k = depthOfProduct(s);
  const outputs = planeSize(s);
  const panelBytes = 4 * k * PANEL_COLUMNS;
  const all = Math.ceil(outputs / PANEL_COLUMNS);
  const panels = Math.min(all, Math.max(fewest, Math.floor(blockBytes / panelBytes)));
  const outputRows = Math.min(s.rows.output, Math.ceil((panels * PANEL_COLUMNS - 1) / s.columns.output) + 1);
  const plane = 4 * s.rows.input * s.columns.input;
  const source =
    (isSingle(s.depth) ? directSource(s.rows, s.columns, plane) : undefined) ??
    stagedSource(s.rows, s.columns, outputRows);
  const staged = stageBytes(source, s.channelsIn * s.depth.kernel);
  return { source, panels, stageBytes: staged, bytes: SCRATCH_BYTES + staged + panels * panelBytes };
}

/** Constant weights in panels of rows, of which the tallest has `tileRows`. */
export function prepackRows(input: number, s: ConvShape, tileRows: number): Prepack {
  const { groups, channelsOut: rows } = s;
  const k = depthOfProduct(s);
  return {
    input,
    key: `rows/${tileRows}/${groups}`,
    type: { dtype: "f32", shape: [groups * rows * k] },
    moves: true,
    pack(source, packed) {
      packRows({ groups, rows, k, tileRows }, (at, first, height) => {
        for (let q = 0; q < k; q++) for (let i = 0; i < height; i++) packed[at++] = source[(first + i) * k + q];
      });
    },
  };
}

/** @param constantWeights false: w is made by the model, and packed in each run */
export function gemmConv(target: WasmTarget, s: ConvShape, form: ConvForm, constantWeights: boolean): WasmStep {
  const layout = layoutOf(s);
  const tileRows = tileRowsOf(target.features.fma);
  const weightBytes = constantWeights ? 0 : alignUp(4 * s.groups * s.channelsOut * depthOfProduct(s));
  const own = alignUp(layout.bytes) + weightBytes;
  return {
    workspaceBytes: own * target.threads,
    work: productWork(workOf(s)),
    prepack: constantWeights ? [prepackRows(1, s, tileRows)] : undefined,
    emit(e) {
      const workspace = e.f.let(i32.add(addressOf(e.workspace, e.thread, own), 0));
      let packed: Operand<"i32"> = e.inputs[1];
      if (!constantWeights) {
        packed = e.f.let(i32.add(workspace, alignUp(layout.bytes)));
        packWeights(e, s, packed as Local<"i32">);
      }
      const [x, , bias, residual] = e.inputs;
      const product = productFunction(e, form);
      const at = { x, bias, residual, y: e.outputs[0] };
      emitGemmConv(e, s, layout, {
        multiply: (args) => e.f.call(product, args),
        tileRows,
        form,
        packed,
        workspace,
        at,
      });
    },
  };
}

/** Packs weights at run time as `packRows` does. Every thread makes its own copy. */
function packWeights(e: StepEmitter, s: ConvShape, to: Local<"i32">): void {
  const { f } = e;
  const k = depthOfProduct(s);
  const pack = e.shared("packRows", (m) => emitPackRows(m, "packRows"));
  const { tiles, height, taller } = dealRows(s.channelsOut, tileRowsOf(e.target.features.fma));
  const [group, tile, h] = f.locals("i32", 3);
  const from = f.let(i32.const(e.inputs[1]));
  const out = f.let(to);
  f.forRange(group, 0, s.groups, 1, () =>
    f.forRange(tile, 0, tiles, 1, () => {
      f.set(h, i32.add(height, i32.lt_s(tile, taller)));
      f.call(pack, { from, stride: 4 * k, rows: h, k, out, step: i32.shl(h, 2) });
      f.increment(from, i32.mul(h, 4 * k));
      f.increment(out, i32.mul(h, 4 * k));
    }),
  );
}

/** Multiply-adds of a part: a tenth of a millisecond. */
const partWork = 2_000_000;

/** Where the threads' shares come from. */
type Split = "planes" | "outputs" | "channels";

function splitOf(s: ConvShape, threads: number, tiles: number): Split {
  if (threads === 1) return "outputs";
  const planes = s.batch * s.groups * s.depth.output;
  if (planes % threads === 0 || planes >= 4 * threads) return "planes";
  const panels = Math.ceil(planeSize(s) / PANEL_COLUMNS);
  if (panels % threads === 0 || panels >= 16 * threads || panels >= tiles) return "outputs";
  return "channels";
}

/** What is multiplied, and where things are. */
interface ConvProduct {
  multiply(args: ProductArgs): void;
  /** Of its tallest tile. */
  readonly tileRows: number;
  readonly form: ConvForm;
  /** Weights in panels of rows, and the bytes of each. */
  readonly packed: Operand<"i32">;
  readonly weightBytes?: number;
  readonly workspace: Local<"i32">;
  readonly at: Record<"x" | "bias" | "residual" | "y", number>;
  /**
   * Where the channels of group `group` of all images are, if not in x: made there when `fresh` is not 0.
   */
  image?(group: Local<"i32">, fresh: Expr<"i32">): Local<"i32">;
  /** Of padding. Default: zeros. */
  readonly fill?: Local<"v128">;
  /** The product's place for a block of outputs, if not in y, and what happens to it there. */
  readonly sums?: { readonly at: Operand<"i32">; finish(block: ConvBlock): void };
  /** What happens in y to all outputs of a part's rows. */
  finish?(outputs: ConvBlock): void;
}

/** Finished sums: `columns` of `rows`, from output `first` of channel `channel` of the group on; `y`: index of the first one. */
export interface ConvBlock {
  readonly channel: Operand<"i32">;
  readonly rows: Operand<"i32">;
  readonly columns: Local<"i32">;
  readonly y: Local<"i32">;
}

/** Bytes between rows of sums that do not go to y. */
export const sumsStride = (layout: ConvLayout): number => 4 * PANEL_COLUMNS * layout.panels;

export function emitGemmConv(e: StepEmitter, s: ConvShape, layout: ConvLayout, p: ConvProduct): void {
  const { f } = e;
  const { form, packed, workspace, weightBytes = 4, fill = splat(0) } = p;
  const { x, bias, residual, y } = p.at;
  const { source } = layout;
  const k = depthOfProduct(s);
  const outputs = planeSize(s);
  const panels = Math.ceil(outputs / PANEL_COLUMNS);
  const panelBytes = 4 * k * PANEL_COLUMNS;
  const { depth, rows, columns } = s;
  const deal = dealRows(s.channelsOut, p.tileRows);
  const pack = packFunction(e, {
    name: `im2col/${axisKey(rows)}/${axisKey(columns)}/${source.sliceBytes}${source.stage ? "" : "/direct"}`,
    source,
    width: columns.output,
    height: rows.output,
    slice: packTaps(source),
  });
  const stage = f.let(i32.add(workspace, SCRATCH_BYTES));
  const block = f.let(i32.add(stage, layout.stageBytes));
  if (source.stage) clearStage(e, stage, layout.stageBytes, fill);

  const planes = s.batch * s.groups * depth.output;
  const split = splitOf(s, e.target.threads, deal.tiles);
  /** In parts of at least `size`, where they have work enough for what a part begins with. */
  const shareOf = (wanted: Split, total: number, size: number) => {
    const parts = partsOf(Math.min(total / size, workOf(s) / partWork), 1, e.target);
    return wanted === split ? e.share(total, 1, parts) : { from: 0, to: total };
  };
  const { from: firstPlane, to: lastPlane } = shareOf("planes", planes, 1);
  const { from: firstPanel, to: lastPanel } = shareOf("outputs", panels, 8);
  const { from: firstTile, to: lastTile } = shareOf("channels", deal.tiles, deal.tiles);

  const inputPlane = 4 * rows.input * columns.input;
  const ldc = 4 * depth.output * outputs;
  const [plane, i] = f.locals("i32", 2);
  f.forRange(plane, firstPlane, lastPlane, 1, () => {
    // plane = (image, group, depth)
    const z = f.let(i32.rem_u(plane, depth.output));
    const channels = f.let(i32.div_u(plane, depth.output));
    const group = f.let(i32.rem_u(channels, s.groups));
    const fresh = i32.or(i32.eqz(z), i32.eq(plane, firstPlane));
    const from =
      p.image?.(channels, fresh) ?? f.let(i32.add(i32.mul(channels, s.channelsIn * depth.input * inputPlane), x));
    const firstRow = rowsBefore(deal, firstTile);
    const rowOffset = f.let(i32.add(i32.mul(channels, s.channelsOut), firstRow));
    const weightsAt = f.let(
      i32.add(i32.mul(i32.add(i32.mul(group, s.channelsOut), firstRow), weightBytes * k), packed),
    );
    const resultAt = f.let(i32.add(i32.mul(rowOffset, ldc), i32.mul(z, 4 * outputs)));
    const biasAt = f.let(i32.add(i32.shl(i32.add(i32.mul(group, s.channelsOut), firstRow), 2), bias));
    forBlocks(f, firstPanel, lastPanel, layout.panels, (panel, count) => {
      const first = f.let(i32.mul(panel, PANEL_COLUMNS));
      const wanted = f.let(i32.mul(count, PANEL_COLUMNS));
      atMost(f, wanted, i32.sub(outputs, first));
      const row = f.let(i32.div_u(first, columns.output));
      const last = i32.div_u(i32.sub(i32.add(first, wanted), 1), columns.output);
      const base = source.stage
        ? stageBlock(
            e,
            source.stage,
            stage,
            { first: row, outputs: f.let(i32.add(i32.sub(last, row), 1)) },
            depthSlices(e.f, s, s.channelsIn, from, z, source.sliceBytes),
            source.sliceBytes,
            fill,
          )
        : f.let(i32.add(from, i32.mul(row, source.outputRowBytes)));
      f.forRange(i, 0, count, 1, () =>
        f.call(pack, {
          pixel: i32.add(first, i32.mul(i, PANEL_COLUMNS)),
          base,
          firstRow: row,
          slices: s.channelsIn * depth.kernel,
          out: i32.add(block, i32.mul(i, panelBytes)),
        }),
      );
      const at = f.let(i32.add(resultAt, i32.shl(first, 2)));
      p.multiply({
        a: weightsAt,
        b: block,
        c: p.sums?.at ?? i32.add(at, y),
        ldc: p.sums ? sumsStride(layout) : ldc,
        columns: wanted,
        k,
        bias: form.bias ? biasAt : 0,
        residual: form.residual ? i32.add(at, residual) : 0,
        ldr: ldc,
        scratch: workspace,
        tiles: i32.sub(lastTile, firstTile),
        height: deal.height,
        taller: tallerFrom(deal, firstTile),
        group: tileGroup(k, deal.height + 1, outputs),
      });
      p.sums?.finish({
        channel: i32.add(i32.mul(group, s.channelsOut), firstRow),
        rows: i32.sub(rowsBefore(deal, lastTile), firstRow),
        columns: wanted,
        y: f.let(i32.shr_u(at, 2)),
      });
    });
    if (!p.finish) return;
    const first = f.let(i32.mul(firstPanel, PANEL_COLUMNS));
    const end = f.let(i32.mul(lastPanel, PANEL_COLUMNS));
    atMost(f, end, outputs);
    p.finish({
      channel: i32.add(i32.mul(group, s.channelsOut), firstRow),
      rows: i32.sub(rowsBefore(deal, lastTile), firstRow),
      columns: f.let(i32.sub(end, first)),
      y: f.let(i32.add(i32.shr_u(resultAt, 2), first)),
    });
  });
}
