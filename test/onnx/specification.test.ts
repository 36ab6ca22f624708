/**
 * Walks the specification beside this repository: every operator in every version from opset 6 on, every dtype
 * of every type parameter, every attribute and optional input, as models of one node on the cpu backend. Each must run
 * and give what the schema says; floats are compared with f32. Values are checked in detail elsewhere.
 */
import { describe, expect, test } from "vitest";
import { load } from "../../src/index.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { ForwardpassError } from "../../src/tensor/errors.ts";
import { type HostTensor, type HostValue, isHostTensor } from "../../src/tensor/tensor.ts";
import type { Recipe, Recipes } from "./specification/recipe.ts";
import { recipes } from "./specification/recipes/index.ts";
import {
  assignments,
  caseOf,
  haveSpecification,
  type Operator,
  operators,
  plain,
  type Schema,
  unused,
} from "./specification/walk.ts";

if (!haveSpecification) console.log("operator specification: skipped, no ../shared/onnx-spec");
const standard = haveSpecification ? operators() : [];
/** As README writes it. */
const full = ({ domain, name }: Operator): string => (domain ? `${domain}::${name}` : name);
const recipesOf = (o: Operator, schema: Schema): Recipes => recipes[full(o)] ?? plain(schema);

/** What the schema allows and makes no sense: interpolated strings. */
function meaningless({ name }: Operator, r: Recipe, dtypes: readonly DType[]): boolean {
  if (!dtypes.includes("string")) return false;
  const mode = r.attributes?.["mode"] ?? "nearest";
  return name === "Col2Im" || (/^(Resize|Upsample|GridSample)$/.test(name) && mode !== "nearest");
}

/** What no recipe uses, with the reason. */
const untouched: Readonly<Record<string, string>> = {
  saved_mean: "BatchNormalization before 14: statistics for a backward pass, never written by models that only run",
  saved_var: "as saved_mean",
  type: "Optional without an input: a type and no value; see conformance",
};
/** Their inputs are maps, which there are none of here. */
const maps = ["ai.onnx.ml::CastMap", "ai.onnx.ml::DictVectorizer"];
/** Files of images: test/ops/image.test.ts. */
const elsewhere = new Set(["ImageDecoder", ...maps]);

const floats: readonly (string | undefined)[] = ["f64", "f32", "f16", "bf16"];

function differs(a: HostValue | undefined, b: HostValue | undefined): string | undefined {
  if (!a || !b || !isHostTensor(a) || !isHostTensor(b)) return undefined;
  if (!floats.includes(a.dtype) || !floats.includes(b.dtype)) return undefined;
  if (`${a.shape}` !== `${b.shape}`) return `shape [${a.shape}], with f32 [${b.shape}]`;
  const [p, q] = [toF64(a), toF64(b)];
  const at = p.findIndex(
    (v, i) => !(Object.is(v, q[i]) || v === q[i] || Math.abs(v - q[i]) <= 0.02 * (1 + Math.abs(q[i]))),
  );
  return at < 0 ? undefined : `${p[at]} at ${at}, with f32 ${q[at]}`;
}

function wrongType(value: HostValue | undefined, dtype: DType | undefined): string | undefined {
  const first = Array.isArray(value) ? value[0] : value;
  if (value === undefined) return "no value";
  const got = (first as HostTensor | undefined)?.dtype;
  return dtype && got && got !== dtype ? `${got}, not ${dtype}` : undefined;
}

async function check(operator: Operator, schema: Schema, failures: string[]): Promise<number> {
  let models = 0;
  const first: (Record<string, HostValue> | undefined)[] = [];
  const all = assignments(operator, schema);
  for (const [k, dtypes] of all.entries()) {
    const comparable = Object.entries(dtypes).every(
      ([p, d]) => d === all[0][p] || (floats.includes(d) && floats.includes(all[0][p])),
    );
    for (const [i, r] of recipesOf(operator, schema)({ since: schema.since, dtypes }).entries()) {
      const c = caseOf(operator, schema, dtypes, r);
      if (!c || meaningless(operator, r, Object.values(dtypes))) continue;
      models++;
      const fail = (what: string): number =>
        failures.push(`version ${schema.since}, recipe ${i}, ${JSON.stringify(dtypes)}: ${what}`);
      try {
        const model = await load(c.model, { device: "cpu" });
        const results = await model.run(c.inputs);
        model.dispose();
        if (k === 0) first[i] = results;
        for (const { name, dtype } of c.outputs) {
          const wrong =
            wrongType(results[name], dtype) ??
            (r.incomparable || !comparable ? undefined : differs(results[name], first[i]?.[name]));
          if (wrong) fail(`${name}: ${wrong}`);
        }
      } catch (e) {
        if (!(e instanceof ForwardpassError)) throw e;
        fail(`${e.name}: ${e.message}`);
      }
    }
  }
  return models;
}

describe.skipIf(!haveSpecification)("every version and dtype of", () => {
  let models = 0;
  test.each(standard.filter((o) => !elsewhere.has(full(o))).map((o) => [full(o), o] as const))(
    "%s",
    async (_, operator) => {
      const failures: string[] = [];
      for (const schema of operator.versions) models += await check(operator, schema, failures);
      expect(failures).toEqual([]);
    },
    60_000,
  );

  test("attributes, inputs and outputs are all used", () => {
    const missing: string[] = [];
    for (const operator of standard.filter((o) => !elsewhere.has(full(o))))
      for (const schema of operator.versions) {
        const all = assignments(operator, schema).flatMap((dtypes) =>
          recipesOf(
            operator,
            schema,
          )({ since: schema.since, dtypes }).filter((r) => caseOf(operator, schema, dtypes, r)),
        );
        for (const name of unused(schema, all))
          if (!untouched[name]) missing.push(`${full(operator)} ${schema.since}: ${name}`);
      }
    expect(missing).toEqual([]);
    console.log(`operator specification: ${standard.length} operators, ${models} models of one node`);
  });
});
