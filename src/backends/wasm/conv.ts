/** Convolutions: which variant takes which. */
import { type ConvAttrs, conv, convGeometry } from "../../ops/conv.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { depthwiseConv } from "./conv-depthwise.ts";
import { gemmConv } from "./conv-gemm.ts";
import { type ConvForm, type ConvShape, convShape, isF32 } from "./conv-shape.ts";
import { winogradConv } from "./conv-winograd.ts";
import { type WasmKernels, wasmKernel } from "./step.ts";

/** The shape, if it is one for these kernels at all. */
function planned(
  [x, w, bias, residual]: readonly KernelInput[],
  [y]: readonly TensorType[],
  attrs: ConvAttrs,
): { shape: ConvShape; form: ConvForm } | undefined {
  if (!isF32(x, w) || sizeOf(y.shape) === 0 || sizeOf(w.shape) === 0) return undefined;
  const shape = convShape(convGeometry("conv", x, w, attrs));
  const form = { bias: bias !== undefined, residual: residual !== undefined, activation: attrs.activation };
  return shape && { shape, form };
}

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
