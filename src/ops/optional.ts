/** ONNX optionals: a value, or null. */
import { InputError } from "../tensor/errors.ts";
import { boolScalar } from "./host-values.ts";
import { defineOp } from "./op.ts";

/** An optional without an element. */
export const optionalEmpty = /* @__PURE__ */ defineOp({
  name: "optionalEmpty",
  inputs: [],
  evaluate: () => [null],
});

/** The element of an optional; what isn't an optional is its own element. InputError when there is none. */
export const optionalGetElement = /* @__PURE__ */ defineOp({
  name: "optionalGetElement",
  inputs: ["x"],
  evaluate([x]) {
    if (x === null) throw new InputError("optionalGetElement: the optional is empty", { op: "optionalGetElement" });
    return [x];
  },
});

/** Whether there is an element: bool[]. */
export const optionalHasElement = /* @__PURE__ */ defineOp({
  name: "optionalHasElement",
  inputs: ["x?"],
  evaluate: ([x]) => [boolScalar(x !== undefined && x !== null)],
});
