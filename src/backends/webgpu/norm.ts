/** Normalisations of rows. */

import { layerNorm, layerNormStatistics, rmsNorm } from "../../ops/layer-norm.ts";
import { broadcastStrides, normalizeAxis, type Shape } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { addition } from "./reduction.ts";
import { isShort, type Rows, type RowValue, rowDispatch, rowsAlong } from "./rows.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { literal, loaded, offsets, read, stored, write } from "./wgsl.ts";

export const sum: RowValue = { name: "together", type: "f32", ...addition };

export interface Norm {
  readonly rows: Rows;
  readonly x: TensorType;
  /** By output; undefined where nobody reads it. */
  readonly outputs: readonly (TensorType | undefined)[];
  readonly epsilon: number;
  /** rms: the mean is not subtracted. lp: neither, and the sum takes the mean's place. */
  readonly kind: "mean" | "rms" | "l1" | "l2" | "deviation";
  /** Inputs that the result is multiplied with and added to; how element `at` of x reads them. */
  readonly scale?: Affine;
  readonly bias?: Affine;
  /** Statistics instead of the normalised elements. */
  readonly statistics?: boolean;
}

export interface Affine {
  readonly input: number;
  readonly type: TensorType;
  /** Of the tensor that the elements of x count as, and the strides of this one over it. */
  readonly shape: Shape;
  readonly strides: readonly number[];
}

export function normStep(target: GpuTarget, n: Norm): GpuStep | undefined {
  const { rows, x, kind } = n;
  const storage = storageOf(target, x.dtype);
  const results = n.outputs.map((t) => t && storageOf(target, t.dtype));
  const affine = [n.scale, n.bias].map((a) => a && { ...a, storage: storageOf(target, a.type.dtype) });
  if (!storage || n.outputs.some((t, i) => t && !results[i]) || affine.some((a) => a && !a.storage)) return undefined;
  const bindings: Binding[] = [read("x", { input: 0 }, storage.element)];
  results.forEach((r, output) => {
    if (r) bindings.push(write(`y${output}`, { output }, r.element));
  });
  affine.forEach((a, i) => {
    if (a) bindings.push(read(i === 0 ? "scale" : "bias", { input: a.input }, a.storage!.element));
  });
  const v = (at: string) => loaded(storage, 1, `x[${at}]`);
  const centred = kind === "mean" || kind === "deviation";
  const part = kind === "l1" ? "abs(d)" : "d * d";
  const count = `${rows.n}.0`;
  const inverse = {
    mean: `1.0 / sqrt(spread / ${count} + ${literal(n.epsilon)})`,
    rms: `1.0 / sqrt(spread / ${count} + ${literal(n.epsilon)})`,
    deviation: `1.0 / (sqrt(spread / ${count}) + ${literal(n.epsilon)})`,
    l1: "select(1.0 / spread, 0.0, spread == 0.0)",
    l2: "select(1.0 / sqrt(spread), 0.0, spread == 0.0)",
  }[kind];
  const dispatch = rowDispatch(target, rows, {
    bindings,
    values: [sum],
    body({ each, all, once }) {
      const mean = centred
        ? `  var own = 0.0;\n${each("k", (at) => `own += ${v(at)};`)}  let mean = ${all(sum, "own")} / ${count};\n`
        : "  let mean = 0.0;\n";
      const spread = `  var squares = 0.0;
${each("j", (at) => `let d = ${v(at)} - mean; squares += ${part};`)}  let spread = ${all(sum, "squares")};
  let inverse = ${inverse};
`;
      if (n.statistics) {
        const values = ["mean", "inverse"];
        return (
          mean + spread + once(results.map((r, i) => (r ? `y${i}[row] = ${stored(r, 1, values[i])};` : "")).join(" "))
        );
      }
      const write = each("m", (at) => {
        const terms = affine.map((a, i) => {
          if (!a) return { code: "", value: "" };
          const walk = offsets("here", a.shape, [a.strides], i === 0 ? "scaled" : "shifted");
          return { code: walk.code, value: loaded(a.storage!, 1, `${i === 0 ? "scale" : "bias"}[${walk.at[0]}]`) };
        });
        const value = `(${v("here")} - mean) * inverse${terms[0].value && ` * ${terms[0].value}`}${terms[1].value && ` + ${terms[1].value}`}`;
        return `let here = ${at};\n${terms.map((t) => t.code).join("")}    y0[here] = ${stored(results[0]!, 1, value)};`;
      });
      return mean + spread + write;
    },
  });
  return { run: [dispatch] };
}

const broadcast = (x: TensorType, input: number, type: TensorType | undefined): Affine | undefined =>
  type && { input, type, shape: x.shape, strides: broadcastStrides(type.shape, x.shape) };

/** The axes from `axis` on. */
function rowsFrom(op: string, x: TensorType, axis = -1): Rows {
  const a = normalizeAxis(op, axis, x.shape.length);
  return rowsAlong(x.shape, x.shape.map((_, i) => i).slice(a));
}

export const normKernels: GpuKernels = (target) => [
  ...[true, false].flatMap((short) => {
    const form = short ? "rows" : "group";
    const name = (op: { op: { name: string } }): string => `webgpu/${op.op.name}/${form}`;
    return [
      gpuKernel(layerNorm, name(layerNorm), ([x, scale, bias], outputs, { axis, epsilon = 1e-5 }) => {
        const rows = rowsFrom("layerNorm", x, axis);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, {
          rows,
          x,
          outputs,
          epsilon,
          kind: "mean",
          scale: broadcast(x, 1, scale),
          bias: broadcast(x, 2, bias),
        });
      }),
      gpuKernel(layerNormStatistics, name(layerNormStatistics), ([x], outputs, { axis, epsilon = 1e-5 }) => {
        const rows = rowsFrom("layerNormStatistics", x, axis);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, { rows, x, outputs, epsilon, kind: "mean", statistics: true });
      }),
      gpuKernel(rmsNorm, name(rmsNorm), ([x, scale], outputs, { axis, epsilon = 1e-5 }) => {
        const rows = rowsFrom("rmsNorm", x, axis);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, { rows, x, outputs, epsilon, kind: "rms", scale: broadcast(x, 1, scale) });
      }),
    ];
  }),
];
