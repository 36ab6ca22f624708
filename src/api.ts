/** The public functions and types beside the operators, and what models are loaded and run with. */

export type { Backend } from "./backends/backend.ts";
export { type DeviceChoice, type DeviceName, openDevice } from "./device.ts";
export { type CompileOptions, compile } from "./graph/compile.ts";
export type { Dim, Graph, ValueInfo } from "./graph/ir.ts";
export type {
  Inputs,
  InputValue,
  KeptOutputs,
  Outputs,
  RunOptions,
  Session,
  StepInfo,
} from "./graph/session.ts";
export { type LoadOptions, type LoadProgress, load } from "./load.ts";
export { DeviceTensor } from "./tensor/device-tensor.ts";
export type { DType, TensorData, TypedArray } from "./tensor/dtype.ts";
export * from "./tensor/errors.ts";
export { providePeer } from "./tensor/peer.ts";
export type { HostTensor, HostValue, TensorType } from "./tensor/tensor.ts";
