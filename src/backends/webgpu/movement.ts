/**
 * Kernels that move elements without looking at them:
 *
 *   walk    transpose, slice, expand: element i of the result is one of the input, four at a time where both lie
 *           together
 *   parts   concat and split: several tensors in one dispatch
 *   others  by an expression for where an element comes from
 */

import { expandWalk } from "../../ops/expand.ts";
import { concat, constantOfShape, expand, range, slice, split, transpose } from "../../ops/index.ts";
import { sliceWalk } from "../../ops/slice.ts";
import { equalParts } from "../../ops/split.ts";
import type { StridedWalk } from "../../ops/strided.ts";
import { transposeWalk } from "../../ops/transpose.ts";
import { toF64, toNumbers } from "../../tensor/convert.ts";
import { type DType, isBig } from "../../tensor/dtype.ts";
import { normalizeAxis, sizeBetween, sizeOf } from "../../tensor/shape.ts";
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

/** The first element of a host tensor as WGSL. Undefined for a 64-bit integer that 32 bits don't hold. */
function constantOf(storage: Storage, dtype: DType, data: HostTensor["data"]): string | undefined {
  if (storage.scalar === "f32") return stored(storage, 1, literal(toF64({ dtype, data: data.slice(0, 1) })[0]));
  const v = isBig(dtype) ? (data[0] as bigint) : BigInt(data[0] as number);
  const fits = storage.scalar === "i32" ? BigInt.asIntN(32, v) === v : BigInt.asUintN(32, v) === v;
  return fits ? `${storage.scalar}(${v})` : undefined;
}

export const filled = (storage: Storage, y: TensorType, value: string): GpuStep => ({
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
  ];
};
