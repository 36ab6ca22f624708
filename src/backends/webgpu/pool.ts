/**
 * Pooling.
 *
 *   windows   one invocation for each window
 *   planes    global pooling: a workgroup for each plane, which its invocations share
 */
import * as ops from "../../ops/index.ts";
import type { AnyOp } from "../../ops/op.ts";
import { leastOf, type MaxPoolAttrs, type PoolAttrs, poolWindow } from "../../ops/pool.ts";
import type { Window } from "../../ops/window.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { Kernel } from "../backend.ts";
import { addition, type Combination, groupReduction } from "./reduction.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { coordinates, literal, loaded, perElement, perGroup, read, stored, write } from "./wgsl.ts";

/** What a window does with its elements: variables of `start`, `take` for an element `v`, and the result. */
interface Reduction {
  readonly start: string;
  readonly take: string;
  readonly result: string;
  /** Statements after it, for another output. */
  readonly more?: { readonly code: string; readonly binding: Binding };
}

function windowsStep(target: GpuTarget, x: TensorType, w: Window, r: Reduction): GpuStep | undefined {
  const storage = storageOf(target, x.dtype);
  if (!storage) return undefined;
  const strides = stridesOf(w.input);
  const [inputSize, outputSize, taps] = [w.input, w.output, w.kernel].map(sizeOf);
  const axes = w.input.map(
    (_, d) => `let i${d} = o${d} * ${w.strides[d]} + t${d} * ${w.dilations[d]} - ${w.padBegin[d]};`,
  );
  const body = `
  let o = i % ${outputSize}u;
  let plane = i / ${outputSize}u * ${inputSize}u;
  ${coordinates("o", "o", w.output)}
  ${r.start}
  var padded = 0.0;
  var found = 0.0;
  for (var t = 0u; t < ${taps}u; t++) {
    ${coordinates("t", "t", w.kernel)}
    ${axes.join(" ")}
    if (${w.input.map((n, d) => `i${d} < ${n + w.padEnd[d]}`).join(" && ")}) {
      padded += 1.0;
      if (${w.input.map((n, d) => `i${d} >= 0 && i${d} < ${n}`).join(" && ")}) {
        let at = plane + u32(${w.input.map((_, d) => `i${d} * ${strides[d]}`).join(" + ")});
        let v = ${loaded(storage, 1, "x[at]")};
        found += 1.0;
        ${r.take}
      }
    }
  }
  y[i] = ${stored(storage, 1, r.result)};
  ${r.more?.code ?? ""}`;
  const bindings = [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)];
  if (r.more) bindings.push(r.more.binding);
  return { run: [perElement(sizeOf(x.shape.slice(0, 2)) * outputSize, { bindings, body })] };
}

/** The greatest element, NaN before all others, and where it is: the first of equal ones. */
function maxPoolStep(
  target: GpuTarget,
  x: TensorType,
  wantsIndices: boolean,
  attrs: MaxPoolAttrs,
): GpuStep | undefined {
  const w = poolWindow("maxPool", x, attrs);
  const float = isFloat(x.dtype);
  const least = float ? literal(leastOf(x.dtype)) : `${leastOf(x.dtype)}`;
  const type = float ? "f32" : x.dtype === "i8" ? "i32" : "u32";
  const greater = float ? "(v > best || (isNan(v) && !isNan(best)))" : "v > best";
  const [rowMajor, columnMajor] = [stridesOf(w.input), stridesOf([...w.input].reverse()).reverse()];
  const index = attrs.columnMajor
    ? `plane + ${w.input.map((n, d) => `(place - plane) / ${rowMajor[d]}u % ${n}u * ${columnMajor[d]}u`).join(" + ")}`
    : "place";
  return windowsStep(target, x, w, {
    start: `var best = ${type}(${least});\n  var place = plane;\n  var any = false;`,
    // Elements of the least value count too.
    take: `if (${greater} || !any) { best = v; place = at; any = true; }`,
    result: "best",
    more: wantsIndices
      ? {
          code: `indices[i] = i32(${sizeOf(w.input) > 0 ? index : "0"});`,
          binding: write("indices", { output: 1 }, "i32"),
        }
      : undefined,
  });
}

const invocations = 64;

/** All elements of each plane. */
function planesKernel(target: GpuTarget, op: AnyOp, reduction: (attrs: { p?: number }) => Planes): Kernel<GpuStep> {
  return gpuKernel(op, `webgpu/${op.op.name}/planes`, ([x], [y], attrs) => {
    const storage = storageOf(target, x.dtype);
    const size = sizeOf(x.shape.slice(2));
    if (!storage || size === 0) return undefined;
    const { start, join, subgroup, element, result } = reduction(attrs as { p?: number });
    const body = `
  var own = ${start};
  for (var e = local; e < ${size}u; e += ${invocations}u) {
    let v = ${loaded(storage, 1, `x[row * ${size}u + e]`)};
    own = ${join("own", element)};
  }
  let sum = together(own, local, width);
  if (local == 0u) { y[row] = ${stored(storage, 1, result(size))}; }`;
    const bindings = [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)];
    const declarations = groupReduction(target, "together", "f32", invocations, { combine: join, subgroup });
    return { run: [perGroup(sizeOf(y.shape), invocations, { bindings, declarations, body })] };
  });
}

interface Planes {
  readonly start: string;
  readonly element: string;
  readonly join: Combination["combine"];
  readonly subgroup?: Combination["subgroup"];
  result(size: number): string;
}

const sums = { start: "0.0", join: addition.combine, subgroup: addition.subgroup };
const powers = (p: number): string => (p === 1 ? "abs(v)" : p === 2 ? "v * v" : `pow(abs(v), ${literal(p)})`);
const root = (p: number, sum: string): string =>
  p === 1 ? sum : p === 2 ? `sqrt(${sum})` : `pow(${sum}, ${literal(1 / p)})`;

export const poolKernels: GpuKernels = (target) => [
  gpuKernel(ops.maxPool, "webgpu/maxPool/windows", ([x], [, indices], attrs) =>
    maxPoolStep(target, x, indices !== undefined, attrs),
  ),
  gpuKernel(ops.averagePool, "webgpu/averagePool/windows", ([x], _, attrs) =>
    windowsStep(target, x, poolWindow("averagePool", x, attrs), {
      start: "var sum = 0.0;",
      take: "sum += v;",
      result: `sum / ${attrs.countIncludePad ? "padded" : "found"}`,
    }),
  ),
  gpuKernel(ops.lpPool, "webgpu/lpPool/windows", ([x], _, { p = 2, ...attrs }) =>
    windowsStep(target, x, poolWindow("lpPool", x, attrs as PoolAttrs), {
      start: "var sum = 0.0;",
      take: `sum += ${powers(p)};`,
      result: root(p, "sum"),
    }),
  ),
  planesKernel(target, ops.globalAveragePool, () => ({ ...sums, element: "v", result: (n) => `sum / ${n}.0` })),
  planesKernel(target, ops.globalMaxPool, () => ({
    start: "-infinity()",
    element: "v",
    join: (a, b) => `maxNan(${a}, ${b})`,
    result: () => "sum",
  })),
  planesKernel(target, ops.globalLpPool, ({ p = 2 }) => ({
    ...sums,
    element: powers(p),
    result: () => root(p, "sum"),
  })),
];
