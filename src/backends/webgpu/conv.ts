/**
 * Convolution over any number of spatial axes.
 *
 *   direct          one invocation for each element of the result: depthwise and narrow groups
 *   implicit-gemm   weights [m, k] by patches [k, n] that are found where they are read, never stored; k counts channels
 *                   and taps, n positions. With one tap and no padding a patch is the input itself
 *   transposed      one invocation for each element of the result, over the elements that add to it
 */
import { type ConvGeometry, conv, convGeometry } from "../../ops/conv.ts";
import { convTranspose, convTransposeGeometry } from "../../ops/conv-transpose.ts";
import type { EpilogueAttrs } from "../../ops/epilogue.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { KernelInput, Prepack } from "../backend.ts";
import { activated } from "./activations.ts";
import { productTile } from "./product-tile.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, type Storage, storageOf } from "./target.ts";
import { coordinates, loaded, perElement, read, stored, typeName, write } from "./wgsl.ts";

interface Operands {
  readonly storage: Storage;
  readonly bindings: readonly Binding[];
  /** Statement that stores `sum`, element `at` of channel `channel`. */
  readonly store: string;
}

/** x, w, bias, residual and y of both convolutions. */
function operandsOf(
  target: GpuTarget,
  inputs: readonly (KernelInput | undefined)[],
  { activation }: EpilogueAttrs,
): Operands | undefined {
  const [x, , bias, residual] = inputs;
  const storage = storageOf(target, x!.dtype);
  if (!storage) return undefined;
  const bindings = ["x", "w", "bias", "residual"].flatMap((name, input) =>
    inputs[input] ? [read(name, { input }, storage.element)] : [],
  );
  const terms = ["sum"];
  if (bias) terms.push(loaded(storage, 1, "bias[channel]"));
  if (residual) terms.push(loaded(storage, 1, "residual[at]"));
  const store = `let value = ${terms.join(" + ")};
  y[at] = ${stored(storage, 1, activated(activation, "value"))};`;
  return { storage, bindings: [...bindings, write("y", { output: 0 }, storage.element)], store };
}

/** Where the tap `t` of window `o` lies in the input, and whether it does: variables `inside` and `position`. */
function tapCode({ window: w }: ConvGeometry): string {
  const strides = stridesOf(w.input);
  const axes = w.input.map(
    (_, d) => `let i${d} = o${d} * ${w.strides[d]} + t${d} * ${w.dilations[d]} - ${w.padBegin[d]};`,
  );
  const tests = w.input.map((n, d) => `i${d} >= 0 && i${d} < ${n}`);
  const terms = w.input.map((_, d) => `i${d} * ${strides[d]}`);
  return `${axes.join(" ")}
      let inside = ${tests.join(" && ")};
      let position = u32(${terms.join(" + ")});`;
}

function directStep(g: ConvGeometry, { storage, bindings, store }: Operands): GpuStep {
  const { window: w, channelsIn, channelsOut, groups } = g;
  const [perGroup, outPerGroup] = [channelsIn / groups, channelsOut / groups];
  const [inputSize, outputSize, taps] = [w.input, w.output, w.kernel].map(sizeOf);
  const body = `
  let at = i;
  let o = i % ${outputSize}u;
  let channel = i / ${outputSize}u % ${channelsOut}u;
  let b = i / ${outputSize * channelsOut}u;
  let firstChannel = b * ${channelsIn}u + channel / ${outPerGroup}u * ${perGroup}u;
  ${coordinates("o", "o", w.output)}
  var sum = 0.0;
  for (var t = 0u; t < ${taps}u; t++) {
    ${coordinates("t", "t", w.kernel)}
    ${tapCode(g)}
    if (inside) {
      for (var c = 0u; c < ${perGroup}u; c++) {
        sum += ${loaded(storage, 1, `x[(firstChannel + c) * ${inputSize}u + position]`)} * ${loaded(storage, 1, `w[(channel * ${perGroup}u + c) * ${taps}u + t]`)};
      }
    }
  }
  ${store}`;
  return { run: [perElement(sizeOf(g.shape), { bindings, body })] };
}

/** Weights as [group, k, m], m in fours, so that a column of A is read at once. */
function prepackWeights(g: ConvGeometry, dtype: KernelInput["dtype"]): Prepack {
  const { groups, channelsIn, channelsOut } = g;
  const m = channelsOut / groups;
  const k = (channelsIn / groups) * sizeOf(g.window.kernel);
  const width = Math.ceil(m / 4) * 4;
  return {
    input: 1,
    key: `webgpu/conv/${groups}`,
    type: { dtype, shape: [groups, k, width] },
    pack(source, packed) {
      for (let z = 0; z < groups; z++)
        for (let i = 0; i < m; i++)
          for (let j = 0; j < k; j++) packed[(z * k + j) * width + i] = source[(z * m + i) * k + j];
    },
  };
}

function gemmStep(g: ConvGeometry, w: KernelInput, { storage, bindings, store }: Operands): GpuStep {
  const { window, channelsIn, channelsOut, groups, batch } = g;
  const [m, channels, n] = [channelsOut / groups, channelsIn / groups, sizeOf(window.output)];
  const taps = sizeOf(window.kernel);
  const k = channels * taps;
  const inputSize = sizeOf(window.input);
  const plain =
    taps === 1 && window.strides.every((s) => s === 1) && [...window.padBegin, ...window.padEnd].every((p) => p === 0);
  const packed = w.constant !== undefined;
  const a = packed
    ? `weightsAt(z, k, m)`
    : `vec4f(weightAt(z, k, m), weightAt(z, k, m + 1u), weightAt(z, k, m + 2u), weightAt(z, k, m + 3u))`;
  const fours = Math.ceil(m / 4);
  const group = groups === 1 ? "0u" : `(z % ${groups}u)`;
  const weights = packed
    ? `fn weightsAt(z: u32, k: u32, m: u32) -> vec4f {
  if (k >= ${k}u || m >= ${m}u) { return vec4f(0.0); }
  return ${loaded(storage, 4, `w[(${group} * ${k}u + k) * ${fours}u + m / 4u]`)};
}`
    : `fn weightAt(z: u32, k: u32, m: u32) -> f32 {
  if (k >= ${k}u || m >= ${m}u) { return 0.0; }
  return ${loaded(storage, 1, `w[(${group} * ${m}u + m) * ${k}u + k]`)};
}`;
  const patches = plain
    ? `fn patchAt(plane: u32, k: u32, n: u32) -> f32 {
  if (k >= ${k}u || n >= ${n}u) { return 0.0; }
  return ${loaded(storage, 1, `x[(plane + k) * ${n}u + n]`)};
}`
    : `fn patchAt(plane: u32, k: u32, n: u32) -> f32 {
  if (k >= ${k}u || n >= ${n}u) { return 0.0; }
  ${coordinates("o", "n", window.output)}
  let t = k % ${taps}u;
  ${coordinates("t", "t", window.kernel)}
  ${tapCode(g)}
  if (!inside) { return 0.0; }
  return ${loaded(storage, 1, `x[(plane + k / ${taps}u) * ${inputSize}u + position]`)};
}`;
  const dispatch = productTile({
    m,
    n,
    k,
    batch: batch * groups,
    bindings: bindings.map((b) => (b.name === "w" && packed ? { ...b, type: typeName(storage.element, 4) } : b)),
    declarations: `${weights}\n${patches}`,
    setup: `  let plane = z * ${channels}u;`,
    a,
    b: "vec4f(patchAt(plane, k, n), patchAt(plane, k, n + 1u), patchAt(plane, k, n + 2u), patchAt(plane, k, n + 3u))",
    store: `let channel = ${groups === 1 ? "m" : `z % ${groups}u * ${m}u + m`};
        let at = (z * ${m}u + m) * ${n}u + n;
        ${store}`,
  });
  return { run: [dispatch], prepack: packed ? [prepackWeights(g, w.dtype)] : undefined };
}

function transposedStep(g: ConvGeometry, { storage, bindings, store }: Operands): GpuStep {
  const { window: w, groups } = g;
  // The window reads y and gives x: its input is y.
  const [yPerGroup, xPerGroup] = [g.channelsIn / groups, g.channelsOut / groups];
  const [ySize, xSize, taps] = [w.input, w.output, w.kernel].map(sizeOf);
  const xStrides = stridesOf(w.output);
  const axes = w.input.map((_, d) => `let s${d} = o${d} + ${w.padBegin[d]} - t${d} * ${w.dilations[d]};`);
  const tests = w.output.map((n, d) => `s${d} >= 0 && s${d} % ${w.strides[d]} == 0 && s${d} / ${w.strides[d]} < ${n}`);
  const terms = w.output.map((_, d) => `s${d} / ${w.strides[d]} * ${xStrides[d]}`);
  const body = `
  let at = i;
  let o = i % ${ySize}u;
  let channel = i / ${ySize}u % ${g.channelsIn}u;
  let b = i / ${ySize * g.channelsIn}u;
  let m = channel % ${yPerGroup}u;
  let firstChannel = channel / ${yPerGroup}u * ${xPerGroup}u;
  ${coordinates("o", "o", w.input)}
  var sum = 0.0;
  for (var t = 0u; t < ${taps}u; t++) {
    ${coordinates("t", "t", w.kernel)}
    ${axes.join(" ")}
    if (${tests.join(" && ")}) {
      let position = u32(${terms.join(" + ")});
      for (var c = firstChannel; c < firstChannel + ${xPerGroup}u; c++) {
        sum += ${loaded(storage, 1, `x[(b * ${g.channelsOut}u + c) * ${xSize}u + position]`)} * ${loaded(storage, 1, `w[(c * ${yPerGroup}u + m) * ${taps}u + t]`)};
      }
    }
  }
  ${store}`;
  return { run: [perElement(sizeOf(g.shape), { bindings, body })] };
}

/** Channels of a group below which a tile would be mostly empty. */
const narrow = 8;

export const convKernels: GpuKernels = (target) => [
  gpuKernel(conv, "webgpu/conv/implicit-gemm", (inputs, [y], attrs) => {
    const g = convGeometry("conv", inputs[0], inputs[1], attrs);
    const operands = operandsOf(target, inputs, attrs);
    if (!operands || g.channelsOut / g.groups < narrow || sizeOf(y.shape) === 0 || g.batch * g.groups > 65535)
      return undefined;
    return gemmStep(g, inputs[1], operands);
  }),
  gpuKernel(conv, "webgpu/conv/direct", (inputs, _, attrs) => {
    const operands = operandsOf(target, inputs, attrs);
    return operands && directStep(convGeometry("conv", inputs[0], inputs[1], attrs), operands);
  }),
  gpuKernel(convTranspose, "webgpu/convTranspose/direct", (inputs, _, attrs) => {
    const operands = operandsOf(target, inputs, attrs);
    return operands && transposedStep(convTransposeGeometry("convTranspose", inputs[0], inputs[1], attrs), operands);
  }),
];
