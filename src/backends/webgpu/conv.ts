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
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput, Prepack } from "../backend.ts";
import { type EpilogueCode, epilogueCode } from "./epilogue.ts";
import { type TiledProduct, tiledBytes, tiledProduct, tileFor } from "./matmul-tile.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, type Storage, storageOf } from "./target.ts";
import { coordinates, loaded, perElement, read, typeName } from "./wgsl.ts";

interface Operands {
  readonly storage: Storage;
  readonly bindings: readonly Binding[];
  store: EpilogueCode["store"];
}

/** x, w, bias, residual and y of both convolutions. Channels are the "columns" that a bias goes along. */
function operandsOf(
  target: GpuTarget,
  inputs: readonly (KernelInput | undefined)[],
  y: TensorType,
  { activation }: EpilogueAttrs,
): Operands | undefined {
  const [x, , bias, residual] = inputs;
  const storage = storageOf(target, x!.dtype);
  const epilogue = { activation, residual, bias: bias && { type: bias, row: 0, column: 1 } };
  const code = epilogueCode(target, y, epilogue, 1);
  if (!storage || !code) return undefined;
  const bindings = [read("x", { input: 0 }, storage.element), read("w", { input: 1 }, storage.element)];
  return { storage, bindings: [...bindings, ...code.bindings], store: code.store };
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
  ${store("sum", "i", "0u", "channel")}`;
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
    moves: dtype === "f32",
    pack(source, packed) {
      for (let z = 0; z < groups; z++)
        for (let i = 0; i < m; i++)
          for (let j = 0; j < k; j++) packed[(z * k + j) * width + i] = source[(z * m + i) * k + j];
    },
  };
}

function gemmStep(target: GpuTarget, g: ConvGeometry, w: KernelInput, { storage, bindings, store }: Operands): GpuStep {
  const { window, channelsIn, channelsOut, groups, batch } = g;
  const [m, channels, n] = [channelsOut / groups, channelsIn / groups, sizeOf(window.output)];
  const taps = sizeOf(window.kernel);
  const k = channels * taps;
  const plain =
    taps === 1 && window.strides.every((s) => s === 1) && [...window.padBegin, ...window.padEnd].every((p) => p === 0);
  const packed = w.constant !== undefined;
  const width = packed ? Math.ceil(m / 4) * 4 : 0;
  const group = groups === 1 ? "0u" : `(batch % ${groups}u)`;
  const inFours = plain && n % 4 === 0;
  const patch = plain
    ? `return x[(plane + k) * ${n}u + n];`
    : `
  ${coordinates("o", "n", window.output)}
  let t = k % ${taps}u;
  ${coordinates("t", "t", window.kernel)}
  ${tapCode(g)}
  if (!inside) { return ${storage.element}(0); }
  return x[(plane + k / ${taps}u) * ${sizeOf(window.input)}u + position];`;
  const product: TiledProduct = {
    ...{ m, n, k },
    batches: batch * groups,
    bindings: bindings.map((b) => (b.name === "x" && inFours ? { ...b, type: typeName(storage.element, 4) } : b)),
    element: storage.element,
    scalar: "f32",
    declarations: inFours ? "" : `fn patchAt(plane: u32, k: u32, n: u32) -> ${storage.element} {${patch}\n}`,
    begin: `  let plane = batch * ${channels}u;`,
    a: {
      one: (row, column) =>
        packed
          ? `w[(${group} * ${k}u + ${column}) * ${width}u + ${row}]`
          : `w[(${group} * ${m}u + ${row}) * ${k}u + ${column}]`,
      byRows: !packed,
    },
    b: {
      one: (row, column) => `patchAt(plane, ${row}, ${column})`,
      four: inFours ? (row, column) => `x[((plane + ${row}) * ${n}u + ${column}) / 4u]` : undefined,
    },
    lanes: 1,
    store: (row, column, sum) =>
      store(sum, `(batch * ${m}u + ${row}) * ${n}u + ${column}`, "0u", `(${group} * ${m}u + ${row})`),
  };
  const tile = tileFor(target, product);
  return {
    run: [tiledProduct(product, tile)],
    bytes: tiledBytes(product, tile, storage.bytes),
    prepack: packed ? [prepackWeights(g, w.dtype)] : undefined,
  };
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
  ${store("sum", "i", "0u", "channel")}`;
  return { run: [perElement(sizeOf(g.shape), { bindings, body })] };
}

/** Channels of a group below which a tile would be mostly empty. */
const narrow = 8;

export const convKernels: GpuKernels = (target) => [
  gpuKernel(conv, "webgpu/conv/implicit-gemm", (inputs, [y], attrs) => {
    const g = convGeometry("conv", inputs[0], inputs[1], attrs);
    const operands = operandsOf(target, inputs, y, attrs);
    if (!operands || g.channelsOut / g.groups < narrow || g.batch * g.groups > 65535) return undefined;
    return gemmStep(target, g, inputs[1], operands);
  }),
  gpuKernel(conv, "webgpu/conv/direct", (inputs, [y], attrs) => {
    const operands = operandsOf(target, inputs, y, attrs);
    return operands && directStep(convGeometry("conv", inputs[0], inputs[1], attrs), operands);
  }),
  gpuKernel(convTranspose, "webgpu/convTranspose/direct", (inputs, [y], attrs) => {
    const operands = operandsOf(target, inputs, y, attrs);
    return operands && transposedStep(convTransposeGeometry(inputs[0], inputs[1], attrs), operands);
  }),
];
