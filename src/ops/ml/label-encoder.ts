import { toF64 } from "../../tensor/convert.ts";
import { isBig } from "../../tensor/dtype.ts";
import { InputError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { dtypeError, shapeError } from "../check.ts";
import { defineOp } from "../op.ts";
import type { Labels } from "./common.ts";

export interface LabelEncoderAttrs {
  keys: HostTensor;
  /** values[i] replaces keys[i]. */
  values: HostTensor;
  /** One element of the values' dtype, for what is no key. */
  fallback: HostTensor;
}

/** Elements as map keys: Map finds NaN and takes -0 for 0; i64 keys stay exact. */
const keysOf = (t: HostTensor): ArrayLike<number | bigint | string> =>
  t.dtype === "string" || isBig(t.dtype) ? (t.data as string[]) : toF64(t);

/** Every element looked up among `keys`; the last of equal keys counts. (ai.onnx.ml LabelEncoder.) */
export const labelEncoder = /* @__PURE__ */ defineOp({
  name: "labelEncoder",
  inputs: ["x"],
  infer([x], { keys, values, fallback }: LabelEncoderAttrs) {
    if (x.dtype !== keys.dtype) dtypeError("labelEncoder", "the keys have another dtype", x, keys);
    if (keys.data.length !== values.data.length)
      shapeError("labelEncoder", "keys and values differ in number", keys, values);
    if (fallback.dtype !== values.dtype) dtypeError("labelEncoder", "the default has another dtype", values, fallback);
    return { dtype: values.dtype, shape: x.shape };
  },
  reference([x], { keys, values, fallback }, [y]) {
    const table = new Map(Array.from(keysOf(keys), (k, i) => [k, values.data[i]]));
    const found = keysOf(x);
    const out = y.data as (number | bigint | string)[];
    for (let i = 0; i < found.length; i++) out[i] = table.get(found[i]) ?? fallback.data[0];
  },
});

export interface OneHotEncoderAttrs {
  /** The categories, integers or strings. */
  categories: Labels;
  /** What is no category gives zeros (default), or else throws. */
  zeros?: boolean;
}

/**
 * A new last dimension with a 1 at the element's category, as f32. Numbers are truncated to integers.
 * (ai.onnx.ml OneHotEncoder.)
 * @throws InputError for what is no category, unless `zeros`
 */
export const oneHotEncoder = /* @__PURE__ */ defineOp({
  name: "oneHotEncoder",
  inputs: ["x"],
  infer([x], { categories }: OneHotEncoderAttrs) {
    if ((x.dtype === "string") !== (typeof categories[0] === "string"))
      dtypeError("oneHotEncoder", "the categories have another dtype", x);
    return { dtype: "f32", shape: [...x.shape, categories.length] };
  },
  reference([x], { categories, zeros = true }, [y]) {
    const keyOf = isBig(x.dtype) ? BigInt : (c: string | number | bigint) => (typeof c === "bigint" ? Number(c) : c);
    const position = new Map([...categories].map((c, i) => [keyOf(c), i]));
    const exact = x.dtype === "string" || isBig(x.dtype);
    const elements: ArrayLike<string | number | bigint> = exact ? (x.data as string[]) : toF64(x).map(Math.trunc);
    for (let i = 0; i < elements.length; i++) {
      const at = position.get(elements[i]);
      if (at !== undefined) (y.data as Float32Array)[i * categories.length + at] = 1;
      else if (!zeros) throw new InputError(`oneHotEncoder: ${elements[i]} is no category`, { op: "oneHotEncoder" });
    }
  },
});
