/** Depthwise convolution, also with several outputs for each channel: planes in blocks of rows, strip by strip. */
import { type Expr, i32, type Local } from "./assembler.ts";
import { axisKey, type ConvForm, type ConvShape, formKey, isSingle, planeSize, workOf } from "./conv-shape.ts";
import { activationVector } from "./kernels/activations.ts";
import { forBlocks } from "./kernels/blocks.ts";
import { clearStage, directSource, stageBlock, stageBytes, stagedSource } from "./kernels/conv-stage.ts";
import { emitStrip } from "./kernels/depthwise.ts";
import { splat } from "./kernels/math.ts";
import { dealRows, rowsBefore } from "./kernels/row-deal.ts";
import { addressOf, productWork, type StepEmitter, type WasmStep, type WasmTarget } from "./step.ts";

const stripRows = 4;
/** Bytes of staged rows: a first-level cache with room for what is written. */
const blockBytes = 20 * 1024;
/** Taps that a strip has straight code for. */
const maxTaps = 128;

function layoutOf({ rows, columns }: ConvShape) {
  const deal = dealRows(rows.output, stripRows);
  const direct = directSource(rows, columns, 0);
  if (direct) return { deal, source: direct, strips: deal.tiles, bytes: 0 };
  const bytes = (strips: number) =>
    stageBytes(stagedSource(rows, columns, Math.min(rows.output, strips * stripRows)), 1);
  let strips = 1;
  while (strips < deal.tiles && bytes(strips + 1) <= blockBytes) strips++;
  const source = stagedSource(rows, columns, Math.min(rows.output, strips * stripRows));
  return { deal, source, strips, bytes: bytes(strips) };
}

/** Where the weights of output channel `channel` are, as f32, and of so many after it. Called once for each plane. */
export type TapsOf = (e: StepEmitter, channel: Local<"i32">, count: number) => Expr<"i32">;

/** @param tapsOf default: they are at input 1 as they are */
export function depthwiseConv(
  target: WasmTarget,
  s: ConvShape,
  form: ConvForm,
  tapsOf: TapsOf = (e, channel) => i32.add(i32.mul(channel, 4 * s.rows.kernel * s.columns.kernel), e.inputs[1]),
): WasmStep | undefined {
  const taps = s.rows.kernel * s.columns.kernel;
  if (s.channelsIn !== 1 || s.groups === 1 || !isSingle(s.depth) || taps > maxTaps) return undefined;
  const layout = layoutOf(s);
  return {
    workspaceBytes: layout.bytes * target.threads,
    work: productWork(workOf(s)),
    emit: (e) => emitDepthwise(e, s, form, layout, tapsOf),
  };
}

function emitDepthwise(
  e: StepEmitter,
  s: ConvShape,
  form: ConvForm,
  layout: ReturnType<typeof layoutOf>,
  tapsOf: TapsOf,
): void {
  const { f } = e;
  const [x, , bias, residual] = e.inputs;
  const [y] = e.outputs;
  const { rows, columns, groups, channelsOut: outs } = s;
  const { deal, source, strips } = layout;
  const activation = form.activation && activationVector(form.activation).make;
  const key = `depthwise/${axisKey(rows)}/${axisKey(columns)}${formKey(form)}`;
  const strip = (height: number) =>
    e.own(`${key}/${height}/${source.outputRowBytes}`, (m) =>
      emitStrip(m, {
        name: `${key}/${height}`,
        fma: e.target.features.relaxedSimd,
        source,
        width: columns.output,
        height,
        bias: form.bias,
        residual: form.residual,
        activation,
      }),
    );
  const stage = f.let(i32.add(addressOf(e.workspace, e.thread, layout.bytes), 0));
  if (source.stage) clearStage(e, stage, layout.bytes, splat(0));
  const outPlane = 4 * planeSize(s);
  const taps = rows.kernel * columns.kernel;
  const { from, to } = e.share(s.batch * groups);
  const [plane, tile, o] = f.locals("i32", 3);
  f.forRange(plane, from, to, 1, () => {
    const input = f.let(i32.add(i32.mul(plane, 4 * rows.input * columns.input), x));
    const channel = f.let(i32.mul(i32.rem_u(plane, groups), outs));
    const weights = f.let(tapsOf(e, channel, outs));
    forBlocks(f, 0, deal.tiles, strips, (first, count) => {
      const end = f.let(i32.add(first, count));
      const firstRow = f.let(i32.add(rowsBefore(deal, first), 0));
      const base = source.stage
        ? stageBlock(
            e,
            source.stage,
            stage,
            { first: firstRow, outputs: f.let(i32.sub(rowsBefore(deal, end), firstRow)) },
            [{ from: input, fromSlice: 0, toSlice: 0, count: 1 }],
            source.sliceBytes,
            splat(0),
          )
        : f.let(i32.add(input, i32.mul(firstRow, source.outputRowBytes)));
      f.forRange(o, 0, outs, 1, () => {
        const out = f.let(i32.add(channel, o));
        const result = f.let(i32.mul(i32.add(i32.mul(plane, outs), o), outPlane));
        f.forRange(tile, first, end, 1, () => {
          const row = f.let(i32.add(rowsBefore(deal, tile), 0));
          const at = f.let(i32.add(result, i32.mul(row, 4 * columns.output)));
          const call = (height: number) =>
            f.call(strip(height), {
              x: i32.add(base, i32.mul(i32.sub(row, firstRow), source.outputRowBytes)),
              w: i32.add(i32.mul(o, 4 * taps), weights),
              y: i32.add(at, y),
              bias: form.bias ? i32.add(i32.shl(out, 2), bias) : 0,
              residual: form.residual ? i32.add(at, residual) : 0,
            });
          if (deal.taller === 0) call(deal.height);
          else
            f.if(
              i32.lt_s(tile, deal.taller),
              () => call(deal.height + 1),
              () => call(deal.height),
            );
        });
      });
    });
  });
}
