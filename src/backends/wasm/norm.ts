/** Normalisations of rows, f32: layerNorm and rmsNorm. Rows go to the threads. */
import { layerNorm, rmsNorm, rowsFrom } from "../../ops/layer-norm.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { splat } from "./kernels/math.ts";
import { emitNormRow } from "./kernels/vector-norm.ts";
import { emitCells } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

export const allF32 = (inputs: readonly (KernelInput | undefined)[]): boolean =>
  inputs.every((x) => !x || x.dtype === "f32");

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
    alike: true,
    work: 4 * elements,
    emit(e) {
      const name = `${op}${bias ? "+bias" : ""}(${epsilon})`;
      const options = { name, epsilon, centered: op === "layerNorm", bias: bias !== undefined };
      const fn = e.shared(name, (m) => emitNormRow(m, options));
      const [at, scaleAt, biasAt] = e.inputs;
      emitCells(e, [{ size: rows, steps: [4 * n, 4 * n] }], [at, e.outputs[0]], ([from, to]) =>
        e.f.call(fn, { x: from, y: to, n, scale: scaleAt, bias: bias ? biasAt : 0, count: splat(n) }),
      );
    },
  };
}

export const normKernels: WasmKernels = () => [
  wasmKernel(layerNorm, "wasm/layerNorm/rows", (inputs, _, { axis, epsilon = 1e-5 }) =>
    rowsStep("layerNorm", inputs, axis, epsilon),
  ),
  wasmKernel(rmsNorm, "wasm/rmsNorm/rows", (inputs, _, { axis, epsilon = 1e-5 }) =>
    rowsStep("rmsNorm", inputs, axis, epsilon),
  ),
];
