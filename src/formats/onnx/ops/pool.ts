/** ONNX pooling -> ours. */
import { averagePool, globalAveragePool, globalLpPool, globalMaxPool, lpPool, maxPool } from "../../../ops/pool.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { windowAttrs } from "./window.ts";

const poolAttrs = (n: OnnxNode) => ({
  ...windowAttrs(n),
  kernelShape: n.ints("kernel_shape") ?? n.missing("kernel_shape"),
  ceilMode: n.flag("ceil_mode"),
});

export const poolLowerings: LoweringTable = {
  MaxPool: (n) => maxPool(n.input(0), { ...poolAttrs(n), columnMajor: n.flag("storage_order") }),
  AveragePool: (n) => averagePool(n.input(0), { ...poolAttrs(n), countIncludePad: n.flag("count_include_pad") }),
  LpPool: (n) => lpPool(n.input(0), { ...poolAttrs(n), p: n.int("p", 2) }),
  GlobalAveragePool: (n) => globalAveragePool(n.input(0)),
  GlobalMaxPool: (n) => globalMaxPool(n.input(0)),
  GlobalLpPool: (n) => globalLpPool(n.input(0), { p: n.int("p", 2) }),
};
