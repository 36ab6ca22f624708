import { expectDType, shapeError } from "../check.ts";
import { defineOp } from "../op.ts";

export interface CategoryMapperAttrs {
  /** names[i] and numbers[i] stand for each other. */
  names: readonly string[];
  numbers: readonly (number | bigint)[];
  /** For what is in no pair. */
  defaultName: string;
  defaultNumber: number | bigint;
}

/** Strings to i64 numbers, or i64 numbers to strings. (ai.onnx.ml CategoryMapper, LabelEncoder of version 1.) */
export const categoryMapper = /* @__PURE__ */ defineOp({
  name: "categoryMapper",
  inputs: ["x"],
  infer([x], { names, numbers }: CategoryMapperAttrs) {
    expectDType("categoryMapper", x, "string", "i64");
    if (names.length !== numbers.length)
      shapeError("categoryMapper", `${names.length} names for ${numbers.length} numbers`);
    return { dtype: x.dtype === "string" ? "i64" : "string", shape: x.shape };
  },
  reference([x], { names, numbers, defaultName, defaultNumber }, [y]) {
    if (x.dtype === "string") {
      const table = new Map(names.map((name, i) => [name, numbers[i]]));
      (x.data as string[]).forEach((name, i) => {
        (y.data as BigInt64Array)[i] = BigInt(table.get(name) ?? defaultNumber);
      });
      return;
    }
    const table = new Map(numbers.map((n, i) => [BigInt(n), names[i]]));
    (x.data as BigInt64Array).forEach((n, i) => {
      (y.data as string[])[i] = table.get(n) ?? defaultName;
    });
  },
});
