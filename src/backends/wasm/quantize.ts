/** Quantization to 8-bit integers and back. */
import {
  dequantizeLinear,
  dynamicQuantizeLinear,
  dynamicRows,
  quantizeLinear,
  scaleLayout,
} from "../../ops/quantize.ts";
import { type Shape, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Expr, f32, f32x4, i32, i32x4 } from "./assembler.ts";
import { type Elementwise, emitElementwise } from "./elementwise.ts";
import { isByte, runOf, saturated } from "./int8.ts";
import { constant } from "./kernels/math.ts";
import { type Element, runArgs, runFunction } from "./kernels/vector.ts";
import { acrossLanes, emitFold } from "./kernels/vector-rows.ts";
import { emitCells } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

/** The shape of x and that of what goes along with its scale, so that the one broadcasts to the other. */
function scaleShapes(op: string, x: TensorType, scale: TensorType, attrs: object): [Shape, Shape] | undefined {
  const { outer, n, inner, kind } = scaleLayout(op, x, scale, attrs);
  if (kind === "block") return undefined;
  return kind === "tensor"
    ? [[sizeOf(x.shape)], []]
    : [
        [outer, n, inner],
        [n, 1],
      ];
}

/** An operator of x, scale and perhaps a zero point. */
function scaledStep(how: Elementwise, [shape, scale]: [Shape, Shape]): WasmStep {
  return {
    work: 2 * sizeOf(shape),
    emit: (e) =>
      emitElementwise(
        e,
        how,
        shape,
        how.elements.map((_, i) => ({ shape: i === 0 ? shape : scale, at: e.inputs[i] })),
        e.outputs[0],
      ),
  };
}

const quantizeKernel = wasmKernel(quantizeLinear, "wasm/quantizeLinear/bytes", ([x, scale, zero], [y], attrs) => {
  const shapes = scaleShapes("quantizeLinear", x, scale, attrs);
  if (!shapes || x.dtype !== "f32" || scale.dtype !== "f32" || !isByte(y)) return undefined;
  if ((attrs.precision ?? "f32") !== "f32") return undefined;
  const element = y.dtype as Element;
  return scaledStep(
    {
      name: `quantize/${y.dtype}`,
      elements: zero ? ["f32", "f32", element] : ["f32", "f32"],
      result: element,
      short: true,
      value: (f, [v, s, z]) => saturated(f, f32x4.div(v, s), z ?? f.hoist(i32x4.splat(0)), y.dtype),
    },
    shapes,
  );
});

const dequantizeKernel = wasmKernel(dequantizeLinear, "wasm/dequantizeLinear/f32", ([x, scale, zero], [y], attrs) => {
  const shapes = scaleShapes("dequantizeLinear", x, scale, attrs);
  if (!shapes || !(isByte(x) || x.dtype === "i32") || scale.dtype !== "f32" || y.dtype !== "f32") return undefined;
  const element = x.dtype as Element;
  return scaledStep(
    {
      name: "dequantize",
      elements: zero ? [element, "f32", element] : [element, "f32"],
      result: "f32",
      short: true,
      value: (_, [v, s, z]) => f32x4.mul(f32x4.convert_i32x4_s(z ? i32x4.sub(v, z) : v), s),
    },
    shapes,
  );
});

/** Of all of x: every thread finds its bounds and quantizes its own part. Of rows: each thread has some of them. */
const dynamicKernel = wasmKernel(dynamicQuantizeLinear, "wasm/dynamicQuantizeLinear", ([x], outputs, attrs) => {
  const [y, scale, zero] = outputs;
  const { rows, n } = dynamicRows(x, attrs);
  if (!y || !scale || !zero || rows * n === 0) return undefined;
  const size = rows * n;
  const how: Elementwise = {
    name: "quantize/u8",
    elements: ["f32", "f32", "u8"],
    result: "u8",
    short: true,
    value: (f, [v, s, z]) => saturated(f, f32x4.div(v, s), z, "u8"),
  };
  return {
    work: 3 * size,
    emit(e) {
      const [at] = e.inputs;
      const [yAt, scaleAt, zeroAt] = e.outputs;
      const name = "dynamicQuantize/scale";
      const setScale = e.shared(name, (m) =>
        m.func({ name, params: { x: "i32", n: "i32", scale: "i32", zero: "i32" } }, (f, p) => {
          const bound = (combine: typeof f32x4.min): Expr<"f32"> => {
            const total = f.let(constant(f, 0));
            emitFold(f, { start: 0, combine }, p.x, p.n, total);
            return f32x4.extract_lane(acrossLanes(f, combine, total), 0);
          };
          const low = f.let(bound(f32x4.min));
          const step = f.let(f32.div(f32.sub(bound(f32x4.max), low), 255));
          f.if(f32.eq(step, 0), () => f.set(step, 1));
          f.f32.store(p.scale, step);
          const exact = f32.min(f32.max(f32.div(f32.neg(low), step), 0), 255);
          f.i32.store8(p.zero, i32.trunc_sat_f32_s(f32.nearest(exact)));
        }),
      );
      if (rows === 1) {
        e.f.call(setScale, { x: at, n, scale: scaleAt, zero: zeroAt });
        const scalar = (where: number) => ({ shape: [], at: where });
        emitElementwise(e, how, [n], [{ shape: [n], at }, scalar(scaleAt), scalar(zeroAt)], yAt);
        return;
      }
      const row = runFunction(
        e,
        runOf(how, (i) => i > 0),
      );
      emitCells(e, [{ size: rows, steps: [4 * n, n, 4, 1] }], [at, yAt, scaleAt, zeroAt], ([from, to, s, z]) => {
        e.f.call(setScale, { x: from, n, scale: s, zero: z });
        e.f.call(row, runArgs([from, s, z], to, n));
      });
    },
  };
});

export const quantizeKernels: WasmKernels = () => [quantizeKernel, dequantizeKernel, dynamicKernel];
