/**
 * Products with matrices that stay quantised in device memory, in the layouts of quantized-layout.ts.
 *
 *   gemv   few rows of x: every weight is read once, and multiplied in f32 (memory is the limit)
 *   dot    many rows, where there are packed integer dot products: quantized-dot.ts
 *   tile   many rows: the tiled product, weights made floats as they come into workgroup memory
 */
import { type QuantizedMatmulAttrs, quantizedGather, quantizedMatmul } from "../../ops/quantized-matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { type EpilogueCode, epilogueCode } from "./epilogue.ts";
import { fewRows, type Gemv } from "./gemv.ts";
import { type TiledProduct, tiledProduct, tileFor } from "./matmul-tile.ts";
import { absorbingGemv } from "./prologue.ts";
import { dotStep } from "./quantized-dot.ts";
import { type QuantizedLayout, quantizedLayout } from "./quantized-layout.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { perElement, read, write } from "./wgsl.ts";

/** A product to plan. */
interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout: QuantizedLayout;
  readonly finish: EpilogueCode;
}

/** `factorOf(i)`: the two factors of block `i`, two blocks of which lie in a vector. */
const factorCode = ({ factorsAt }: QuantizedLayout): string => `fn factorOf(i: u32) -> vec2f {
  let both = bitcast<vec4f>(w[${factorsAt / 16}u + i / 2u]);
  return select(both.xy, both.zw, (i & 1u) == 1u);
}`;

/** `weightAt(n, k)`: one weight. */
function weightCode(layout: QuantizedLayout, k: number): string {
  const { kind, block } = layout;
  if (kind === "floats")
    return `fn weightAt(n: u32, k: u32) -> f32 { let i = n * ${k}u + k; return bitcast<vec4f>(w[i / 4u])[i % 4u]; }`;
  const integer =
    kind === "nibbles"
      ? "f32((w[i / 32u][(i % 16u) / 4u] >> (i % 4u * 8u + (i % 32u) / 16u * 4u)) & 15u)"
      : "f32(bitcast<i32>(w[i / 16u][(i % 16u) / 4u] << (24u - i % 4u * 8u)) >> 24u)";
  return `${factorCode(layout)}
fn weightAt(n: u32, k: u32) -> f32 {
  let i = n * ${k}u + k;
  let factor = factorOf(i / ${block}u);
  return factor.x * ${integer} + factor.y;
}`;
}

const weights: Binding = read("w", { input: 1 }, "vec4u");

/** What one load of weights, number `e`, adds to the product with the row of x that has its elements from `at` on. */
function partCode(layout: QuantizedLayout): Pick<Gemv, "width" | "part" | "declarations"> {
  const { kind, block } = layout;
  if (kind === "floats") return { width: 4, part: "dot(bitcast<vec4f>(w[e]), inputAt(at))" };
  const width = kind === "nibbles" ? 32 : 16;
  const nibbles = (c: number): [string, number][] => [
    [`unpack4xU8(q[${c}] & 0x0f0f0f0fu)`, c],
    [`unpack4xU8((q[${c}] >> 4u) & 0x0f0f0f0fu)`, c + 4],
  ];
  const bytes = (c: number): [string, number][] => [[`unpack4xI8(q[${c}])`, c]];
  const terms = [0, 1, 2, 3].flatMap(kind === "nibbles" ? nibbles : bytes);
  const lines = terms.map(([q, c]) => `  v = inputAt(at + ${c}u); products += dot(vec4f(${q}), v); sum += v;`);
  return {
    width,
    part: `multiply(w[e], factorOf(e * ${width}u / ${block}u), at)`,
    declarations: `${factorCode(layout)}
fn multiply(q: vec4u, factor: vec2f, at: u32) -> f32 {
  var v: vec4f;
  var products = 0.0;
  var sum = vec4f(0.0);
${lines.join("\n")}
  return factor.x * products + factor.y * dot(sum, vec4f(1.0));
}`,
  };
}

function tileStep(target: GpuTarget, { m, n, k, layout, finish }: Product): GpuStep {
  const product: TiledProduct = {
    ...{ m, n, k, batches: 1 },
    bindings: [read("x", { input: 0 }, "vec4f"), weights, ...finish.bindings],
    element: "f32",
    scalar: "f32",
    declarations: weightCode(layout, k),
    a: {
      one: (row, column) => `x[(${row} * ${k}u + ${column}) / 4u][${column} % 4u]`,
      four: (row, column) => `x[(${row} * ${k}u + ${column}) / 4u]`,
    },
    b: { one: (row, column) => `weightAt(${column}, ${row})`, byRows: false },
    lanes: 1,
    store: (row, column, sum) => finish.store(sum, `${row} * ${n}u + ${column}`, row, column),
  };
  const tile = tileFor(target, product);
  return { run: [tiledProduct(product, tile)] };
}

function productOf(
  target: GpuTarget,
  [, w, bias, residual]: readonly (KernelInput | undefined)[],
  y: TensorType,
  { type, n, k, activation }: QuantizedMatmulAttrs,
): Product | undefined {
  if (!w!.constant || k === 0 || k % 4 !== 0) return undefined;
  const epilogue = { activation, residual, bias: bias && { type: bias, row: 0, column: 1 } };
  const finish = epilogueCode(target, y, epilogue, 1);
  return finish && { m: sizeOf(y.shape) / n, n, k, layout: quantizedLayout(type, n, k, 1), finish };
}

export const quantizedKernels: GpuKernels = (target) => [
  gpuKernel(quantizedMatmul, "webgpu/quantizedMatmul/gemv", (inputs, [y], attrs) => {
    const p = productOf(target, inputs, y, attrs);
    if (!p || p.m > fewRows) return undefined;
    const { m, n, k, layout, finish } = p;
    const step = absorbingGemv(target, {
      ...{ m, n, k },
      xType: "vec4f",
      ...partCode(layout),
      bindings: [weights, ...finish.bindings],
      store: (sum, row, column) => finish.store(sum, `${row} * ${n}u + ${column}`, row, column),
    });
    return { ...step, prepack: [layout.prepack] };
  }),
  gpuKernel(quantizedMatmul, "webgpu/quantizedMatmul/dot", (inputs, [y], attrs) => {
    const p = productOf(target, inputs, y, attrs);
    if (!p || attrs.exact || !target.packedDot || p.layout.kind === "floats" || p.layout.block !== 32) return undefined;
    const declarations = factorCode(p.layout);
    return { ...dotStep({ ...p, declarations, weights }), prepack: [p.layout.prepack] };
  }),
  gpuKernel(quantizedMatmul, "webgpu/quantizedMatmul/tile", (inputs, [y], attrs) => {
    const p = productOf(target, inputs, y, attrs);
    return p && { ...tileStep(target, p), prepack: [p.layout.prepack] };
  }),
  gpuKernel(quantizedGather, "webgpu/quantizedGather/rows", ([indices, w], [y], { type, rows, k }) => {
    const storage = storageOf(target, indices.dtype);
    if (!storage || !w.constant) return undefined;
    const layout = quantizedLayout(type, rows, k, 1);
    const body = `
  let index = i32(indices[i / ${k}u]);
  let row = u32(select(index, index + ${rows}, index < 0));
  y[i] = weightAt(min(row, ${rows - 1}u), i % ${k}u);`;
    const bindings = [read("indices", { input: 0 }, storage.element), weights, write("y", { output: 0 }, "f32")];
    return {
      run: [perElement(sizeOf(y.shape), { bindings, declarations: weightCode(layout, k), body })],
      prepack: [layout.prepack],
    };
  }),
];
