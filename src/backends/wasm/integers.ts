/** What computes with integers: one family, loaded where an operator does. */
import { elementwiseIntegerKernels } from "./elementwise-integers.ts";
import { reduceIntegerKernels } from "./reduce-integers.ts";
import type { WasmKernels } from "./step.ts";

export const integerKernels: WasmKernels = (target) => [
  ...elementwiseIntegerKernels(target),
  ...reduceIntegerKernels(target),
];
