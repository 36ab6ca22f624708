/**
 * The template of elementwise kernels: each element of the result is an expression of elements at the same place, with
 * broadcasting. Four at a time where all operands lie together, else one. Steps that follow each other become one.
 */
import { broadcastStrides, type Shape, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { Binding, GpuStep } from "./step.ts";
import { type GpuTarget, type Storage, storageOf } from "./target.ts";
import { collapse, type Lanes, loaded, offsets, perElement, stored, typeName } from "./wgsl.ts";

export interface Elementwise {
  /** Of the result. */
  readonly output: TensorType;
  /** Operands by the step's inputs. */
  readonly operands: readonly { readonly input: number; readonly type: TensorType }[];
  /**
   * The result's element as an expression of the operands' (f32, i32 or u32 by dtype; bool is u32), for one or four lanes:
   * constants are written T(0.5), I(1), U(1). `args` are names. `name` gives a name to an expression that is needed twice.
   */
  value(args: readonly string[], name: (expression: string) => string): string;
}

/** Undefined where shaders can't compute with one of the dtypes. */
export function elementwiseStep(target: GpuTarget, e: Elementwise): GpuStep | undefined {
  const { operands, output } = e;
  const storages = operands.map((o) => storageOf(target, o.type.dtype));
  const result = storageOf(target, output.dtype);
  if (!result || !storages.every((s) => s !== undefined)) return undefined;
  const strides = operands.map((o) => broadcastStrides(o.type.shape, output.shape));
  const lanes = lanesFor(output.shape, strides);
  const access = lanes === 4 ? inFours(output.shape, strides) : inOnes(output.shape, strides);
  const inputs = operands.map(({ input }, k): Binding => {
    const type = typeName(storages[k].element, access.splat[k] ? 1 : lanes);
    return { name: `x${k}`, type, access: "read", source: { input } };
  });
  const names = operands.map((_, k) => `v${k}`);
  const loads = names.map(
    (name, k) => `  let ${name} = ${load(storages[k], lanes, `x${k}[${access.at[k]}]`, access.splat[k])};\n`,
  );
  const y: Binding = { name: "y", type: typeName(result.element, lanes), access: "write", source: { output: 0 } };
  const lines: string[] = [];
  const name = (expression: string): string => {
    lines.push(`  let t${lines.length} = ${expression};\n`);
    return `t${lines.length - 1}`;
  };
  const value = stored(result, lanes, e.value(names, name));
  const body = `${access.code}${loads.join("")}${lines.join("")}  y[i] = ${value};`;
  const count = Math.ceil(sizeOf(output.shape) / lanes);
  return { run: [perElement(count, { bindings: [...inputs, y], lanes, body })], elementwise: e };
}

interface Access {
  readonly code: string;
  readonly at: readonly string[];
  /** Operands of which one element serves all lanes. */
  readonly splat: readonly boolean[];
}

function load(storage: Storage, lanes: Lanes, element: string, splat: boolean): string {
  const value = loaded(storage, splat ? 1 : lanes, element);
  return splat && lanes === 4 ? `${typeName(storage.scalar, 4)}(${value})` : value;
}

const inOnes = (shape: Shape, strides: readonly number[][]): Access => ({
  ...offsets("i", shape, strides),
  splat: strides.map(() => false),
});

/** Four lanes: every operand has them side by side or all the same, and all that comes before counts in fours. */
function lanesFor(shape: Shape, strides: readonly number[][]): Lanes {
  const axes = collapse(shape, strides);
  const last = axes.shape.length - 1;
  if (last < 0) return 1;
  if (last > 0 && axes.shape[last] % 4 !== 0) return 1;
  const together = axes.strides.every(
    (s) => s[last] === 0 || (s[last] === 1 && s.slice(0, last).every((stride) => stride % 4 === 0)),
  );
  return together ? 4 : 1;
}

function inFours(shape: Shape, strides: readonly number[][]): Access {
  const axes = collapse(shape, strides);
  const last = axes.shape.length - 1;
  const splat = axes.strides.map((s) => s[last] === 0);
  const shapeInFours = axes.shape.map((d, k) => (k === last ? Math.ceil(d / 4) : d));
  const stridesInFours = axes.strides.map((s, k) => (splat[k] ? s : s.map((v, d) => (d === last ? 1 : v / 4))));
  if (last === 0) return { code: "", at: splat.map((one) => (one ? "0u" : "i")), splat };
  return { ...offsets("i", shapeInFours, stridesInFours), splat };
}
