/**
 * Kernels that move elements without looking at them:
 *
 *   walk    transpose, slice, expand, tile: element i of the result is one of the input, four at a time where both lie
 *           together
 *   parts   concat and split: several tensors in one dispatch
 *   others  by an expression for where an element comes from
 */

import { expandWalk } from "../../ops/expand.ts";
import {
  concat,
  constantOfShape,
  dropout,
  expand,
  eyeLike,
  pad,
  range,
  slice,
  split,
  tile,
  transpose,
  trilu,
} from "../../ops/index.ts";
import { readPads } from "../../ops/pad.ts";
import { sliceWalk } from "../../ops/slice.ts";
import { equalParts } from "../../ops/split.ts";
import type { StridedWalk } from "../../ops/strided.ts";
import { tileWalk } from "../../ops/tile.ts";
import { transposeWalk } from "../../ops/transpose.ts";
import { toF64, toNumbers } from "../../tensor/convert.ts";
import { type DType, isBig } from "../../tensor/dtype.ts";
import { normalizeAxis, sizeBetween, sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { type Dispatch, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, type Storage, storageOf } from "./target.ts";
import { collapse, type Lanes, literal, offsets, perElement, read, stored, typeName, write } from "./wgsl.ts";

/** The elements of `y` in order from those of `x` along a walk whose destination is dense. */
export function walkStep(storage: Storage, { shape, from }: StridedWalk): GpuStep {
  const axes = collapse(shape, [from.strides]);
  const [strides] = axes.strides;
  const last = strides.length - 1;
  const fours = (values: readonly number[]): boolean => values.every((v) => v % 4 === 0);
  const together = last >= 0 && strides[last] === 1 && fours([axes.shape[last], from.base, ...strides.slice(0, last)]);
  const lanes: Lanes = together ? 4 : 1;
  const inLanes = (values: readonly number[], own: number): number[] =>
    values.map((v, d) => (d === last ? own : v / lanes));
  const walk = together
    ? offsets(
        "i",
        axes.shape.map((d, k) => (k === last ? d / 4 : d)),
        [inLanes(strides, 1)],
      )
    : signedOffsets("i", axes.shape, strides);
  const base = from.base / lanes;
  const type = typeName(storage.element, lanes);
  const body = `${walk.code}  y[i] = x[${walk.at[0]} + ${base}u];`;
  const bindings = [read("x", { input: 0 }, type), write("y", { output: 0 }, type)];
  return { run: [perElement(sizeOf(shape) / lanes, { bindings, body })] };
}

/** Offsets with strides that may be negative: u32 wraps around, and comes out right with the base. */
function signedOffsets(
  index: string,
  shape: readonly number[],
  strides: readonly number[],
): { code: string; at: string[] } {
  const { code, at } = offsets(index, shape, [strides.map((s) => (s < 0 ? 2 ** 32 + s : s))]);
  return { code, at };
}

interface Part {
  /** Elements along the axis, and where they begin in the whole. */
  readonly size: number;
  readonly begin: number;
  /** Whether it is the step's input or output of this number. */
  readonly number: number;
}

/** Copies between a tensor of [outer, total, inner] elements and parts of it, as many in a dispatch as there are bindings. */
function partsStep(
  target: GpuTarget,
  storage: Storage,
  direction: "join" | "cut",
  { outer, total, inner }: { outer: number; total: number; inner: number },
  parts: readonly Part[],
): GpuStep {
  const lanes: Lanes = inner % 4 === 0 ? 4 : 1;
  const type = typeName(storage.element, lanes);
  const width = inner / lanes;
  const most = target.limits.maxStorageBuffersPerShaderStage - 1;
  const run: Dispatch[] = [];
  for (let first = 0; first < parts.length; first += most) {
    const some = parts.slice(first, first + most);
    const bindings = some.map(({ number }, k) =>
      direction === "join" ? read(`part${k}`, { input: number }, type) : write(`part${k}`, { output: number }, type),
    );
    const whole = direction === "join" ? write("whole", { output: 0 }, type) : read("whole", { input: 0 }, type);
    // Positions along the axes of all these parts, one after the other.
    let size = 0;
    const branches = some.map((p, k) => {
      const here = `part${k}[(o * ${p.size}u + c - ${size}u) * ${width}u + w]`;
      const there = `whole[(o * ${total}u + ${p.begin}u + c - ${size}u) * ${width}u + w]`;
      size += p.size;
      return `if (c < ${size}u) { ${direction === "join" ? `${there} = ${here}` : `${here} = ${there}`}; }`;
    });
    const body = `  let w = i % ${width}u;
  let c = (i / ${width}u) % ${size}u;
  let o = i / ${width * size}u;
  ${branches.join(" else ")}`;
    if (size > 0) run.push(perElement(outer * size * width, { bindings: [...bindings, whole], body }));
  }
  return { run };
}

function partsOf(sizes: readonly number[]): Part[] {
  let begin = 0;
  return sizes.map((size, number) => {
    begin += size;
    return { size, begin: begin - size, number };
  });
}

const around = (shape: readonly number[], axis: number) => ({
  outer: sizeBetween(shape, 0, axis),
  total: shape[axis],
  inner: sizeBetween(shape, axis + 1, shape.length),
});

/** Where position `c` along an axis comes from in the input: statements that set `k`, and clear `inside`. */
function padAxis(c: string, d: number, begin: number, end: number, mode: string): string {
  const first = Math.max(0, -begin);
  const n = d - first - Math.max(0, -end);
  const p = `i32(${c}) - ${Math.max(0, begin)}`;
  if (mode === "edge") return `k = clamp(${p}, 0, ${n - 1}) + ${first};`;
  if (mode === "wrap") return `k = ((${p}) % ${n} + ${n}) % ${n} + ${first};`;
  if (mode === "reflect") {
    const period = 2 * (n - 1);
    if (period === 0) return `k = ${first};`;
    return `k = ((${p}) % ${period} + ${period}) % ${period}; k = select(${period} - k, k, k < ${n}) + ${first};`;
  }
  return `k = ${p}; inside = inside && k >= 0 && k < ${n}; k += ${first};`;
}

function padStep(
  storage: Storage,
  x: TensorType,
  y: TensorType,
  pads: ReturnType<typeof readPads>,
  mode: string,
  valued: boolean,
): GpuStep {
  const strides = stridesOf(x.shape);
  const outer = stridesOf(y.shape);
  const lines = y.shape.map((d, a) => {
    const c = `((i / ${outer[a]}u) % ${d}u)`;
    return `  ${padAxis(c, x.shape[a], pads.begin[a], pads.end[a], mode)} at += k * ${strides[a]};\n`;
  });
  const bindings = [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)];
  if (valued) bindings.push(read("value", { input: 2 }, storage.element));
  const body = `  var inside = true;
  var k = 0;
  var at = 0;
${lines.join("")}  var result = ${valued ? "value[0]" : `${storage.element}(0)`};
  if (inside) { result = x[at]; }
  y[i] = result;`;
  return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
}

/** The first element of a host tensor as WGSL. Undefined for a 64-bit integer that 32 bits don't hold. */
function constantOf(storage: Storage, dtype: DType, data: HostTensor["data"]): string | undefined {
  if (storage.scalar === "f32") return stored(storage, 1, literal(toF64({ dtype, data: data.slice(0, 1) })[0]));
  const v = isBig(dtype) ? (data[0] as bigint) : BigInt(data[0] as number);
  const fits = storage.scalar === "i32" ? BigInt.asIntN(32, v) === v : BigInt.asUintN(32, v) === v;
  return fits ? `${storage.scalar}(${v})` : undefined;
}

const filled = (storage: Storage, y: TensorType, value: string): GpuStep => ({
  run: [
    perElement(sizeOf(y.shape), { bindings: [write("y", { output: 0 }, storage.element)], body: `  y[i] = ${value};` }),
  ],
});

export const movementKernels: GpuKernels = (target) => {
  const storage = (t: TensorType) => storageOf(target, t.dtype);
  const walk = (x: TensorType, w: () => StridedWalk): GpuStep | undefined => {
    const s = storage(x);
    return s && walkStep(s, w());
  };
  return [
    gpuKernel(transpose, "webgpu/transpose", ([x], _, attrs) => walk(x, () => transposeWalk(x.shape, attrs))),
    gpuKernel(slice, "webgpu/slice", ([x, ...bounds]) =>
      walk(x, () =>
        sliceWalk(
          x.shape,
          bounds.map((b: KernelInput | undefined) => b?.constant),
        ),
      ),
    ),
    gpuKernel(expand, "webgpu/expand", ([x], [y]) => walk(x, () => expandWalk(x.shape, y.shape))),
    gpuKernel(tile, "webgpu/tile", ([x, repeats]) => walk(x, () => tileWalk(x.shape, repeats.constant!))),
    gpuKernel(concat, "webgpu/concat", (xs, [y], { axis }) => {
      const s = storage(y);
      const a = normalizeAxis("concat", axis, y.shape.length);
      return s && partsStep(target, s, "join", around(y.shape, a), partsOf(xs.map((x) => x.shape[a])));
    }),
    gpuKernel(split, "webgpu/split", ([x, sizes], ys, { axis = 0, parts }) => {
      const s = storage(x);
      const a = normalizeAxis("split", axis, x.shape.length);
      const all = partsOf(sizes ? toNumbers(sizes.constant!) : equalParts(x.shape[a], parts));
      return (
        s &&
        partsStep(
          target,
          s,
          "cut",
          around(x.shape, a),
          all.filter(({ number }) => ys[number]),
        )
      );
    }),
    gpuKernel(pad, "webgpu/pad", ([x, pads, value, axes], [y], { mode = "constant" }) => {
      const s = storage(x);
      return (
        s &&
        padStep(s, x, y, readPads(x, pads.constant!, axes?.constant), mode, value !== undefined && mode === "constant")
      );
    }),
    gpuKernel(trilu, "webgpu/trilu", ([x, k], _, { upper = true }) => {
      const s = storage(x);
      if (!s) return undefined;
      const [rows, columns] = x.shape.slice(-2);
      const diagonal = k ? toNumbers(k.constant!)[0] : 0;
      const bindings = [read("x", { input: 0 }, s.element), write("y", { output: 0 }, s.element)];
      const body = `  let above = i32(i % ${columns}u) - i32((i / ${columns}u) % ${rows}u);
  y[i] = select(${s.element}(0), x[i], above ${upper ? ">=" : "<="} ${Math.max(-(2 ** 31) + 1, Math.min(diagonal, 2 ** 31 - 1))});`;
      return { run: [perElement(sizeOf(x.shape), { bindings, body })] };
    }),
    gpuKernel(constantOfShape, "webgpu/constantOfShape", (_, [y], { value }) => {
      const s = storage(y);
      const v = s && (value ? constantOf(s, value.dtype, value.data) : `${s.element}(0)`);
      return s && v !== undefined ? filled(s, y, v) : undefined;
    }),
    gpuKernel(range, "webgpu/range", ([start, , delta], [y]) => {
      const s = storage(y);
      if (!s || s.element === "f16") return undefined;
      const [from, by] = [start, delta].map((t) => constantOf(s, y.dtype, t.constant!.data));
      return from !== undefined && by !== undefined ? filled(s, y, `${from} + ${s.scalar}(i) * ${by}`) : undefined;
    }),
    gpuKernel(eyeLike, "webgpu/eyeLike", (_, [y], { k = 0 }) => {
      const s = storage(y);
      if (!s) return undefined;
      const columns = y.shape[1];
      const on = `i32(i % ${columns}u) - i32(i / ${columns}u) == ${k}`;
      return filled(s, y, `select(${s.element}(0), ${s.element}(1), ${on})`);
    }),
    gpuKernel(dropout, "webgpu/dropout", ([x, , training], [y, mask]) => {
      const s = storage(x);
      if (!s || (training && (!training.constant || Number(training.constant.data[0]) !== 0))) return undefined;
      const bindings = [read("x", { input: 0 }, s.element)];
      if (y) bindings.push(write("y", { output: 0 }, s.element));
      if (mask) bindings.push(write("mask", { output: 1 }, "u32"));
      const body = `  let v = x[i];\n${y ? "  y[i] = v;\n" : ""}${mask ? "  mask[i] = 1u;\n" : ""}`;
      return { run: [perElement(sizeOf(x.shape), { bindings, body })] };
    }),
  ];
};
