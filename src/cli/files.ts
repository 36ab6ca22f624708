/** Reading inputs from files: .npy, .json, .pb (an ONNX TensorProto), images (most of them through the optional peer `sharp`). */
import { extname } from "node:path";
import { bytesSource } from "../formats/source.ts";
import type { Dim, ValueInfo } from "../graph/ir.ts";
import { imageTensor, layoutOf, readImage } from "../tasks/image/image.ts";
import { type DType, isBig, isFloat } from "../tensor/dtype.ts";
import { FormatError, InputError } from "../tensor/errors.ts";
import { hostTensor, type NestedArray } from "../tensor/host-tensor.ts";
import { sizeOf } from "../tensor/shape.ts";
import { checkDType, type HostTensor } from "../tensor/tensor.ts";
import { readNpy } from "./npy.ts";
import { readNamed } from "./system.ts";

/** Of images that are read here, and of those that `sharp` reads. */
const isImage = (extension: string): boolean => /^\.(bmp|p[bgpn]m|png|jpe?g|webp|gif|tiff?|avif)$/.test(extension);

/** A tensor for `port` from a file, by its extension. Throws FormatError, InputError, MissingPeerError. */
export async function readTensor(path: string, port: ValueInfo): Promise<HostTensor> {
  const bytes = await readNamed(path, `input "${port.name}"`);
  const extension = extname(path).toLowerCase();
  switch (extension) {
    case ".npy":
      return readNpy(bytes, path);
    case ".json":
      return named(path, () => fromJson(bytes, port));
    case ".pb": {
      const { decodeTensorProto } = await import("../formats/onnx/index.ts");
      return named(path, () => decodeTensorProto(bytes));
    }
    default:
      if (isImage(extension)) return fromImage(bytes, path, port);
      throw new InputError(
        `input "${port.name}": ${path} is neither .npy, .json, .pb nor an image: .png, .jpg, .webp, .gif, .tiff, .avif, .bmp or .ppm`,
      );
  }
}

interface JsonTensor {
  readonly data?: NestedArray;
  readonly shape?: number[];
  readonly dtype?: DType;
}

/** What is wrong with a file's content is said with its name. */
function named<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new FormatError(`${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Nested arrays, or `{ dtype, shape, data }`, also as `run --json` writes them. Numbers take the model's dtype. */
function fromJson(bytes: Uint8Array, port: ValueInfo): HostTensor {
  // Without a byte order mark, unlike toString().
  const value = JSON.parse(new TextDecoder().decode(bytes)) as NestedArray | JsonTensor;
  const isTensor = typeof value === "object" && value !== null && !Array.isArray(value);
  const { data, shape, dtype = port.dtype } = isTensor ? (value as JsonTensor) : { data: value as NestedArray };
  if (data === undefined || data === null) throw new Error('holds neither an array nor { "data": ... }');
  if (dtype !== undefined) checkDType(dtype, "tensor");
  const given = hostTensor(dtype === undefined ? data : fromPlain(data, dtype), { dtype, shape });
  return given.shape.length === 1 && port.shape ? withShape(given, port.shape) : given;
}

/** Strings that stand for what JSON has no numbers for. A number that may have been rounded when it was read is refused. */
function fromPlain(v: NestedArray, dtype: DType): NestedArray {
  if (Array.isArray(v)) return v.map((e) => fromPlain(e, dtype));
  if (typeof v === "string") {
    if (isBig(dtype) && /^-?\d+$/.test(v)) return BigInt(v);
    return isFloat(dtype) && /^(NaN|-?Infinity)$/.test(v) ? Number(v) : v;
  }
  if (typeof v === "number" && isBig(dtype) && Number.isInteger(v) && !Number.isSafeInteger(v))
    throw new InputError(
      `${v} may not be what the file says: write whole numbers beyond 2^53 as strings, as "9007199254740993"`,
    );
  return v;
}

/** A flat list takes the declared shape if one free dimension makes it fit. */
function withShape(t: HostTensor, shape: readonly Dim[]): HostTensor {
  const free = shape.filter((d) => typeof d === "string").length;
  const rest = sizeOf(shape.filter((d) => typeof d === "number"));
  const size = t.data.length / rest;
  if (shape.length === 1 || free > 1 || !Number.isInteger(size) || (free === 0 && size !== 1)) return t;
  return { ...t, shape: shape.map((d) => (typeof d === "string" ? size : d)) };
}

/**
 * An image for an input [batch, channels, height, width] (or channels last): resized to the model's size, values / 255,
 * one channel as grey. Models that were trained with another normalisation need it in the graph, or a .npy file.
 */
const fromImage = async (bytes: Uint8Array<ArrayBuffer>, path: string, port: ValueInfo): Promise<HostTensor> =>
  imageTensor(await readImage(bytesSource(bytes, path)), layoutOf(port));
