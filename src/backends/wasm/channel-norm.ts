/** Normalisations of channels, f32: batchNorm, instanceNorm, groupNorm and localResponseNorm. */
import { batchNorm, channelsFirst } from "../../ops/batch-norm.ts";
import { groupNorm, instanceNorm } from "../../ops/group-norm.ts";
import { localResponseNorm } from "../../ops/local-norm.ts";
import { type Shape, sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { f32x4 } from "./assembler.ts";
import { type Elementwise, emitElementwise, wasmName } from "./elementwise.ts";
import { emitNormGroup, emitResponseNorm } from "./kernels/channel-norm.ts";
import { constant, splat } from "./kernels/math.ts";
import { emitCells } from "./kernels/vector-walk.ts";
import { alignUp } from "./memory.ts";
import { allF32 } from "./norm.ts";
import { undivided, type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

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
      emitCells(e, axes, [at, e.outputs[0], scaleAt, biasAt], ([from, to, s, b]) =>
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
        emitCells(e, axes, [at, e.outputs[0], at, 0], ([from, to, sample, channel]) =>
          e.f.call(fn, { x: from, y: to, n: inner, sample, channel, channels, stride: plane }),
        );
      },
    };
  },
);

/** Scale and deviation become one factor for each channel first. */
const batchNormKernel = wasmKernel(batchNorm, wasmName(batchNorm, "f32"), (inputs, _, { epsilon = 1e-5 }) => {
  if (inputs.some((t) => t.dtype !== "f32")) return undefined;
  const { batch, channels, inner } = channelsFirst(inputs[0]);
  const factors = alignUp(4 * channels);
  const perChannel: Shape = [channels, 1];
  const factor: Elementwise = {
    name: `batchNorm/factor(${epsilon})`,
    elements: ["f32", "f32"],
    result: "f32",
    value: (f, [s, variance]) => f32x4.div(s, f32x4.sqrt(f32x4.add(variance, constant(f, epsilon)))),
  };
  const apply: Elementwise = {
    name: "batchNorm",
    elements: ["f32", "f32", "f32", "f32"],
    result: "f32",
    short: true,
    value: (_, [v, k, bias, mean]) => f32x4.add(f32x4.mul(f32x4.sub(v, mean), k), bias),
  };
  return {
    inplace: true,
    workspaceBytes: factors,
    emit(e) {
      const [at, scale, bias, mean, variance] = e.inputs;
      // Every thread computes all factors: they write the same numbers.
      emitElementwise(
        undivided(e),
        factor,
        [channels],
        [
          { shape: [channels], at: scale },
          { shape: [channels], at: variance },
        ],
        e.workspace,
      );
      const operand = (where: number) => ({ shape: perChannel, at: where });
      emitElementwise(
        e,
        apply,
        [batch, channels, inner],
        [{ shape: [batch, channels, inner], at }, operand(e.workspace), operand(bias), operand(mean)],
        e.outputs[0],
      );
    },
  };
});

export const channelNormKernels: WasmKernels = () => [
  wasmKernel(instanceNorm, "wasm/instanceNorm/groups", (inputs, _, { epsilon = 1e-5 }) =>
    groupsStep(inputs, channelsFirst(inputs[0]).channels, epsilon),
  ),
  wasmKernel(groupNorm, "wasm/groupNorm/groups", (inputs, _, { groups, epsilon = 1e-5 }) =>
    groupsStep(inputs, groups, epsilon),
  ),
  responseNorm,
  batchNormKernel,
];
