/** Weights in files beside the model: each tensor is one ranged read. Large ones in files on disk are read later. */
import { type DType, dtypes } from "../../tensor/dtype.ts";
import { FormatError, ForwardpassError } from "../../tensor/errors.ts";
import { type ByteSource, checkRange, type HeldSource } from "../source.ts";
import { storedElements } from "../stored-elements.ts";
import type { TensorProto } from "./proto.ts";
import { dtypeOfOnnx, largeData } from "./tensor-proto.ts";

/** Opens a file that the model names, relative to the model's own place. Undefined when there is none. */
export type OpenExternal = (path: string) => Promise<ByteSource | undefined> | ByteSource | undefined;

/**
 * Reads the data of tensors that live in other files, or finds where it is.
 * @throws FormatError naming the tensor and the file when it is missing, too short, or outside the model's folder
 */
export async function readExternal(
  tensors: readonly TensorProto[],
  open?: OpenExternal,
  signal?: AbortSignal,
): Promise<void> {
  const sources = new Map<string, ByteSource>();
  for (const tensor of tensors) {
    signal?.throwIfAborted();
    const path = checkPath(tensor);
    let source = sources.get(path);
    if (!source) {
      source = await openFile(tensor, path, open);
      sources.set(path, source);
    }
    const { dtype, offset, length, later } = rangeOf(tensor);
    try {
      if (later && source.hold && !isHeld(source)) sources.set(path, (source = source.hold()));
      if (later && isHeld(source)) {
        checkRange(source, offset, length);
        tensor.stored = storedElements(dtype, source, offset, length);
      } else tensor.raw = await source.read(offset, length, signal);
    } catch (cause) {
      if (signal?.aborted) throw cause;
      throw failed(tensor, `cannot read ${length} bytes at ${offset} of "${path}"`, cause);
    }
    tensor.external = undefined;
  }
}

const isHeld = (source: ByteSource): source is HeldSource => "readSync" in source && "hold" in source;

async function openFile(tensor: TensorProto, path: string, open?: OpenExternal): Promise<ByteSource> {
  if (!open) throw failed(tensor, `its data is in "${path}", and no way to open other files was given`);
  let source: ByteSource | undefined;
  try {
    source = await open(path);
  } catch (cause) {
    throw failed(tensor, `its data file "${path}" cannot be opened`, cause);
  }
  return source ?? fail(tensor, `its data file "${path}" is missing`);
}

function failed(tensor: TensorProto, what: string, cause?: unknown): FormatError {
  const why = cause instanceof ForwardpassError || cause instanceof Error ? `: ${cause.message}` : "";
  return new FormatError(`onnx: tensor "${tensor.name}": ${what}${why}`, { offset: tensor.offset, cause });
}

const fail = (tensor: TensorProto, what: string): never => {
  throw failed(tensor, what);
};

/** Paths stay inside the model's folder: no absolute ones, no "..", no drives or schemes. */
function checkPath(tensor: TensorProto): string {
  const path = (tensor.external?.get("location") ?? "").replaceAll("\\", "/").replace(/^(\.\/)+/, "");
  if (path === "") fail(tensor, "external data without a location");
  if (path.startsWith("/") || path.includes(":") || path.includes("\0") || path.split("/").includes(".."))
    fail(tensor, `its data file "${path}" is outside the model's folder`);
  return path;
}

/** `later`: it is large, and its elements are whole bytes. */
function rangeOf(tensor: TensorProto): { dtype: DType; offset: number; length: number; later: boolean } {
  const number = (key: string): number | undefined => {
    const text = tensor.external?.get(key);
    if (text === undefined || text === "") return undefined;
    const n = Number(text);
    return Number.isSafeInteger(n) && n >= 0 ? n : fail(tensor, `external data has ${key} "${text}"`);
  };
  const dtype = dtypeOfOnnx(tensor.dataType);
  if (!dtype || dtype === "string") return fail(tensor, `data type ${tensor.dataType} cannot be external`);
  const size = tensor.dims.reduce<number>((n, d) => n * Number(d), 1);
  const { bits } = dtypes[dtype];
  const want = Math.ceil((size * bits) / 8);
  const length = number("length") ?? want;
  if (length !== want) fail(tensor, `${dtype}[${tensor.dims}] takes ${want} bytes, external data has ${length}`);
  return { dtype, offset: number("offset") ?? 0, length, later: length >= largeData && bits >= 8 };
}
