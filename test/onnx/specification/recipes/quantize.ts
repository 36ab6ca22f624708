/** Recipes of ONNX quantisation. */
import { dtypes as rows } from "../../../../src/tensor/dtype.ts";
import { always, node, of, onnxCode, type Recipes, scalar, values, x } from "../recipe.ts";

const quantize: Recipes = ({ since, dtypes }) => {
  const to = dtypes[since >= 23 ? "T3" : "T2"];
  const x2 = of(2, 4);
  const code = { output_dtype: onnxCode[to] };
  const signed = to !== "u8" && to !== "u16" && to !== "u4" && to !== "u2";
  const zero = rows[to as "i8"]?.kind === "float" || signed ? 0 : 1;
  const axis = { axis: 0 };
  return [
    node([x2, scalar(1), scalar(zero)]),
    ...(since >= 13 ? [node([x2, values(1, 2), values(zero, zero)], axis)] : []),
    ...(since >= 19 ? [node([x2, scalar(1), scalar(zero)], { saturate: 0 })] : []),
    ...(since >= 21 ? [node([x2, scalar(1)], code), node([x2, of(2, 2)], { ...code, axis: 1, block_size: 2 })] : []),
    ...(since >= 23 ? [node([x2, scalar(1), scalar(zero)], { precision: 1 })] : []),
    ...(to === "u8" ? [node([x2, scalar(1)])] : []),
  ];
};

const dequantize: Recipes = ({ since, dtypes }) => {
  const x2 = of(2, 4);
  const to = dtypes["T3"];
  if (to && dtypes["T2"] !== to) return [node([x2, scalar(1)], { output_dtype: onnxCode[to] })];
  return [
    node([x2, scalar(1)]),
    node([x2, scalar(2), scalar(0)]),
    ...(since >= 13 ? [node([x2, values(1, 2), values(0, 0)], { axis: 0 })] : []),
    ...(since >= 21 ? [node([x2, of(2, 2)], { axis: 1, block_size: 2 })] : []),
    ...(to ? [node([x2, scalar(1)], { output_dtype: onnxCode[to] })] : []),
  ];
};

export const quantizeRecipes: Readonly<Record<string, Recipes>> = {
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: always(node([x], {}, 3)),
  MatMulInteger: always(
    node([x, of(3, 4)]),
    node([x, of(3, 4), scalar(1), scalar(1)]),
    node([x, of(3, 4), values(1, 2), of(4)]),
  ),
  QLinearMatMul: always(node([x, scalar(1), scalar(1), of(3, 2), scalar(1), scalar(0), scalar(2), scalar(1)])),
  QuantizeLinear: quantize,
};
