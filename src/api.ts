/** The public functions and types beside the operators. */

import type { Backend } from "./backends/backend.ts";
import { openDevice } from "./device.ts";
import { type Tensor, type TensorOptions, tensorOn } from "./graph/tensor.ts";
import type { TypedArray } from "./tensor/dtype.ts";
import type { NestedArray } from "./tensor/tensor.ts";

export type { Backend } from "./backends/backend.ts";
export { type DeviceChoice, type DeviceName, openDevice } from "./device.ts";
export { type GraphDefinition, graph, type SymbolicValue } from "./graph/builder.ts";
export type { Dim, Graph, ValueInfo } from "./graph/ir.ts";
export {
  type CompileOptions,
  compile,
  type Inputs,
  type InputValue,
  type KeptOutputs,
  type Outputs,
  type RunOptions,
  type Session,
  type StepInfo,
} from "./graph/session.ts";
export type { Tensor, TensorOptions } from "./graph/tensor.ts";
export { type LoadOptions, type LoadProgress, load } from "./load.ts";
export { DeviceTensor } from "./tensor/device-tensor.ts";
export type { DType, TensorData, TypedArray } from "./tensor/dtype.ts";
export * from "./tensor/errors.ts";
export { providePeer } from "./tensor/peer.ts";
export { type HostTensor, hostTensor, type TensorType } from "./tensor/tensor.ts";

let opened: Promise<Backend> | undefined;
/** One device for all tensors that name none: the fastest that is there, opened when the first is computed. */
const defaultDevice = (): Promise<Backend> => (opened ??= openDevice());

/**
 * A tensor to compute with: `softmax(matmul(tensor([[1, 2]]), w), { axis: -1 })`. Operators are recorded and checked at
 * once, and computed when `data()` is awaited.
 * @param values nested arrays, a number, or a typed array
 * @throws ShapeError for ragged nesting or a size that doesn't fit, DTypeError for elements that don't fit the dtype
 */
export function tensor(values: NestedArray | TypedArray, options: TensorOptions & { device?: Backend } = {}): Tensor {
  return tensorOn(options.device ?? defaultDevice, values, options);
}
