/** The specification's schemas, and the models of one node that can be made of each. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fromF64 } from "../../../src/tensor/convert.ts";
import { type DType, dtypes } from "../../../src/tensor/dtype.ts";
import { emptyTensor, type HostTensor, type HostValue } from "../../../src/tensor/tensor.ts";
import { type AttributeSpec, encodeModel, type GraphSpec, type PortSpec } from "../encode.ts";
import type { Given, Recipe, Recipes } from "./recipe.ts";

const folder = new URL("../../../../shared/onnx-spec/ops/", import.meta.url);
export const haveSpecification = existsSync(fileURLToPath(folder));

interface Port {
  name: string;
  type: string;
  optional?: boolean;
  variadic?: boolean;
}

export interface Schema {
  since: number;
  deprecated: unknown;
  attributes: Record<string, { type: string; required?: boolean }>;
  inputs: Port[];
  outputs: Port[];
  types: Record<string, string[]>;
}

export interface Operator {
  name: string;
  domain: string;
  /** Those in force from opset 6 on. */
  versions: Schema[];
}

export function operators(): Operator[] {
  return readdirSync(folder)
    .sort()
    .map((file) => {
      const all = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Schema[];
      const [name, domain = ""] = file
        .replace(/\.json$/, "")
        .split("__")
        .reverse();
      const first = domain ? 0 : Math.max(...all.map((v) => v.since).filter((s) => s <= 6), 0);
      return { name, domain, versions: all.filter((v) => v.since >= first) };
    });
}

const names: Readonly<Record<string, DType>> = {
  float: "f32",
  double: "f64",
  float16: "f16",
  bfloat16: "bf16",
  ...Object.fromEntries(
    [8, 16, 32, 64, 4, 2].flatMap((b) => [
      [`int${b}`, `i${b}`],
      [`uint${b}`, `u${b}`],
    ]),
  ),
  bool: "bool",
  string: "string",
  float8e4m3fn: "f8e4m3fn",
  float8e4m3fnuz: "f8e4m3fnuz",
  float8e5m2: "f8e5m2",
  float8e5m2fnuz: "f8e5m2fnuz",
  float8e8m0: "f8e8m0",
  float4e2m1: "f4e2m1",
  float6e2m3: "f6e2m3",
  float6e3m2: "f6e3m2",
};

const inner = /^(?:seq\(|optional\()*tensor\((\w+)\)+$/;

/** The element type of a type string. Undefined for complex numbers and maps. */
const elementOf = (type: string): DType | undefined => names[inner.exec(type)?.[1] ?? ""];

/** Operators whose parameters name one element type twice: a tensor's, and that of a sequence or an optional of it. */
const sameElement = /^(Sequence(At|Insert|Construct)|SplitToSequence|ConcatFromSequence|Optional(GetElement)?)$/;

/**
 * All assignments of dtypes to type parameters to try: one parameter after the other, or all of all. None where an input
 * is a map or complex.
 */
export function assignments(operator: Operator, schema: Schema): Record<string, DType>[] {
  const choices = Object.entries(schema.types).map(([parameter, types]): [string, DType[]] => {
    const list = [...new Set(types.map(elementOf).filter((d) => d !== undefined))];
    // f32 first: it is what the others are compared with.
    return [parameter, list.sort((a, b) => Number(b === "f32") - Number(a === "f32"))];
  });
  if (choices.some(([p, list]) => list.length === 0 && schema.inputs.some(({ type }) => type === p))) return [];
  if (conversions.test(operator.name) && schema === operator.versions.at(-1))
    return choices.reduce<Record<string, DType>[]>(
      (sets, [p, list]) => sets.flatMap((s) => list.map((d) => ({ ...s, [p]: d }))),
      [{}],
    );
  const first = Object.fromEntries(choices.map(([p, list]) => [p, list[0]]));
  const linked = (p: string, d: DType): Record<string, DType> => {
    if (!sameElement.test(operator.name)) return { [p]: d };
    return Object.fromEntries(choices.filter(([, list]) => list.includes(d) && list.length > 2).map(([p]) => [p, d]));
  };
  return [first, ...choices.flatMap(([p, list]) => list.slice(1).map((d) => ({ ...first, ...linked(p, d) })))];
}

const conversions = /^(Cast|CastLike|BitCast)$/;

export interface Case {
  readonly model: Uint8Array;
  readonly inputs: Record<string, HostValue>;
  /** What the schema says of the outputs: undefined where the recipe decides. */
  readonly outputs: { name: string; dtype: DType | undefined }[];
}

/** Small numbers that every dtype holds; positions where some are needed are given by recipes. */
const numbers = [1, 0, 1, 2, 1, 3, 2, 0, 1];

function tensor(dtype: DType, { shape, values }: Given): HostTensor {
  const t = emptyTensor({ dtype, shape: [...shape] });
  const size = t.data.length;
  if (dtype === "string") {
    const words = Array.from({ length: size }, (_, i) => String(values?.[i] ?? ["b", "a", "c"][i % 3]));
    return { ...t, data: words };
  }
  const list = values?.map(Number) ?? Array.from({ length: size }, (_, i) => numbers[i % numbers.length]);
  fromF64(
    list.map((v) => (dtypes[dtype].bits === 2 ? Math.min(v, 1) : v)),
    t,
  );
  return t;
}

/** The model of one node, or undefined where the version lacks what the recipe uses. */
export function caseOf(operator: Operator, schema: Schema, types: Record<string, DType>, r: Recipe): Case | undefined {
  const dtypeOf = (port: Port): DType | undefined => types[port.type] ?? elementOf(port.type);
  const portOf = (list: Port[], i: number): Port | undefined =>
    list[i] ?? (list.at(-1)?.variadic ? list.at(-1) : undefined);
  const attributes = Object.entries(r.attributes ?? {});
  if (attributes.some(([name]) => !schema.attributes[name])) return undefined;
  const outer = operator.name === "If";
  const ports: PortSpec[] = [];
  const inputs: Record<string, HostValue> = {};
  const add = (name: string, dtype: DType, given: Given): void => {
    const shape = [...given.shape];
    ports.push({ name, dtype, shape, sequence: given.sequence !== undefined });
    const t = tensor(dtype, given);
    inputs[name] = given.sequence === undefined ? t : Array.from({ length: given.sequence }, () => t);
  };
  const used: string[] = [];
  for (const [i, given] of r.inputs.entries()) {
    const port = portOf(schema.inputs, i);
    if (!port) return undefined;
    used.push(given ? `in${i}` : "");
    if (!given) continue;
    const dtype = dtypeOf(port);
    if (!dtype) return undefined;
    add(`in${i}`, dtype, given);
  }
  if (outer) add("outer", types["V"], { shape: [2] });
  const outputs = Array.from({ length: r.outputs ?? 1 }, (_, i) => {
    const port = portOf(schema.outputs, i) ?? (schema.outputs.length === 1 ? schema.outputs[0] : undefined);
    if (!port) return undefined;
    // A parameter that only inputs left out would fix may be anything.
    const of = (p: Port | undefined): boolean => p?.type === port.type;
    const open = schema.inputs.some(of) && !used.some((name, i) => name !== "" && of(portOf(schema.inputs, i)));
    return { name: `out${i}`, dtype: open ? undefined : dtypeOf(port) };
  });
  if (outputs.some((o) => !o)) return undefined;
  const model = encodeModel({
    opset: operator.domain ? 21 : Math.max(6, schema.since),
    ...(operator.domain && { domains: { [operator.domain]: schema.since } }),
    inputs: ports,
    outputs: outputs.map((o) => ({ name: o!.name })),
    nodes: [
      {
        type: operator.name,
        domain: operator.domain,
        inputs: used,
        outputs: outputs.map((o) => o!.name),
        attributes: Object.fromEntries(attributes.map(([name, v]) => [name, encode(schema.attributes[name].type, v)])),
      },
    ],
  });
  return { model, inputs, outputs: outputs as Case["outputs"] };
}

function encode(type: string, value: NonNullable<Recipe["attributes"]>[string]): AttributeSpec {
  switch (type) {
    case "INT":
      return { int: value as number };
    case "INTS":
      return { ints: [...(value as number[])] };
    case "FLOAT":
      return { float: value as number };
    case "FLOATS":
      return { floats: [...(value as number[])] };
    case "STRING":
      return { string: value as string };
    case "STRINGS":
      return { strings: [...(value as string[])] };
    case "GRAPH":
      return { graph: value as GraphSpec };
    default: {
      const t = value as { tensor: DType; shape: number[]; values: (number | string)[] };
      const dense = tensor(t.tensor, t);
      return type === "SPARSE_TENSOR" ? { sparse: dense } : { tensor: dense };
    }
  }
}

/** What a schema has and no recipe uses: attributes, optional inputs. */
export function unused(schema: Schema, recipes: readonly Recipe[]): string[] {
  const attributes = Object.keys(schema.attributes).filter(
    (a) => !recipes.some((r) => r.attributes?.[a] !== undefined),
  );
  const inputs = schema.inputs.filter((_, i) => !recipes.some((r) => r.inputs[i])).map((p) => p.name);
  const outputs = schema.outputs.filter((_, i) => !recipes.some((r) => (r.outputs ?? 1) > i)).map((p) => p.name);
  return [...attributes, ...inputs, ...outputs];
}

/** A recipe for operators that need none: as many tensors of one shape as there are inputs. */
export const plain =
  (schema: Schema): Recipes =>
  () => [{ inputs: schema.inputs.map(() => ({ shape: [2, 3] })) }];
