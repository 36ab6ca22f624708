/** Pieces of WGSL that kernels are put together from. */
import type { DType } from "../../tensor/dtype.ts";
import { dtypes } from "../../tensor/dtype.ts";
import { type Shape, stridesOf } from "../../tensor/shape.ts";
import { functionsUsed } from "./functions.ts";
import type { Binding, Dispatch, Source } from "./step.ts";
import type { Storage } from "./target.ts";

export type Lanes = 1 | 4;

const shortNames = { f32: "f", i32: "i", u32: "u", f16: "h" } as const;

/** `f32`, or `vec4f` for four lanes. */
export const typeName = (scalar: keyof typeof shortNames, lanes: Lanes): string =>
  lanes === 1 ? scalar : `vec4${shortNames[scalar]}`;

/** An element as it is computed with, from one as it is stored. */
export const loaded = (storage: Storage, lanes: Lanes, stored: string): string =>
  storage.element === storage.scalar ? stored : `${typeName(storage.scalar, lanes)}(${stored})`;

/** The reverse. */
export const stored = (storage: Storage, lanes: Lanes, value: string): string =>
  storage.element === storage.scalar ? value : `${typeName(storage.element, lanes)}(${value})`;

/** A number as a literal of the abstract float type, which converts to f32 and vectors of it. */
export function literal(v: number): string {
  if (v === Infinity) return "infinity()";
  if (v === -Infinity) return "-infinity()";
  if (Number.isNaN(v)) return "notANumber()";
  // Out of f32's range is infinite there.
  const f = Math.fround(v);
  if (!Number.isFinite(f)) return literal(f);
  return Number.isInteger(f) && Math.abs(f) < 1e15 ? `${f}.0` : `${f}`;
}

/** `f32` constants in vectors: `T(0.5)`. */
export const splat = (v: number): string => `T(${literal(v)})`;

export const read = (name: string, source: Source, type: string): Binding => ({ name, source, type, access: "read" });
export const write = (name: string, source: Source, type: string): Binding => ({ name, source, type, access: "write" });

/** A grid of `count` workgroups within the limit of each dimension, and the number of a workgroup in it. */
export function grid(count: number): { workgroups: [number, number, number]; index: string } {
  const most = 65535;
  if (count <= most) return { workgroups: [count, 1, 1], index: "group.x" };
  const y = Math.ceil(count / most);
  const x = Math.ceil(count / y);
  return { workgroups: [x, y, 1], index: `(group.y * ${x}u + group.x)` };
}

interface Parts {
  readonly bindings: readonly Binding[];
  /** Module scope: `var<workgroup>`, functions. */
  readonly declarations?: string;
  /** Of the aliases T, B, I and U. Default 1. */
  readonly lanes?: Lanes;
  readonly body: string;
}

/** What stands before every kernel: aliases by lanes, and those of `functions.ts` that the code calls. */
export function prelude(code: string, lanes: Lanes = 1): string {
  const aliases: [string, string][] = [
    ["T", typeName("f32", lanes)],
    ["I", typeName("i32", lanes)],
    ["U", typeName("u32", lanes)],
    ["B", lanes === 1 ? "bool" : "vec4<bool>"],
  ];
  return aliases.map(([name, type]) => `alias ${name} = ${type};\n`).join("") + functionsUsed(code);
}

const elementsPerGroup = 64;

/** One invocation for each `i` below `count`. */
export function perElement(count: number, { bindings, declarations = "", lanes, body }: Parts): Dispatch {
  const { workgroups, index } = grid(Math.ceil(count / elementsPerGroup));
  const code = `${declarations}
@compute @workgroup_size(${elementsPerGroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = ${index} * ${elementsPerGroup}u + local;
  if (i >= ${count}u) { return; }
${body}
}`;
  return { bindings, code: prelude(code, lanes) + code, workgroups };
}

/**
 * One workgroup of `size` invocations, numbered `local`, for each `row` below `count`: they may meet at barriers. `width`
 * is the size of their subgroups, where the code uses those.
 */
export function perGroup(count: number, size: number, { bindings, declarations = "", lanes, body }: Parts): Dispatch {
  const { workgroups, index } = grid(count);
  const subgroups = /\bsubgroup[A-Z]/.test(declarations + body);
  const code = `${declarations}
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32${subgroups ? ", @builtin(subgroup_size) width: u32" : ""}) {
${subgroups ? "" : "  let width = 1u;\n"}  let row = ${index};
  if (row >= ${count}u) { return; }
${body}
}`;
  return { bindings, code: prelude(code, lanes) + code, workgroups };
}

/**
 * Offsets of element `index` of `shape` in tensors with these strides. Axes that lie together in all of them are counted
 * as one.
 * @param name prefix of the variables
 */
export function offsets(
  index: string,
  shape: Shape,
  strides: readonly (readonly number[])[],
  name = "at",
): { code: string; at: string[] } {
  const axes = collapse(shape, strides);
  if (axes.shape.length === 0) return { code: "", at: strides.map(() => "0u") };
  const coordinates = axes.shape.map((_, d) => `${name}_${d}`);
  let code = "";
  let rest = index;
  for (let d = axes.shape.length - 1; d >= 0; d--) {
    code += `  let ${coordinates[d]} = ${d === 0 ? rest : `${rest} % ${axes.shape[d]}u`};\n`;
    if (d > 0) {
      code += `  let ${name}_rest${d} = ${rest} / ${axes.shape[d]}u;\n`;
      rest = `${name}_rest${d}`;
    }
  }
  return { code, at: axes.strides.map((s) => dot(coordinates, s)) };
}

/** WGSL for the coordinates of `index` in `shape`, named `name0`, `name1`, ..., as i32. */
export function coordinates(name: string, index: string, shape: readonly number[]): string {
  const strides = stridesOf(shape);
  return shape
    .map((size, d) => {
      const quotient = strides[d] === 1 ? index : `${index} / ${strides[d]}u`;
      return `let ${name}${d} = i32(${d === 0 ? quotient : `(${quotient}) % ${size}u`});`;
    })
    .join("\n  ");
}

/** A sum of coordinates times strides. */
export function dot(coordinates: readonly string[], strides: readonly number[]): string {
  const terms = coordinates.flatMap((c, d) =>
    strides[d] === 0 ? [] : [strides[d] === 1 ? c : `${c} * ${strides[d]}u`],
  );
  return terms.length === 0 ? "0u" : terms.length === 1 ? terms[0] : `(${terms.join(" + ")})`;
}

/** The same walk with as few axes as possible. */
export function collapse(
  shape: Shape,
  strides: readonly (readonly number[])[],
): { shape: number[]; strides: number[][] } {
  const out: { shape: number[]; strides: number[][] } = { shape: [], strides: strides.map(() => []) };
  shape.forEach((size, d) => {
    if (size === 1) return;
    const last = out.shape.length - 1;
    if (last >= 0 && strides.every((s, t) => out.strides[t][last] === s[d] * size)) {
      out.shape[last] *= size;
      for (let t = 0; t < strides.length; t++) out.strides[t][last] = strides[t][d];
    } else {
      out.shape.push(size);
      for (let t = 0; t < strides.length; t++) out.strides[t].push(strides[t][d]);
    }
  });
  return out;
}

/** An integer result without the bits that its dtype lacks. */
export function wrapped(dtype: DType, value: string): string {
  const { kind, bits } = dtypes[dtype];
  if (bits >= 32 || (kind !== "int" && kind !== "uint")) return value;
  if (kind === "uint") return `((${value}) & U(${2 ** bits - 1}u))`;
  return `(((${value}) << U(${32 - bits}u)) >> U(${32 - bits}u))`;
}
