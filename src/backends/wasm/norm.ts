/** Normalisations, f32: layerNorm, rmsNorm, instanceNorm, groupNorm and localResponseNorm. Rows go to the threads. */
import { channelsFirst } from "../../ops/batch-norm.ts";
import { groupNorm, instanceNorm } from "../../ops/group-norm.ts";
import { layerNorm, rmsNorm, rowsFrom } from "../../ops/layer-norm.ts";
import { localResponseNorm } from "../../ops/local-norm.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { splat } from "./kernels/math.ts";
import { emitNormGroup, emitNormRow, emitResponseNorm } from "./kernels/vector-norm.ts";
import { emitCells } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

const allF32 = (inputs: readonly (KernelInput | undefined)[]): boolean => inputs.every((x) => !x || x.dtype === "f32");

/** Whether `t`, which broadcasts to x, has one element for each of the last `n` of x. */
function coversRow(t: KernelInput | undefined, x: KernelInput, n: number): boolean {
  if (!t) return true;
  // Of the right size, and not repeated along a normalised axis while running along another one.
  const own = t.shape.slice(t.shape.findIndex((d) => d !== 1));
  return sizeOf(t.shape) === n && (n === 1 || own.every((d, i) => d === x.shape[x.shape.length - own.length + i]));
}

function rowsStep(
  op: string,
  inputs: readonly KernelInput[],
  axis: number | undefined,
  epsilon: number,
): WasmStep | undefined {
  const [x, scale, bias] = inputs;
  const { rows, n } = rowsFrom(op, x, axis);
  const elements = rows * n;
  if (!allF32(inputs) || elements === 0 || !coversRow(scale, x, n) || !coversRow(bias, x, n)) return undefined;
  return {
    inplace: true,
    work: 4 * elements,
    emit(e) {
      const name = `${op}${bias ? "+bias" : ""}(${epsilon})`;
      const options = { name, epsilon, centered: op === "layerNorm", bias: bias !== undefined };
      const fn = e.shared(name, (m) => emitNormRow(m, options));
      const [at, scaleAt, biasAt] = e.inputs;
      emitCells(e, 4 * elements, [{ size: rows, steps: [4 * n, 4 * n] }], [at, e.outputs[0]], ([from, to]) =>
        e.f.call(fn, { x: from, y: to, n, scale: scaleAt, bias: bias ? biasAt : 0, count: splat(n) }),
      );
    },
  };
}

function groupsStep(inputs: readonly KernelInput[], groups: number, epsilon: number): WasmStep | undefined {
  const [x, scale] = inputs;
  const { batch, channels, inner } = channelsFirst(x);
  const n = (channels / groups) * inner;
  // scale and bias cover runs of this many elements.
  const run = (groups * n) / sizeOf(scale.shape);
  const elements = sizeOf(x.shape);
  if (!allF32(inputs) || elements === 0) return undefined;
  return {
    inplace: true,
    work: 4 * elements,
    emit(e) {
      const name = `groupNorm(${epsilon})`;
      const fn = e.shared(name, (m) => emitNormGroup(m, name, epsilon));
      const [at, scaleAt, biasAt] = e.inputs;
      const perGroup = (4 * n) / run;
      const axes = [
        { size: batch, steps: [4 * groups * n, 4 * groups * n, 0, 0] },
        { size: groups, steps: [4 * n, 4 * n, perGroup, perGroup] },
      ];
      emitCells(e, 4 * elements, axes, [at, e.outputs[0], scaleAt, biasAt], ([from, to, s, b]) =>
        e.f.call(fn, { x: from, y: to, n, run, scale: s, bias: b, count: splat(n) }),
      );
    },
  };
}

const isSupportedPower = (beta: number): beta is 0.5 | 0.75 | 1 => beta === 0.5 || beta === 0.75 || beta === 1;

const responseNorm = wasmKernel(
  localResponseNorm,
  "wasm/localResponseNorm/channels",
  ([x], _, { size, alpha = 1e-4, beta = 0.75, bias = 1 }): WasmStep | undefined => {
    const { batch, channels, inner } = channelsFirst(x);
    const elements = sizeOf(x.shape);
    if (x.dtype !== "f32" || !isSupportedPower(beta) || elements === 0) return undefined;
    const [before, after] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
    const plane = 4 * inner;
    return {
      work: size * elements,
      emit(e) {
        const name = `responseNorm(${[size, alpha, beta, bias]})`;
        const options = { name, weight: alpha / size, bias, beta, before, after };
        const fn = e.shared(name, (m) => emitResponseNorm(m, options));
        const [at] = e.inputs;
        // The last two: the sample's first channel, and the number of the channel.
        const axes = [
          { size: batch, steps: [channels * plane, channels * plane, channels * plane, 0] },
          { size: channels, steps: [plane, plane, 0, 1] },
        ];
        emitCells(e, size * elements, axes, [at, e.outputs[0], at, 0], ([from, to, sample, channel]) =>
          e.f.call(fn, { x: from, y: to, n: inner, sample, channel, channels, stride: plane }),
        );
      },
    };
  },
);

export const normKernels: WasmKernels = () => [
  wasmKernel(layerNorm, "wasm/layerNorm/rows", (inputs, _, { axis, epsilon = 1e-5 }) =>
    rowsStep("layerNorm", inputs, axis, epsilon),
  ),
  wasmKernel(rmsNorm, "wasm/rmsNorm/rows", (inputs, _, { axis, epsilon = 1e-5 }) =>
    rowsStep("rmsNorm", inputs, axis, epsilon),
  ),
  wasmKernel(instanceNorm, "wasm/instanceNorm/groups", (inputs, _, { epsilon = 1e-5 }) =>
    groupsStep(inputs, channelsFirst(inputs[0]).channels, epsilon),
  ),
  wasmKernel(groupNorm, "wasm/groupNorm/groups", (inputs, _, { groups, epsilon = 1e-5 }) =>
    groupsStep(inputs, groups, epsilon),
  ),
  responseNorm,
];
