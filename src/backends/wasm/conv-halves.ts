/**
 * Convolutions with constant weights that are 16-bit floats in memory. A product widens a group of its tiles each time that a
 * block of outputs passes by: larger blocks than those of f32, so that this is seldom. A depthwise one widens the taps of a
 * channel before its plane.
 */
import { conv } from "../../ops/conv.ts";
import type { Half } from "../../tensor/dtype.ts";
import { i32 } from "./assembler.ts";
import { depthwiseConv } from "./conv-depthwise.ts";
import { emitGemmConv, layoutOf, productOptions } from "./conv-gemm.ts";
import { type ConvForm, type ConvShape, depthOfProduct, planeSize, planned, workOf } from "./conv-shape.ts";
import { winogradConv } from "./conv-winograd.ts";
import { halfKernels } from "./conv-winograd-halves.ts";
import { tileRowsOf } from "./kernels/gemm.ts";
import { emitProduct, packRows, tileGroup } from "./kernels/gemm-prepacked.ts";
import { emitWiden, storedAs, type WidenFunction } from "./kernels/half.ts";
import { isSpecialAt, prepackHalves, tailHalves } from "./kernels/half-prepack.ts";
import { dealRows } from "./kernels/row-deal.ts";
import { alignUp } from "./memory.ts";
import {
  addressOf,
  productWork,
  type StepEmitter,
  type WasmKernels,
  type WasmStep,
  type WasmTarget,
  wasmKernel,
} from "./step.ts";

/** Panels of a block of outputs, at least: a weight that is widened serves 96 columns, which take ten times as long. */
const fewestPanels = 12;

function widenFunction(e: StepEmitter, type: Half): WidenFunction {
  const name = `widenWeights/${type}`;
  return e.shared(name, (m) => emitWiden(m, name, type));
}

function gemmHalves(target: WasmTarget, s: ConvShape, form: ConvForm, type: Half): WasmStep {
  const k = depthOfProduct(s);
  const layout = layoutOf(s, fewestPanels);
  const tileRows = tileRowsOf(target.features.fma);
  const rows = s.channelsOut;
  const weights = s.groups * rows * k;
  const tallest = dealRows(rows, tileRows).height + 1;
  const wideBytes = alignUp(4 * (tileGroup(k, tallest, planeSize(s)) * tallest * k + tailHalves));
  const productBytes = alignUp(layout.bytes);
  const own = productBytes + wideBytes;
  return {
    workspaceBytes: own * target.threads,
    work: productWork(workOf(s)),
    prepack: [
      prepackHalves(1, `rows/${tileRows}/${s.groups}`, type, { length: weights, size: weights }, (put) => {
        packRows({ groups: s.groups, rows, k, tileRows }, (at, first, height) => {
          for (let q = 0; q < k; q++) for (let i = 0; i < height; i++) put(at++, (first + i) * k + q);
        });
      }),
    ],
    emit(e) {
      const { f } = e;
      const workspace = f.let(i32.add(addressOf(e.workspace, e.thread, own), 0));
      const wide = f.let(i32.add(workspace, productBytes));
      const special = f.let(isSpecialAt(e.inputs[1], weights));
      const widen = widenFunction(e, type);
      const options = productOptions(e, form);
      const name = `${options.name}/${type}`;
      const product = e.shared(name, (m) => emitProduct(m, { ...options, name }, widen));
      const [x, packed, bias, residual] = e.inputs;
      emitGemmConv(e, s, layout, {
        multiply: (args) => f.call(product, { ...args, wide, special }),
        tileRows,
        form,
        packed,
        weightBytes: 2,
        workspace,
        at: { x, bias, residual, y: e.outputs[0] },
      });
    },
  };
}

function depthwiseHalves(target: WasmTarget, s: ConvShape, form: ConvForm, type: Half): WasmStep | undefined {
  const taps = s.rows.kernel * s.columns.kernel;
  const weights = s.groups * s.channelsOut * taps;
  const own = alignUp(4 * (s.channelsOut * taps + tailHalves));
  /** Behind what the convolution takes itself. */
  let first = 0;
  const step = depthwiseConv(target, s, form, (e, channel, count) => {
    const { f } = e;
    const to = f.let(i32.add(addressOf(e.workspace + first, e.thread, own), 0));
    const w = f.let(i32.add(i32.mul(channel, 2 * taps), e.inputs[1]));
    const end = i32.add(w, 2 * taps * count);
    f.call(widenFunction(e, type), { w, end, out: to, special: isSpecialAt(e.inputs[1], weights) });
    return to;
  });
  if (!step) return undefined;
  first = alignUp(step.workspaceBytes!);
  const prepack = prepackHalves(1, "plain", type, { length: weights, size: weights }, (put) => {
    for (let i = 0; i < weights; i++) put(i, i);
  });
  return { ...step, workspaceBytes: first + own * target.threads, prepack: [prepack] };
}

export const convHalvesKernels: WasmKernels = (target) => [
  wasmKernel(conv, "wasm/conv/depthwise/halves", (inputs, outputs, attrs) => {
    const type = storedAs(inputs[1]);
    const p = type && planned(inputs, outputs, attrs);
    return p && depthwiseHalves(target, p.shape, p.form, type);
  }),
  ...([4, 2] as const).map((m) =>
    wasmKernel(conv, `wasm/conv/winograd${m}/halves`, (inputs, outputs, attrs) => {
      const type = storedAs(inputs[1]);
      const p = type && planned(inputs, outputs, attrs);
      return p && winogradConv(target, p.shape, p.form, m, halfKernels(type));
    }),
  ),
  wasmKernel(conv, "wasm/conv/gemm/halves", (inputs, outputs, attrs) => {
    const type = storedAs(inputs[1]);
    const p = type && planned(inputs, outputs, attrs);
    return p && gemmHalves(target, p.shape, p.form, type);
  }),
];
