/** ONNX models. */
export type { OpenExternal } from "./external.ts";
export { importOnnx, type OnnxModel, type OnnxOptions } from "./import.ts";
export { importOnnxSource } from "./parts.ts";
export { decodeTensorProto } from "./tensor-proto.ts";
