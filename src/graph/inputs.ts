/** Inputs of a session: what users give, as what the graph declares. */
import { DeviceTensor } from "../tensor/device-tensor.ts";
import type { DType, TypedArray } from "../tensor/dtype.ts";
import { DTypeError, InputError, ShapeError } from "../tensor/errors.ts";
import { formatType } from "../tensor/shape.ts";
import {
  type AnyValue,
  checkHostTensor,
  dtypeOfArray,
  type HostTensor,
  type HostValue,
  isHostTensor,
  type TensorType,
} from "../tensor/tensor.ts";
import type { GraphPort, ValueInfo } from "./ir.ts";

export interface LazyTensor {
  toHost(): Promise<HostTensor>;
  /** Known without waiting. */
  readonly host?: HostTensor;
}

/** What may have to be waited for. */
export const isElsewhere = (v: unknown): v is DeviceTensor | LazyTensor =>
  typeof v === "object" && v !== null && "toHost" in v;

/** A lazy tensor that is not computed yet. */
export const isUnknown = (v: unknown): v is LazyTensor => isElsewhere(v) && !(v instanceof DeviceTensor) && !v.host;

/** The run that they were shared for has ended. */
export function letGo(values: readonly AnyValue[]): void {
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v instanceof DeviceTensor) v.dispose();
  }
}

/** An input as a host value, checked against what the model declares. */
export function checkInput(port: GraphPort, v: HostValue | TypedArray | undefined): HostValue {
  const who = `input "${port.name}"`;
  if (v === undefined || (v === null && port.dtype)) {
    if (port.default) return port.default;
    throw new InputError(`${who} (${declared(port)}) is missing`);
  }
  if (!port.dtype) return checkValue(v as HostValue, who, port.elements);
  const t = ArrayBuffer.isView(v) ? fromArray(port, v as TypedArray, who) : v;
  if (!isHostTensor(t as HostValue) || typeof t !== "object")
    throw new InputError(`${who} takes a tensor, a typed array or { dtype, shape, data }`);
  const tensor = checkHostTensor(t as HostTensor, who);
  checkType(port, tensor);
  return tensor;
}

/**
 * A value that may be a tensor, a sequence of values, or null for what is left out. Where the model says what `elements`
 * are, those of a sequence are tensors of it.
 */
function checkValue(v: HostValue, who: string, elements: DType | undefined, inside = false): HostValue {
  const isTensor = inside && elements !== undefined;
  if (v === null && !isTensor) return v;
  if (Array.isArray(v) && !isTensor) return v.map((e, i) => checkValue(e, `${who}, number ${i}`, elements, true));
  if (isElsewhere(v)) throw new InputError(`${who} has to be on the host: pass await t.toHost()`);
  if (!isHostTensor(v) || typeof v !== "object" || ArrayBuffer.isView(v))
    throw new InputError(
      `${who} takes { dtype, shape, data }${isTensor ? "" : ", or an array of these for a sequence"}`,
    );
  if (elements && v.dtype !== elements) throw new DTypeError(`${who} is ${elements}, got ${v.dtype}`);
  return checkHostTensor(v, who);
}

/** @throws DTypeError, ShapeError */
export function checkType(port: GraphPort, t: TensorType): void {
  const { dtype, shape } = port;
  if (dtype && t.dtype !== dtype) throw new DTypeError(wrong(port, t), { types: [formatType(t)] });
  if (shape && (shape.length !== t.shape.length || shape.some((d, i) => typeof d === "number" && d !== t.shape[i])))
    throw new ShapeError(wrong(port, t), { types: [formatType(t)] });
}

const wrong = (port: GraphPort, t: TensorType): string =>
  `input "${port.name}" is ${declared(port)}, got ${formatType(t)}`;

export const declared = ({ dtype, shape }: ValueInfo): string =>
  `${dtype ?? "any"}${shape ? `[${shape.join(",")}]` : ""}`;

/**
 * A bare typed array takes the declared shape; one free dimension is worked out from the length. Where the batch is free
 * as well, the array is a batch of one.
 */
function fromArray(port: GraphPort, data: TypedArray, who: string): HostTensor {
  const dtype = port.dtype as DType;
  const given = dtypeOfArray(data);
  // f16, bool and the like have no array of their own: checkHostTensor compares the kind of array.
  if (given !== dtype && (dtype === "f32" || dtype === "f64"))
    throw new DTypeError(`${who} is ${declared(port)}, got ${Object.prototype.toString.call(data).slice(8, -1)}`);
  if (!port.shape) return { dtype, shape: [data.length], data };
  const shape = port.shape.slice();
  let free = 0;
  let rest = 1;
  // By index: language models come here several times for each token, and iterators are garbage.
  for (let i = 0; i < shape.length; i++) {
    const d = shape[i];
    if (typeof d === "number") rest *= d;
    else free++;
  }
  if (free > 1 && /^batch/i.test(`${shape[0]}`)) {
    shape[0] = 1;
    free--;
  }
  if (free > 1)
    throw new InputError(
      `${who} is ${declared(port)}: a bare array leaves ${free} dimensions open, pass { dtype, shape, data }`,
    );
  if (free === 1 && data.length % rest !== 0)
    throw new ShapeError(`${who} is ${declared(port)}: ${data.length} elements are no multiple of ${rest}`);
  for (let i = 0; i < shape.length; i++) if (typeof shape[i] !== "number") shape[i] = data.length / rest;
  return { dtype, shape: shape as number[], data };
}
