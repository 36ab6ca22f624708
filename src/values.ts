/** The public functions and types beside operators that tensors and graphs are written with. Pages that load a model do without. */

import type { Backend } from "./backends/backend.ts";
import { openDevice } from "./device.ts";
import { type Tensor, type TensorOptions, tensorOn } from "./graph/tensor.ts";
import type { TypedArray } from "./tensor/dtype.ts";
import { InputError } from "./tensor/errors.ts";
import type { NestedArray } from "./tensor/host-tensor.ts";
import { checkOptions, type OptionNames } from "./tensor/options.ts";

export type { SymbolicValue } from "./graph/builder.ts";
export { type GraphDefinition, graph } from "./graph/define.ts";
export type { Tensor, TensorOptions } from "./graph/tensor.ts";
export { hostTensor } from "./tensor/host-tensor.ts";

const tensorOptions: OptionNames<TensorOptions & { device?: Backend }> = { dtype: true, shape: true, device: true };

let opened: Promise<Backend> | undefined;
/** One device for all tensors that name none: the fastest that is there, opened when the first is computed. */
const defaultDevice = (): Promise<Backend> => (opened ??= openDevice());

/**
 * A tensor to compute with: `softmax(matmul(tensor([[1, 2]]), w), { axis: -1 })`. Operators are recorded and checked at
 * once, and computed when `data()` is awaited.
 * @param values nested arrays, a number, or a typed array
 * @throws ShapeError for ragged nesting or a size that doesn't fit; DTypeError for elements that the dtype has no values for:
 * 1.5, 300 and undefined in u8; InputError for what is no device, and options of other names
 */
export function tensor(values: NestedArray | TypedArray, options: TensorOptions & { device?: Backend } = {}): Tensor {
  checkOptions("tensor", options, tensorOptions);
  const { device, ...rest } = options;
  if (device !== undefined && typeof device?.open !== "function")
    throw new InputError("tensor: device takes a backend, as wasm() or await webgpu() gives");
  return tensorOn(device ?? defaultDevice, values, rest);
}
