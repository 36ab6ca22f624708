/**
 * Products with matrices that stay quantised in device memory, in the layouts of quantized-layout.ts.
 *
 *   gemv   few rows of x: 16 invocations for each row of weights, a vec4u at a time; every weight is read once
 *   tile   many rows of x: the tiled product, weights made floats as they come into workgroup memory
 *
 * Both multiply in f32: integer dot products would take activations in 8 bits, and bring nothing where memory is the limit.
 */
import { type QuantizedMatmulAttrs, quantizedGather, quantizedMatmul } from "../../ops/quantized-matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { activated } from "./activations.ts";
import { productTile } from "./product-tile.ts";
import { type QuantizedLayout, quantizedLayout } from "./quantized-layout.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { perElement, perGroup, read, write } from "./wgsl.ts";

/** Integers and factors are parts of one buffer. */
function weightBindings({ kind, factorsAt, bytes }: QuantizedLayout, input: number, wide: boolean): Binding[] {
  if (kind === "floats") return [read("w", { input }, wide ? "vec4f" : "f32")];
  return [
    { ...read("w", { input }, wide ? "vec4u" : "u32"), range: { offset: 0, bytes: factorsAt } },
    { ...read("factors", { input }, "vec2f"), range: { offset: factorsAt, bytes: bytes - factorsAt } },
  ];
}

/** `weightAt(n, k)`, one weight. */
function weightCode({ kind, block }: QuantizedLayout, k: number): string {
  if (kind === "floats") return `fn weightAt(n: u32, k: u32) -> f32 { return w[n * ${k}u + k]; }`;
  const integer =
    kind === "nibbles"
      ? "f32((w[(i / 32u) * 4u + (i % 16u) / 4u] >> (i % 4u * 8u + (i % 32u) / 16u * 4u)) & 15u)"
      : "f32(i32(w[i / 4u] << (24u - i % 4u * 8u)) >> 24u)";
  return `fn weightAt(n: u32, k: u32) -> f32 {
  let i = n * ${k}u + k;
  let factor = factors[i / ${block}u];
  return factor.x * ${integer} + factor.y;
}`;
}

const team = 16;
const teams = 4;
/** Rows of x that a gemv serves. */
const fewRows = 8;

interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout: QuantizedLayout;
  readonly bindings: readonly Binding[];
  /** Statement that stores `sum`, element [m, n]. */
  readonly store: string;
}

/** What one load of weights, number `e`, adds to the product with the row of x that has its elements from `at` on. */
function partCode({ kind, block }: QuantizedLayout): { width: number; code: string; declarations: string } {
  if (kind === "floats") return { width: 4, code: "dot(w[e], x[at])", declarations: "" };
  const width = kind === "nibbles" ? 32 : 16;
  const nibbles = (c: number): [string, number][] => [
    [`unpack4xU8(q[${c}] & 0x0f0f0f0fu)`, c],
    [`unpack4xU8((q[${c}] >> 4u) & 0x0f0f0f0fu)`, c + 4],
  ];
  const bytes = (c: number): [string, number][] => [[`unpack4xI8(q[${c}])`, c]];
  const terms = [0, 1, 2, 3].flatMap(kind === "nibbles" ? nibbles : bytes);
  const lines = terms.map(([q, c]) => `  v = x[at + ${c}u]; products += dot(vec4f(${q}), v); sum += v;`);
  return {
    width,
    code: `multiply(w[e], factors[e * ${width}u / ${block}u], at)`,
    declarations: `fn multiply(q: vec4u, factor: vec2f, at: u32) -> f32 {
  var v: vec4f;
  var products = 0.0;
  var sum = vec4f(0.0);
${lines.join("\n")}
  return factor.x * products + factor.y * dot(sum, vec4f(1.0));
}`,
  };
}

/** Each workgroup has `teams` rows of weights. */
function gemvStep(target: GpuTarget, { m, n, k, layout, bindings, store }: Product): GpuStep {
  const { width, code, declarations } = partCode(layout);
  const perRow = k / width;
  const shuffle = target.subgroups !== undefined && target.subgroups.min >= team;
  const rows = Array.from({ length: m }, (_, r) => r);
  const invocations = team * teams;
  const steps = [8, 4, 2, 1];
  const reduce = shuffle
    ? rows.map((r) => steps.map((s) => `  sum${r} += subgroupShuffleXor(sum${r}, ${s}u);`).join("\n")).join("\n")
    : steps
        .map(
          (s) => `  workgroupBarrier();
  if (lane < ${s}u) { ${rows.map((r) => `parts[local * ${m}u + ${r}u] += parts[(local + ${s}u) * ${m}u + ${r}u];`).join(" ")} }`,
        )
        .join("\n");
  const body = `
  let lane = local % ${team}u;
  let n = row * ${teams}u + local / ${team}u;
${rows.map((r) => `  var sum${r} = 0.0;`).join("\n")}
  if (n < ${n}u) {
    for (var p = lane; p < ${perRow}u; p += ${team}u) {
      let e = n * ${perRow}u + p;
${rows.map((r) => `      { let at = ${(r * k) / 4}u + p * ${width / 4}u; sum${r} += ${code}; }`).join("\n")}
    }
  }
${shuffle ? "" : rows.map((r) => `  parts[local * ${m}u + ${r}u] = sum${r};`).join("\n")}
${reduce}
  if (lane == 0u && n < ${n}u) {
${rows.map((r) => `    { let m = ${r}u; let sum = ${shuffle ? `sum${r}` : `parts[local * ${m}u + ${r}u]`}; ${store} }`).join("\n")}
  }`;
  return {
    run: [
      perGroup(Math.ceil(n / teams), invocations, {
        bindings,
        declarations: `${declarations}\n${shuffle ? "" : `var<workgroup> parts: array<f32, ${invocations * m}>;`}`,
        body,
      }),
    ],
    prepack: [layout.prepack],
  };
}

function tileStep({ m, n, k, layout, bindings, store }: Product): GpuStep {
  const four = (value: (i: number) => string): string => `vec4f(${[0, 1, 2, 3].map(value).join(", ")})`;
  const dispatch = productTile({
    ...{ m, n, k, batch: 1, bindings, store },
    declarations: `${weightCode(layout, k)}
fn inputAt(m: u32, k: u32) -> f32 {
  if (m >= ${m}u || k >= ${k}u) { return 0.0; }
  return x[m * ${k}u + k];
}
fn within(n: u32, k: u32) -> f32 {
  if (n >= ${n}u || k >= ${k}u) { return 0.0; }
  return weightAt(n, k);
}`,
    a: four((i) => `inputAt(m + ${i}u, k)`),
    b: four((i) => `within(n + ${i}u, k)`),
  });
  return { run: [dispatch], prepack: [layout.prepack] };
}

export const quantizedKernels: GpuKernels = (target) => [
  gpuKernel(quantizedMatmul, "webgpu/quantizedMatmul/gemv", (inputs, [y], attrs) => {
    const p = productOf(inputs, y, attrs, true);
    return p && p.m <= fewRows && p.m > 0 ? gemvStep(target, p) : undefined;
  }),
  gpuKernel(quantizedMatmul, "webgpu/quantizedMatmul/tile", (inputs, [y], attrs) => {
    const p = productOf(inputs, y, attrs, false);
    return p && tileStep(p);
  }),
  gpuKernel(quantizedGather, "webgpu/quantizedGather/rows", ([indices, w], [y], { type, rows, k }) => {
    const storage = storageOf(target, indices.dtype);
    if (!storage || !w.constant || k === 0) return undefined;
    const layout = quantizedLayout(type, rows, k, 1);
    const body = `
  let index = i32(indices[i / ${k}u]);
  let row = u32(select(index, index + ${rows}, index < 0));
  y[i] = weightAt(min(row, ${rows - 1}u), i % ${k}u);`;
    const bindings = [read("indices", { input: 0 }, storage.element), ...weightBindings(layout, 1, false)];
    return {
      run: [
        perElement(sizeOf(y.shape), {
          bindings: [...bindings, write("y", { output: 0 }, "f32")],
          declarations: weightCode(layout, k),
          body,
        }),
      ],
      prepack: [layout.prepack],
    };
  }),
];

function productOf(
  inputs: readonly (KernelInput | undefined)[],
  y: TensorType,
  { type, n, k, activation }: QuantizedMatmulAttrs,
  wide: boolean,
): Product | undefined {
  const [, w, bias, residual] = inputs;
  const m = sizeOf(y.shape) / n;
  if (!w!.constant || sizeOf(y.shape) === 0 || k === 0 || k % 4 !== 0) return undefined;
  const layout = quantizedLayout(type, n, k, 1);
  const bindings = [read("x", { input: 0 }, wide ? "vec4f" : "f32"), ...weightBindings(layout, 1, wide)];
  if (bias) bindings.push(read("bias", { input: 2 }, "f32"));
  if (residual) bindings.push(read("residual", { input: 3 }, "f32"));
  bindings.push(write("y", { output: 0 }, "f32"));
  const terms = ["sum", ...(bias ? ["bias[n]"] : []), ...(residual ? [`residual[m * ${n}u + n]`] : [])];
  const store = `let value = ${terms.join(" + ")}; y[m * ${n}u + n] = ${activated(activation, "value")};`;
  return { m, n, k, layout, bindings, store };
}
