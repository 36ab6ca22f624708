/** Tensors from what users write: nested arrays, numbers, typed arrays. */
import { fromF64 } from "./convert.ts";
import { type DType, dtypes, isBig, isInteger, type TypedArray } from "./dtype.ts";
import { DTypeError, ShapeError } from "./errors.ts";
import { checkOptions, type OptionNames } from "./options.ts";
import { formatType, type Shape, sizeOf } from "./shape.ts";
import { checkHostTensor, checkTensorType, dtypeOfArray, emptyTensor, type HostTensor } from "./tensor.ts";

/** Nested arrays, one number, or flat elements, as users write them. */
export type NestedArray = number | bigint | boolean | string | readonly NestedArray[];

type Element = number | bigint | boolean | string;

export interface HostTensorOptions {
  /** Default: from the typed array; f32 for numbers, i64 for bigints, bool for booleans, string for strings. */
  dtype?: DType;
  /** Default: from the nesting, or one dimension for a typed array. */
  shape?: Shape;
}

const known: OptionNames<HostTensorOptions> = { dtype: true, shape: true };

/**
 * A host tensor from nested arrays or a typed array.
 * @throws ShapeError for ragged nesting or a size that doesn't fit; DTypeError for elements that the dtype has no values for:
 * 1.5, 300 and undefined in u8; InputError for options of other names
 */
export function hostTensor(values: NestedArray | TypedArray, options: HostTensorOptions = {}): HostTensor {
  checkOptions("tensor", options, known);
  if (ArrayBuffer.isView(values)) {
    const dtype = options.dtype ?? dtypeOfArray(values);
    const data = values as TypedArray;
    if (!dtype) throw new DTypeError(`tensor: ${Object.prototype.toString.call(values)} is not a supported array`);
    return checkHostTensor({ dtype, shape: options.shape ?? [data.length], data }, "tensor");
  }
  const flat: Element[] = [];
  const nesting: number[] = [];
  flatten(values as NestedArray, 0, nesting, flat);
  const type = { dtype: options.dtype ?? defaultDType(flat[0]), shape: options.shape ?? nesting };
  checkTensorType(type, "tensor");
  const { dtype } = type;
  if (sizeOf(type.shape) !== flat.length)
    throw new ShapeError(`tensor: ${flat.length} elements do not fill ${formatType(type)}`);
  const t = emptyTensor(type);
  checkElements(flat, dtype);
  if (dtype === "string") for (let i = 0; i < flat.length; i++) (t.data as string[])[i] = flat[i] as string;
  else if (isBig(dtype)) for (let i = 0; i < flat.length; i++) (t.data as BigInt64Array)[i] = BigInt(flat[i]);
  else fromF64(flat.map(Number), t);
  return t;
}

/** @throws DTypeError */
function checkElements(elements: readonly Element[], dtype: DType): void {
  const { bits, kind } = dtypes[dtype];
  const [least, most] = kind === "int" ? [-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1)] : [0n, 2n ** BigInt(bits)];
  const fits = (v: Element): boolean => {
    if (dtype === "string") return typeof v === "string";
    if (typeof v === "boolean") return true;
    if (typeof v !== "number" && typeof v !== "bigint") return false;
    return !isInteger(dtype) || ((typeof v === "bigint" || Number.isInteger(v)) && v >= least && v < most);
  };
  const wrong = elements.findIndex((v) => !fits(v));
  if (wrong < 0) return;
  const v = elements[wrong] as unknown;
  const shown = typeof v === "string" ? JSON.stringify(v) : typeof v === "object" && v ? "an object" : String(v);
  const takes = isInteger(dtype)
    ? `whole numbers from ${least} to ${most - 1n}`
    : dtype === "string"
      ? "texts"
      : "numbers";
  throw new DTypeError(`tensor: element ${wrong} is ${shown}; ${dtype} takes ${takes}`);
}

function defaultDType(first: unknown): DType {
  if (typeof first === "bigint") return "i64";
  if (typeof first === "boolean") return "bool";
  return typeof first === "string" ? "string" : "f32";
}

/** Levels of nesting: an array that holds itself has no end. */
const deepest = 64;

/** What is no array becomes an element: whether it is one is found out later. */
function flatten(v: NestedArray, depth: number, shape: number[], out: Element[]): void {
  if (!dtypeOfArray(v)) {
    if (depth !== shape.length) throw new ShapeError(`tensor: nested arrays are ragged at depth ${depth}`);
    out.push(v as Element);
    return;
  }
  if (depth === deepest) throw new ShapeError(`tensor: arrays are nested more than ${deepest} deep`);
  const list = v as readonly NestedArray[];
  if (depth === shape.length) {
    if (out.length > 0) throw new ShapeError(`tensor: nested arrays are ragged at depth ${depth}`);
    shape.push(list.length);
  } else if (shape[depth] !== list.length)
    throw new ShapeError(
      `tensor: nested arrays are ragged at depth ${depth}: ${list.length} and ${shape[depth]} elements`,
    );
  for (const e of list) flatten(e, depth + 1, shape, out);
}
