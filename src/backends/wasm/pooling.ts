/** Pooling: planes in blocks of rows, row by row (kernels/pool.ts); global pooling plane by plane. */
import {
  type AveragePoolAttrs,
  averagePool,
  globalAveragePool,
  globalMaxPool,
  maxPool,
  type PoolAttrs,
  poolWindow,
} from "../../ops/pool.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { f32, f32x4, i32, v128 } from "./assembler.ts";
import { axisKey, type ConvShape, isF32, isSingle, volumeOf } from "./conv-shape.ts";
import { forBlocks } from "./kernels/blocks.ts";
import {
  type Axis,
  clearStage,
  depthSlices,
  directSource,
  isInside,
  stageBlock,
  stageBytes,
  stagedSource,
} from "./kernels/conv-stage.ts";
import { splat } from "./kernels/math.ts";
import { emitPoolRow, emitReducePlane } from "./kernels/pool.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

type Volume = Pick<ConvShape, "depth" | "rows" | "columns">;
type Kind = "max" | "average";

/** Bytes of staged rows: a first-level cache with room for what is written. */
const blockBytes = 20 * 1024;

/** Elements under each window along one axis; `padded`: padding counts too, but not what lies beyond it. */
function counts(a: Axis, padded: boolean): number[] {
  const [low, high] = padded ? [-a.pad, a.input + a.padEnd] : [0, a.input];
  return Array.from({ length: a.output }, (_, o) => {
    const taps = Array.from({ length: a.kernel }, (_, i) => o * a.stride - a.pad + i * a.dilation);
    return taps.filter((t) => t >= low && t < high).length;
  });
}

function layoutOf({ depth, rows, columns }: Volume) {
  const direct = isSingle(depth) ? directSource(rows, columns, 0) : undefined;
  const slices = depth.kernel;
  const staged = (n: number) => stagedSource(rows, columns, n);
  let blockRows = direct ? rows.output : 1;
  while (blockRows < rows.output && stageBytes(staged(blockRows + 1), slices) <= blockBytes) blockRows++;
  const source = direct ?? staged(blockRows);
  const floats = source.stage ? source.stage.rowBytes / 4 : columns.input;
  const sumBytes = alignUp(4 * floats + 32);
  // The counts of columns, rows and depths, for averages.
  const countFloats = columns.output + rows.output + depth.output;
  return {
    source,
    blockRows,
    floats,
    stageBytes: stageBytes(source, slices),
    sumBytes,
    bytes: alignUp(stageBytes(source, slices) + sumBytes + 4 * countFloats + 32),
  };
}

function planPool(
  target: WasmTarget,
  kind: Kind,
  op: string,
  x: TensorType,
  y: TensorType | undefined,
  attrs: PoolAttrs & Pick<AveragePoolAttrs, "countIncludePad">,
): WasmStep | undefined {
  if (!y || !isF32(x) || sizeOf(y.shape) === 0 || sizeOf(x.shape) === 0) return undefined;
  const window = poolWindow(op, x, attrs);
  const volume = volumeOf(window);
  if (!volume) return undefined;
  const layout = layoutOf(volume);
  const planes = x.shape[0] * x.shape[1];
  return {
    workspaceBytes: layout.bytes * target.threads,
    work: sizeOf(y.shape) * sizeOf(window.kernel),
    emit: (e) => emitPool(e, kind, volume, planes, attrs.countIncludePad ?? false, layout),
  };
}

function emitPool(
  e: StepEmitter,
  kind: Kind,
  volume: Volume,
  planes: number,
  padded: boolean,
  layout: ReturnType<typeof layoutOf>,
): void {
  const { f } = e;
  const { depth, rows, columns } = volume;
  const { source, blockRows } = layout;
  const [x] = e.inputs;
  const [y] = e.outputs;
  const stage = f.let(i32.add(addressOf(e.workspace, e.thread, layout.bytes), 0));
  const sums = f.let(i32.add(stage, layout.stageBytes));
  const columnCounts = f.let(i32.add(sums, layout.sumBytes));
  const rowCounts = f.let(i32.add(columnCounts, 4 * columns.output));
  const depthCounts = f.let(i32.add(rowCounts, 4 * rows.output));
  const fill = splat(kind === "max" ? Number.NEGATIVE_INFINITY : 0);
  if (source.stage) clearStage(e, stage, layout.stageBytes, fill);
  const full = [depth, rows, columns].every(isInside);
  const counted = kind === "average" && !full;
  if (counted) {
    // Mostly the whole kernel: only the others are written one by one.
    let at = 0;
    for (const axis of [columns, rows, depth]) {
      clearStage(e, i32.add(columnCounts, 4 * at), 4 * axis.output, splat(axis.kernel));
      counts(axis, padded).forEach((n, i) => {
        if (n !== axis.kernel) f.f32.store(columnCounts, n, 4 * (at + i));
      });
      at += axis.output;
    }
  }
  const name = `pool/${kind}/${[depth, rows, columns].map(axisKey)}/${padded}/${source.outputRowBytes}/${source.sliceBytes}`;
  const pool = e.own(name, (m) =>
    emitPoolRow(m, {
      name,
      kind,
      source,
      slices: depth.kernel,
      floats: layout.floats,
      width: columns.output,
      count: counted ? undefined : depth.kernel * rows.kernel * columns.kernel,
    }),
  );
  const inputPlane = 4 * rows.input * columns.input;
  const { from, to } = e.share(planes * depth.output);
  const [plane, row] = f.locals("i32", 2);
  f.forRange(plane, from, to, 1, () => {
    const z = f.let(i32.rem_u(plane, depth.output));
    const channel = f.let(i32.add(i32.mul(i32.div_u(plane, depth.output), depth.input * inputPlane), x));
    const out = f.let(i32.add(i32.mul(plane, 4 * rows.output * columns.output), y));
    forBlocks(f, 0, rows.output, blockRows, (first, n) => {
      const base = source.stage
        ? stageBlock(
            e,
            source.stage,
            stage,
            { first, outputs: n },
            depthSlices(f, volume, 1, channel, z, source.sliceBytes),
            source.sliceBytes,
            fill,
          )
        : f.let(i32.add(channel, i32.mul(first, source.outputRowBytes)));
      f.forRange(row, 0, n, 1, () => {
        const at = f.let(i32.add(first, row));
        const load = (table: typeof rowCounts, i: typeof row) => f32.load(i32.add(table, i32.shl(i, 2)));
        f.call(pool, {
          x: i32.add(base, i32.mul(row, source.outputRowBytes)),
          sums,
          y: i32.add(out, i32.mul(at, 4 * columns.output)),
          counts: columnCounts,
          count: counted ? f32x4.splat(f32.mul(load(rowCounts, at), load(depthCounts, z))) : noCount,
        });
      });
    });
  });
}

const noCount = v128.const(new Uint8Array(16));

function planGlobal(kind: Kind, x: TensorType): WasmStep | undefined {
  const size = sizeOf(x.shape.slice(2));
  const planes = sizeOf(x.shape.slice(0, 2));
  if (!isF32(x) || size === 0 || planes === 0) return undefined;
  return {
    work: size * planes,
    emit(e) {
      const { f } = e;
      const name = `globalPool/${kind}/${size}`;
      const reduce = e.own(name, (m) => emitReducePlane(m, { name, kind, size }));
      const { from, to } = e.share(planes);
      const plane = f.local("i32");
      f.forRange(plane, from, to, 1, () =>
        f.call(reduce, {
          x: addressOf(e.inputs[0], plane, 4 * size),
          y: addressOf(e.outputs[0], plane, 4),
        }),
      );
    },
  };
}

export const poolKernels: WasmKernels = (target) => [
  wasmKernel(maxPool, "wasm/maxPool", ([x], [y, indices], attrs) =>
    indices ? undefined : planPool(target, "max", "maxPool", x, y, attrs),
  ),
  wasmKernel(averagePool, "wasm/averagePool", ([x], [y], attrs) =>
    planPool(target, "average", "averagePool", x, y, attrs),
  ),
  wasmKernel(globalMaxPool, "wasm/globalMaxPool", ([x]) => planGlobal("max", x)),
  wasmKernel(globalAveragePool, "wasm/globalAveragePool", ([x]) => planGlobal("average", x)),
];
