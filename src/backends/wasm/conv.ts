/**
 * Convolutions: which variant takes which.
 *
 *   depthwise   one channel in for each group: no product to speak of, rows of outputs directly
 *   winograd4   3x3, stride 1: F(4x4), a quarter of the multiplications
 *   winograd2   the same by F(2x2), where the image is so small that tiles of 4x4 hang over its edge
 *   gemm        everything else: im2col block by block, never as a whole
 *
 * Which of the last three is fastest follows from an estimate (conv-winograd.ts). Effective GFLOP/s (of the definition's
 * multiply-adds), one thread, Node 24 on an AMD EPYC (Zen 3) shared with other work, smallest of 40 runs in turn; the
 * micro-kernel alone does 47 there, onnxruntime-web's convolutions 19 to 21:
 *
 *   ResNet-50   7x7   3 ->   64, 224, stride 2   gemm 46        3x3   64 ->   64, 56   winograd4 117
 *               1x1  64 ->  256, 56              gemm 45        3x3  128 ->  128, 28   winograd4 124
 *               1x1 1024 -> 256, 14              gemm 44        3x3  256 ->  256, 14   winograd4 101
 *               1x1 512 -> 2048,  7              gemm 40        3x3  512 ->  512,  7   winograd2  60
 *   DenseNet    3x3 128 ->   32, 56         winograd4  84       SqueezeNet 3x3 16 -> 64, 55   winograd4  90
 *   SqueezeNet  3x3   3 ->   64, 224, stride 2   gemm 34
 *
 * The last 1x1 of ResNet-50 fills 49 of 56 columns, and streams its weights from memory.
 */
import { conv } from "../../ops/conv.ts";
import { depthwiseConv } from "./conv-depthwise.ts";
import { gemmConv } from "./conv-gemm.ts";
import { planned } from "./conv-shape.ts";
import { winogradConv } from "./conv-winograd.ts";
import { type WasmKernels, wasmKernel } from "./step.ts";

export const convKernels: WasmKernels = (target) => [
  wasmKernel(conv, "wasm/conv/depthwise", (inputs, outputs, attrs) => {
    const p = planned(inputs, outputs, attrs);
    return p && depthwiseConv(target, p.shape, p.form);
  }),
  ...([4, 2] as const).map((m) =>
    wasmKernel(conv, `wasm/conv/winograd${m}`, (inputs, outputs, attrs) => {
      const p = inputs[1].constant && planned(inputs, outputs, attrs);
      return p && winogradConv(target, p.shape, p.form, m);
    }),
  ),
  wasmKernel(conv, "wasm/conv/gemm", (inputs, outputs, attrs) => {
    const p = planned(inputs, outputs, attrs);
    return p && gemmConv(target, p.shape, p.form, inputs[1].constant !== undefined);
  }),
];
