/** Linear quantization, and products of 8-bit tensors: tiles of i32, from which zero points are taken as they come in. */
import { integerRange } from "../../ops/integers.ts";
import { matmulGeometry } from "../../ops/matmul.ts";
import { matmulInteger, matmulIntegerToFloat } from "../../ops/matmul-integer.ts";
import {
  dequantizeLinear,
  dynamicQuantizeLinear,
  dynamicRows,
  type GranularityAttrs,
  quantizeLinear,
  scaleLayout,
} from "../../ops/quantize.ts";
import { parameterStrides } from "../../ops/quantized-product.ts";
import { isInteger } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { type TiledProduct, tiledProduct, tileFor } from "./matmul-tile.ts";
import { groupReduction } from "./reduction.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { loaded, offsets, perElement, perGroup, read, stored, write } from "./wgsl.ts";

/** Where the scale of element `i` is. */
function scaleAt(op: string, x: TensorType, scale: TensorType, attrs: GranularityAttrs): string {
  const { n, inner, kind, block } = scaleLayout(op, x, scale, attrs);
  if (kind === "tensor") return "0u";
  const k = `(i / ${inner}u) % ${n}u`;
  if (kind === "axis") return k;
  return `(i / ${n * inner}u * ${Math.ceil(n / block)}u + ${k} / ${block}u) * ${inner}u + i % ${inner}u`;
}

/** Halves of what is quantized decide: the quotient is corrected to the nearest. */
const quotient = `
fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  let corrected = q + fma(-q, b, a) / b;
  return select(corrected, q, isInfinite(q) || isNan(q));
}`;

/** Invocations that find the range of a tensor. */
const rangeSize = 256;

const linearKernels: GpuKernels = (target) => [
  gpuKernel(quantizeLinear, "webgpu/quantizeLinear", ([x, scale, zero], [y], attrs) => {
    const [from, step, to] = [x, scale, y].map((t) => storageOf(target, t.dtype));
    const precision = attrs.precision ?? scale.dtype;
    if (!from || !step || !to || !isInteger(y.dtype) || precision !== "f32") return undefined;
    const [low, high] = integerRange(y.dtype).map(Number);
    const body = `  let at = ${scaleAt("quantizeLinear", x, scale, attrs)};
  let q = round(quotient(f32(${loaded(from, 1, "x[i]")}), ${loaded(step, 1, "scale[at]")}))${zero ? " + f32(zero[at])" : ""};
  y[i] = ${to.element}(clamp(q, ${low}.0, ${high}.0));`;
    const bindings = [read("x", { input: 0 }, from.element), read("scale", { input: 1 }, step.element)];
    if (zero) bindings.push(read("zero", { input: 2 }, to.element));
    bindings.push(write("y", { output: 0 }, to.element));
    return { run: [perElement(sizeOf(y.shape), { bindings, declarations: quotient, body })] };
  }),
  gpuKernel(dequantizeLinear, "webgpu/dequantizeLinear", ([x, scale, zero], [y], attrs) => {
    const [from, step, to] = [x, scale, y].map((t) => storageOf(target, t.dtype));
    if (!from || !step || !to || !isInteger(x.dtype)) return undefined;
    // In integers: their differences are exact.
    const value = zero ? "i32(x[i]) - i32(zero[at])" : "x[i]";
    const body = `  let at = ${scaleAt("dequantizeLinear", x, scale, attrs)};
  y[i] = ${stored(to, 1, `(f32(${value}) * ${loaded(step, 1, "scale[at]")})`)};`;
    const bindings = [read("x", { input: 0 }, from.element), read("scale", { input: 1 }, step.element)];
    if (zero) bindings.push(read("zero", { input: 2 }, from.element));
    bindings.push(write("y", { output: 0 }, to.element));
    return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
  }),
  gpuKernel(dynamicQuantizeLinear, "webgpu/dynamicQuantizeLinear", ([x], [y, scale, zero], attrs) => {
    const { rows, n } = dynamicRows(x, attrs);
    const range = groupReduction(target, "together", "vec2f", rangeSize, {
      combine: (a, b) => `vec2f(min((${a}).x, (${b}).x), max((${a}).y, (${b}).y))`,
    });
    const chosen: Binding[] = [read("x", { input: 0 }, "f32"), write("parameters", { scratch: 0 }, "f32")];
    if (scale) chosen.push(write("scale", { output: 1 }, "f32"));
    if (zero) chosen.push(write("zero", { output: 2 }, "u32"));
    const choose = perGroup(rows, rangeSize, {
      bindings: chosen,
      declarations: `${range}${quotient}`,
      body: `  var own = vec2f();
  for (var k = local; k < ${n}u; k += ${rangeSize}u) {
    let v = x[row * ${n}u + k];
    own = vec2f(min(own.x, v), max(own.y, v));
  }
  let both = together(own, local, width);
  var step = quotient(both.y - both.x, 255.0);
  if (step == 0.0) { step = 1.0; }
  let shift = round(clamp(quotient(-both.x, step), 0.0, 255.0));
  if (local == 0u) {
    parameters[2u * row] = step;
    parameters[2u * row + 1u] = shift;
    ${scale ? "scale[row] = step;" : ""} ${zero ? "zero[row] = u32(shift);" : ""}
  }`,
    });
    const quantize = perElement(rows * n, {
      bindings: [
        read("x", { input: 0 }, "f32"),
        read("parameters", { scratch: 0 }, "f32"),
        write("y", { output: 0 }, "u32"),
      ],
      declarations: quotient,
      body: `  let at = 2u * (i / ${Math.max(n, 1)}u);
  y[i] = u32(clamp(round(quotient(x[i], parameters[at])) + parameters[at + 1u], 0.0, 255.0));`,
    });
    return { run: y ? [choose, quantize] : [choose], scratch: [8 * rows + 8] };
  }),
];

/** A parameter of rows or columns as an expression of `first` and `second`; undefined where it differs by batch. */
function parameter(op: string, t: TensorType | undefined, of: TensorType, along: "rows" | "columns") {
  if (!t) return () => "";
  const strides = parameterStrides(op, t, of.shape, along);
  const [s1, s2] = strides.slice(-2);
  if (strides.slice(0, -2).some((s) => s > 0)) return undefined;
  return (name: string, first: string, second: string): string => `${name}[${first} * ${s1}u + ${second} * ${s2}u]`;
}

/** The product as i32, or what `finish` makes of a sum. */
function productStep(
  target: GpuTarget,
  op: string,
  [a, b, aZero, bZero]: readonly (KernelInput | undefined)[],
  zeroInputs: readonly [number, number],
  y: TensorType,
  rest: readonly Binding[],
  finish: (sum: string, row: string, column: string) => string,
): GpuStep | undefined {
  if (a!.shape.length < 2 || b!.shape.length < 2) return undefined;
  const g = matmulGeometry(op, a!, b!);
  const { m, n, k } = g;
  const batches = sizeOf(g.batch);
  const aAt = parameter(op, aZero, a!, "rows");
  const bAt = parameter(op, bZero, b!, "columns");
  const [aType, bType, yType] = [a!, b!, y].map((t) => storageOf(target, t.dtype)!.element);
  if (!aAt || !bAt || batches > 65535 || k === 0) return undefined;
  const bindings = [read("a", { input: 0 }, aType), read("b", { input: 1 }, bType)];
  if (aZero) bindings.push(read("aZero", { input: zeroInputs[0] }, aType));
  if (bZero) bindings.push(read("bZero", { input: zeroInputs[1] }, bType));
  bindings.push(...rest, write("y", { output: 0 }, yType));
  const starts = offsets("batch", g.batch, [g.aBatch.map((s) => s * m * k), g.bBatch.map((s) => s * k * n)], "outer");
  const minus = (zero: string): string => (zero ? ` - i32(${zero})` : "");
  const product: TiledProduct = {
    ...{ m, n, k, batches, bindings, element: "i32", scalar: "i32", lanes: 1 },
    begin: `${starts.code}  let aStart = ${starts.at[0]};\n  let bStart = ${starts.at[1]};\n`,
    a: {
      one: (row, at) => `i32(a[aStart + ${row} * ${k}u + ${at}])${minus(aZero ? aAt("aZero", row, at) : "")}`,
    },
    b: {
      one: (at, column) => `i32(b[bStart + ${at} * ${n}u + ${column}])${minus(bZero ? bAt("bZero", at, column) : "")}`,
    },
    store: (row, column, sum) => `y[(batch * ${m}u + ${row}) * ${n}u + ${column}] = ${finish(sum, row, column)};`,
  };
  return { run: [tiledProduct(product, tileFor(target, product))] };
}

export const quantizeKernels: GpuKernels = (target) => [
  ...linearKernels(target),
  gpuKernel(matmulInteger, "webgpu/matmulInteger/tile", (inputs, [y]) =>
    productStep(target, "matmulInteger", inputs, [2, 3], y, [], (sum) => sum),
  ),
  gpuKernel(matmulIntegerToFloat, "webgpu/matmulIntegerToFloat/tile", (inputs, [y]) => {
    const op = "matmulIntegerToFloat";
    const [a, b, aScale, bScale, aZero, bZero, bias] = inputs;
    const to = storageOf(target, y.dtype);
    const rows = parameter(op, aScale, y, "rows");
    const columns = parameter(op, bScale, y, "columns");
    if (to?.scalar !== "f32" || !rows || !columns || y.shape.length < 2) return undefined;
    const rest = [read("aScale", { input: 2 }, to.element), read("bScale", { input: 3 }, to.element)];
    if (bias) rest.push(read("bias", { input: 6 }, to.element));
    const scaleOf = (text: string): string => loaded(to, 1, text);
    return productStep(target, op, [a, b, aZero, bZero], [4, 5], y, rest, (sum, row, column) => {
      const scale = `(${scaleOf(rows("aScale", row, column))} * ${scaleOf(columns("bScale", row, column))})`;
      return stored(to, 1, `(f32(${sum}) * ${scale}${bias ? ` + ${scaleOf(`bias[${column}]`)}` : ""})`);
    });
  }),
];
