/**
 * Operators that sample planes at computed positions, on kernels/sample-points.ts.
 * - gridSample: points in blocks whose table stays in the first-level cache while all channels are sampled, linear (and
 *   nearest) from 2 x 2 neighbours, cubic from 4 x 4
 * - roiAlign: bins of a region in blocks, or a part of the samples of a single bin
 * - deformConv: the displaced taps of an image make a matrix, and the pointwise convolution of that is the result
 */
import { deformConv, deformGeometry } from "../../ops/deform-conv.ts";
import { type GridSampleAttrs, gridSample } from "../../ops/grid-sample.ts";
import { mostSamples, roiAlign } from "../../ops/roi-align.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { type Expr, f32, f64, i32, type Local, type Operand, select } from "./assembler.ts";
import { emitGemmConv, layoutOf, prepackRows, productFunction } from "./conv-gemm.ts";
import { convShape, isF32, workOf } from "./conv-shape.ts";
import { bicubic, CUBIC_VECTORS, emitCubicPoint } from "./kernels/cubic-points.ts";
import { tileRowsOf } from "./kernels/gemm.ts";
import { emitBins, emitPoint, emitSamples, POINT_BYTES } from "./kernels/sample-points.ts";
import { alignUp } from "./memory.ts";
import { addressOf, productWork, type StepEmitter, type WasmKernels, type WasmTarget, wasmKernel } from "./step.ts";

/** Points in a table. */
const blockPoints = 512;
const cubicBlockPoints = 256;
const roiPoints = 1024;
/** Tenths of a nanosecond. */
const [pointWork, sampleWork] = [60, 12];

const tableBytes = (points: number): number => alignUp(points * POINT_BYTES);

const pointFunction = (e: StepEmitter) => e.shared("sample/point", (m) => emitPoint(m, "sample/point"));
const sampleFunction = (e: StepEmitter) => e.shared("sample/planes", (m) => emitSamples(m, "sample/planes"));

function cubicPointFunction(e: StepEmitter, attrs: GridSampleAttrs) {
  const name = `sample/cubicPoint/${attrs.paddingMode}/${attrs.alignCorners}`;
  return e.shared(name, (m) => emitCubicPoint(m, name, attrs));
}
const cubicSampleFunction = (e: StepEmitter) =>
  e.shared("sample/cubic", (m) => emitSamples(m, "sample/cubic", bicubic, CUBIC_VECTORS));

/** A thread's table of so many points: where offsets are, and weights, some vectors for each. */
function tableOf(e: StepEmitter, points: number, own: number, vectors = 1) {
  const { f } = e;
  const weights = f.let(i32.add(addressOf(e.workspace, e.thread, own), 0));
  return { weights, offsets: f.let(i32.add(weights, 16 * vectors * points)) };
}

/** Where the i-th point of a table is, which has so many vectors of weights. */
const entry = ({ weights, offsets }: ReturnType<typeof tableOf>, i: Local<"i32">, vectors = 1) => ({
  offset: i32.add(offsets, i32.shl(i, 2)),
  weights: i32.add(weights, i32.mul(i, 16 * vectors)),
});

function atMost(f: StepEmitter["f"], n: Expr<"i32">, most: Expr<"i32">): Expr<"i32"> {
  const value = f.let(n);
  return select(most, value, i32.gt_s(value, most));
}

/** Neighbours are read two by two. */
const hasPairs = (height: number, width: number): boolean => height >= 2 && width >= 2;

/**
 * `gridPosition` of ops/grid-sample.ts, within the plane where what lies outside repeats it. The nearest element is the
 * linear sample at its own position.
 */
function gridCoordinate(f: StepEmitter["f"], at: Expr<"f32">, n: number, attrs: GridSampleAttrs): Local<"f64"> {
  const { alignCorners, paddingMode = "zeros", mode } = attrs;
  const round = () => mode === "nearest" && f.set(v, f64.nearest(v));
  const g = f64.add(f64.promote_f32(at), 1);
  const exact = alignCorners ? f64.mul(f64.div(g, 2), n - 1) : f64.div(f64.sub(f64.mul(g, n), 1), 2);
  const v = f.let(f64.promote_f32(f32.demote_f64(exact)));
  round();
  if (paddingMode === "reflection") {
    const [low, range] = alignCorners ? [0, n - 1] : [-0.5, n];
    // Back and forth: from 0 to 2 and again.
    const turns = f.let(f64.div(f64.sub(v, low), range));
    const phase = f64.sub(turns, f64.mul(f64.floor(f64.div(turns, 2)), 2));
    f.set(v, f64.add(f64.mul(f64.sub(1, f64.abs(f64.sub(phase, 1))), range), low));
    round();
  }
  if (paddingMode !== "zeros" && mode !== "cubic") f.set(v, f64.min(f64.max(v, 0), n - 1));
  return v;
}

/** All channels of an image at the points of the table, to `channels` rows of outputs that are `stride` bytes apart. */
interface Sampled {
  readonly table: ReturnType<typeof tableOf>;
  readonly x: Operand<"i32">;
  readonly planeBytes: number;
  readonly rowBytes: number;
  readonly channels: number;
  readonly n: Local<"i32">;
  readonly out: Operand<"i32">;
  readonly stride: number;
  /** Default: bilinear. */
  readonly sample?: ReturnType<typeof sampleFunction>;
}

function samplePlanes(e: StepEmitter, sampled: Sampled): void {
  const { f } = e;
  const { table, x, planeBytes, rowBytes, channels, n, out, stride, sample = sampleFunction(e) } = sampled;
  const [plane, to] = [f.let(i32.add(x, 0)), f.let(i32.add(out, 0))];
  const c = f.local("i32");
  f.forRange(c, 0, channels, 1, () => {
    f.call(sample, { x: plane, row: rowBytes, ...table, n, out: to });
    f.increment(plane, planeBytes);
    f.increment(to, stride);
  });
}

const gridPoints = (target: WasmTarget) =>
  wasmKernel(gridSample, "wasm/gridSample/points", ([x, grid], [y], attrs) => {
    const [batches, channels, height, width] = x.shape;
    const cubic = attrs.mode === "cubic";
    if (!isF32(x, grid) || x.shape.length !== 4 || sizeOf(y.shape) === 0) return undefined;
    if (cubic ? Math.min(height, width) < 4 : !hasPairs(height, width)) return undefined;
    const vectors = cubic ? CUBIC_VECTORS : 1;
    const perBlock = cubic ? cubicBlockPoints : blockPoints;
    const points = grid.shape[1] * grid.shape[2];
    const blocks = Math.ceil(points / perBlock);
    const own = alignUp(perBlock * (4 + 16 * vectors));
    const planeBytes = 4 * height * width;
    return {
      workspaceBytes: own * target.threads,
      work: batches * points * (pointWork + channels * sampleWork * (cubic ? 3 : 1)),
      emit(e) {
        const { f } = e;
        const table = tableOf(e, perBlock, own, vectors);
        const [unit, n, i] = f.locals("i32", 3);
        const { from, to } = e.share(batches * blocks);
        f.forRange(unit, from, to, 1, () => {
          const image = f.let(i32.div_u(unit, blocks));
          const first = f.let(i32.mul(i32.rem_u(unit, blocks), perBlock));
          f.set(n, atMost(f, i32.sub(points, first), i32.const(perBlock)));
          const at = f.let(addressOf(e.inputs[1], i32.add(i32.mul(image, points), first), 8) as Expr<"i32">);
          f.forRange(i, 0, n, 1, () => {
            const x = gridCoordinate(f, f32.load(at), width, attrs);
            const y = gridCoordinate(f, f32.load(at, 4), height, attrs);
            const place = { y, x, height, width, ...entry(table, i, vectors) };
            if (cubic) f.call(cubicPointFunction(e, attrs), place);
            else f.call(pointFunction(e), { ...place, scale: 1 });
            f.increment(at, 8);
          });
          samplePlanes(e, {
            table,
            x: addressOf(e.inputs[0], image, channels * planeBytes),
            planeBytes,
            rowBytes: 4 * width,
            channels,
            n,
            out: i32.add(addressOf(e.outputs[0], image, 4 * channels * points), i32.shl(first, 2)),
            stride: 4 * points,
            sample: cubic ? cubicSampleFunction(e) : undefined,
          });
        });
      },
    };
  });

/** Position along an axis of n of the sample after `samples` of them, `step` apart and the first by half of that in. */
function roiCoordinate(f: StepEmitter["f"], start: Local<"f64">, step: Local<"f64">, sample: Expr<"i32">, n: number) {
  const v = f.let(f64.add(start, f64.mul(f64.add(f64.convert_i32_s(sample), 0.5), step)));
  const counts = i32.and(f64.ge(v, -1), f64.le(v, n));
  f.set(v, select(f64.min(f64.max(v, 0), n - 1), f64.const(-9), counts));
  return v;
}

const roiBins = (target: WasmTarget) =>
  wasmKernel(roiAlign, "wasm/roiAlign/bins", ([x, rois, indices], [y], attrs) => {
    const { mode = "avg", samplingRatio: samples = 0, spatialScale = 1 } = attrs;
    const [batches, channels, height, width] = x.shape;
    const [regions, , outHeight, outWidth] = y.shape;
    if (!isF32(x, rois) || !hasPairs(height, width) || sizeOf(y.shape) === 0) return undefined;
    const wide = indices.dtype === "i64";
    if (!wide && indices.dtype !== "i32") return undefined;
    const bins = outHeight * outWidth;
    const block = Math.min(roiPoints, samples > 0 ? bins * samples * samples : roiPoints);
    const own = tableBytes(block);
    const planeBytes = 4 * height * width;
    const shifted = (attrs.coordinateTransformationMode ?? "half_pixel") === "half_pixel";
    return {
      workspaceBytes: own * target.threads,
      // Where their number depends on the region, four samples in a bin are usual.
      work: regions * bins * (samples > 0 ? samples * samples : 4) * (pointWork + channels * sampleWork),
      emit(e) {
        const { f } = e;
        const table = tableOf(e, block, own);
        const point = pointFunction(e);
        const name = `sample/bins/${mode}`;
        const pool = e.shared(name, (m) => emitBins(m, name, mode === "max"));
        const [region, batch, at, bin, sample, someBins, someSamples, i, j, k, c] = f.locals("i32", 11);
        const { from, to } = e.share(regions);
        f.forRange(region, from, to, 1, () => {
          const index = addressOf(e.inputs[2], region, wide ? 8 : 4);
          f.set(batch, i32.load(index));
          if (wide) f.if(i32.load(index, 4), () => f.unreachable());
          f.if(i32.ge_u(batch, batches), () => f.unreachable());
          f.set(at, addressOf(e.inputs[1], region, 16));
          const corner = (k: number) =>
            f64.sub(f64.mul(f64.promote_f32(f32.load(at, 4 * k)), spatialScale), shifted ? 0.5 : 0);
          /** Along one axis: the first sample's place, the step to the next, and how many are in a bin. */
          const along = (k: number, outputs: number) => {
            const start = f.let(corner(k));
            const extent = f64.sub(corner(k + 2), start);
            const size = f.let(f64.div(shifted ? extent : f64.max(extent, 1), outputs));
            const count = f.let(samples > 0 ? f64.const(samples) : f64.max(f64.ceil(size), 0));
            return { start, step: f.let(f64.div(size, count)), count };
          };
          const columns = along(0, outWidth);
          const rows = along(1, outHeight);
          // More would take minutes.
          f.if(f64.gt(f64.mul(rows.count, columns.count), mostSamples), () => f.unreachable());
          const [perColumn, perRow] = [rows, columns].map(({ count }) => f.let(i32.trunc_sat_f64_s(count)));
          const count = f.let(i32.mul(perColumn, perRow));
          const out = f.let(addressOf(e.outputs[0], region, 4 * channels * bins) as Expr<"i32">);
          const factor = f.let(f32.div(1, f32.convert_i32_s(count)));
          const plane = f.local("i32");
          const result = f.local("i32");
          f.if(i32.eqz(count), () => f.memory.fill(out, 0, 4 * channels * bins));
          const blockBins = f.let(i32.div_s(block, select(count, i32.const(1), count)));
          f.set(blockBins, select(blockBins, i32.const(1), blockBins));
          f.forRange(bin, 0, bins, blockBins, () => {
            f.set(someBins, atMost(f, i32.sub(bins, bin), blockBins));
            f.forRange(sample, 0, count, block, () => {
              f.set(someSamples, atMost(f, i32.sub(count, sample), i32.const(block)));
              f.set(i, 0);
              f.forRange(j, bin, i32.add(bin, someBins), 1, () =>
                f.forRange(k, sample, i32.add(sample, someSamples), 1, () => {
                  const row = i32.add(i32.mul(i32.div_u(j, outWidth), perColumn), i32.div_u(k, perRow));
                  const column = i32.add(i32.mul(i32.rem_u(j, outWidth), perRow), i32.rem_u(k, perRow));
                  const y = roiCoordinate(f, rows.start, rows.step, row, height);
                  const x = roiCoordinate(f, columns.start, columns.step, column, width);
                  f.call(point, { y, x, height, width, scale: 1, ...entry(table, i) });
                  f.increment(i, 1);
                }),
              );
              f.set(plane, addressOf(e.inputs[0], batch, channels * planeBytes));
              f.set(result, i32.add(out, i32.shl(bin, 2)));
              const args = { x: plane, row: 4 * width, ...table, n: someBins, out: result };
              f.forRange(c, 0, channels, 1, () => {
                f.call(pool, { ...args, samples: someSamples, factor, goesOn: sample });
                f.increment(plane, planeBytes);
                f.increment(result, 4 * bins);
              });
            });
          });
        });
      },
    };
  });

const deformGemm = (target: WasmTarget) =>
  wasmKernel(deformConv, "wasm/deformConv/gemm", ([x, w, offset, bias, mask], [y], attrs) => {
    const g = deformGeometry(x, w, offset, mask, attrs);
    const { input, kernel, output, strides, dilations, padBegin } = g.window;
    if (!isF32(x, w, offset, bias, mask) || !w.constant || input.length !== 2 || sizeOf(y.shape) === 0)
      return undefined;
    const [height, width] = input;
    if (!hasPairs(height, width) || sizeOf(w.shape) === 0) return undefined;
    const { offsetGroups = 1 } = attrs;
    const taps = sizeOf(kernel);
    const outputs = sizeOf(output);
    const [one, zero] = [
      [1, 1],
      [0, 0],
    ];
    const pointwise = {
      input: output,
      kernel: one,
      strides: one,
      dilations: one,
      padBegin: zero,
      padEnd: zero,
      output,
    };
    const shape = convShape({ ...g, channelsIn: g.channelsIn * taps, window: pointwise })!;
    const layout = layoutOf(shape);
    const perGroup = g.channelsIn / g.groups;
    const perOffset = g.channelsIn / offsetGroups;
    /** Channels of one group that share offsets. */
    const run = perGroup % perOffset === 0 ? perOffset : perOffset % perGroup === 0 ? perGroup : 1;
    const imageBytes = alignUp(4 * perGroup * taps * outputs + 32);
    const own = alignUp(layout.bytes) + imageBytes + tableBytes(blockPoints);
    const planeBytes = 4 * height * width;
    const tileRows = tileRowsOf(target.features.fma);

    /** The taps of all channels of a group: rows of outputs. @param channels numbers groups of all images */
    function emitTaps(e: StepEmitter, channels: Local<"i32">, table: ReturnType<typeof tableOf>, to: Local<"i32">) {
      const { f } = e;
      const point = pointFunction(e);
      const [c, tap, first, n, i] = f.locals("i32", 5);
      f.forRange(c, 0, perGroup, run, () => {
        const channel = f.let(i32.add(i32.mul(channels, perGroup), c));
        f.forRange(tap, 0, taps, 1, () => {
          // Offset groups of all images are numbered on, as channels are.
          const displaced = f.let(i32.add(i32.mul(i32.div_u(channel, perOffset), taps), tap));
          const at = f.let(addressOf(e.inputs[2], displaced, 8 * outputs) as Expr<"i32">);
          const scaleAt = f.let(addressOf(e.inputs[4] ?? 0, displaced, 4 * outputs) as Expr<"i32">);
          const [ky, kx] = [i32.div_u(tap, kernel[1]), i32.rem_u(tap, kernel[1])];
          const shift = (k: Expr<"i32">, d: number) => f.let(i32.sub(i32.mul(k, dilations[d]), padBegin[d]));
          const [shiftY, shiftX] = [shift(ky, 0), shift(kx, 1)];
          f.forRange(first, 0, outputs, blockPoints, () => {
            f.set(n, atMost(f, i32.sub(outputs, first), i32.const(blockPoints)));
            f.forRange(i, 0, n, 1, () => {
              const o = f.let(i32.add(first, i));
              const position = (window: Expr<"i32">, shift: Local<"i32">, d: number) =>
                f64.add(
                  f64.convert_i32_s(i32.add(i32.mul(window, strides[d]), shift)),
                  f64.promote_f32(f32.load(at, d * 4 * outputs)),
                );
              f.call(point, {
                y: position(i32.div_u(o, output[1]), shiftY, 0),
                x: position(i32.rem_u(o, output[1]), shiftX, 1),
                height,
                width,
                scale: mask ? f32.load(scaleAt) : 1,
                ...entry(table, i),
              });
              f.increment(at, 4);
              f.increment(scaleAt, 4);
            });
            samplePlanes(e, {
              table,
              x: addressOf(e.inputs[0], channel, planeBytes),
              planeBytes,
              rowBytes: 4 * width,
              channels: run,
              n,
              out: i32.add(to, i32.shl(i32.add(i32.mul(i32.add(i32.mul(c, taps), tap), outputs), first), 2)),
              stride: 4 * taps * outputs,
            });
          });
        });
      });
    }

    return {
      workspaceBytes: own * target.threads,
      work: productWork(workOf(shape)) + g.batch * g.channelsIn * taps * outputs * sampleWork,
      prepack: [prepackRows(1, shape, tileRows)],
      emit(e) {
        const { f } = e;
        const workspace = f.let(i32.add(addressOf(e.workspace, e.thread, own), 0));
        const image = f.let(i32.add(workspace, alignUp(layout.bytes)));
        const weights = f.let(i32.add(image, imageBytes));
        const table = { weights, offsets: f.let(i32.add(weights, 16 * blockPoints)) };
        const form = { bias: bias !== undefined, residual: false };
        const product = productFunction(e, form);
        // Each part makes the taps of all its images: no more parts than threads.
        emitGemmConv({ ...e, share: (total, granule) => e.share(total, granule) }, shape, layout, {
          multiply: (args) => f.call(product, args),
          tileRows,
          form,
          packed: e.inputs[1],
          workspace,
          at: { x: 0, bias: e.inputs[3], residual: 0, y: e.outputs[0] },
          image(channels, fresh) {
            f.if(fresh, () => emitTaps(e, channels, table, image));
            return image;
          },
        });
      },
    };
  });

export const samplingKernels: WasmKernels = (target) => [gridPoints(target), roiBins(target), deformGemm(target)];
