/** NumPy's .npy files, versions 1 to 3 (numpy.lib.format): little-endian, either order in memory. */
import { type DType, viewOf } from "../tensor/dtype.ts";
import { FormatError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../tensor/tensor.ts";

const dtypes: Readonly<Record<string, DType>> = {
  f8: "f64",
  f4: "f32",
  f2: "f16",
  i8: "i64",
  i4: "i32",
  i2: "i16",
  i1: "i8",
  u8: "u64",
  u4: "u32",
  u2: "u16",
  u1: "u8",
  b1: "bool",
};

/** @throws FormatError with the byte offset */
export function readNpy(bytes: Uint8Array, name = "npy"): HostTensor {
  const fail = (what: string, offset: number): never => {
    throw new FormatError(`${name}: ${what} at byte ${offset}`, { offset });
  };
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (bytes.length < 10 || magic.some((b, i) => bytes[i] !== b)) fail("not a .npy file", 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] >= 2;
  const start = wide ? 12 : 10;
  if (bytes.length < start) fail("the header is cut off", 8);
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  if (start + length > bytes.length) fail("the header is cut off", 8);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  // In quotes, or a list of fields.
  const descr = /'descr':\s*('[^']*'|\[.*\])/.exec(header);
  const fortran = /'fortran_order':\s*(True|False)/.exec(header);
  const dims = /'shape':\s*\(([^)]*)\)/.exec(header);
  if (!descr || !fortran || !dims) fail(`a header that isn't understood: ${header.slice(0, 80)}`, start);
  const [, order, type] = /^'([<>|=])([a-z]\d+)'$/.exec(descr![1]) ?? [];
  const dtype = dtypes[type];
  if (!dtype || order === ">") fail(`element type ${descr![1]} is not supported`, start);
  const shape = dims![1]
    .split(",")
    .filter((s) => s.trim() !== "")
    .map(Number);
  if (shape.some((d) => !Number.isSafeInteger(d) || d < 0)) fail("a shape that isn't whole numbers", start);
  const size = sizeOf(shape);
  const from = start + length;
  const width = Number(type.slice(1));
  if (bytes.length - from < size * width) fail(`${size} elements do not fit in the file`, from);
  // Not slice(): a Buffer's shares memory.
  const copy = Uint8Array.from(bytes.subarray(from, from + size * width));
  const t: HostTensor = { dtype, shape, data: viewOf(dtype, copy.buffer, 0, size) };
  return fortran![1] === "True" ? rowMajor(t) : t;
}

/** Elements stored with the first axis fastest, in our order. */
function rowMajor(t: HostTensor): HostTensor {
  const out = emptyTensor(t);
  const { shape } = t;
  const index = shape.map(() => 0);
  const strides = shape.map((_, i) => sizeOf(shape.slice(0, i)));
  for (let i = 0; i < out.data.length; i++) {
    const at = index.reduce((sum, x, d) => sum + x * strides[d], 0);
    (out.data as Float64Array)[i] = (t.data as Float64Array)[at];
    for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0;
  }
  return out;
}
