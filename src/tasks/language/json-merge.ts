/** Two schemas as one that allows what both do: for `allOf`, and for keywords beside `anyOf` and `$ref`. */
import { annotations, type JsonSchema } from "./json-keywords.ts";

export interface MergeContext {
  /** Follows `$ref` and takes `allOf` together. */
  resolve(schema: JsonSchema): JsonSchema;
  /** Throws, with what is not supported. */
  fail(message: string): never;
}

type Properties = Readonly<Record<string, JsonSchema>>;
const largest = (a: unknown, b: unknown): unknown => Math.max(a as number, b as number);
const least = (a: unknown, b: unknown): unknown => Math.min(a as number, b as number);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const both = (a: JsonSchema, b: JsonSchema): JsonSchema => (same(a, b) ? a : { allOf: [a, b] });
const allOf = (a: unknown, b: unknown): JsonSchema => both(a as JsonSchema, b as JsonSchema);

/** Keywords that two schemas may both have, and what they are then: undefined where nothing fits both. */
const merges: Readonly<Record<string, (a: unknown, b: unknown) => unknown>> = {
  required: (a, b) => [...new Set([a, b].flat())],
  properties: (a, b) => union(a as Properties, b as Properties),
  patternProperties: (a, b) => union(a as Properties, b as Properties),
  items: allOf,
  additionalProperties: allOf,
  propertyNames: allOf,
  uniqueItems: (a, b) => Boolean(a || b),
  minimum: largest,
  exclusiveMinimum: largest,
  minLength: largest,
  minItems: largest,
  minProperties: largest,
  maximum: least,
  exclusiveMaximum: least,
  maxLength: least,
  maxItems: least,
  maxProperties: least,
  type: (a, b) => {
    const [own, theirs] = [[a].flat(), [b].flat()];
    const has = (list: unknown[], t: unknown): boolean =>
      list.includes(t) || (t === "integer" && list.includes("number"));
    const shared = [...own.filter((t) => has(theirs, t)), ...theirs.filter((t) => has(own, t) && !own.includes(t))];
    return shared.length > 0 ? shared : undefined;
  },
  enum: (a, b) => {
    const shared = [a].flat().filter((v) => [b].flat().some((other) => same(v, other)));
    return shared.length > 0 ? shared : undefined;
  },
};

function union(a: Properties, b: Properties): Properties {
  const entries = Object.entries(b).map(([name, s]) => [name, Object.hasOwn(a, name) ? both(a[name], s) : s] as const);
  return { ...a, ...Object.fromEntries(entries) };
}

/** `false` where no value fits both. */
export function merged(first: JsonSchema, second: JsonSchema, context: MergeContext): JsonSchema {
  const [a, b] = [first, second].map((s) => withoutConst(context.resolve(s)));
  if (a === true || b === false) return b;
  if (b === true || a === false) return a;
  const { fail } = context;
  for (const [own, theirs] of [
    [a, b],
    [b, a],
  ])
    if (own["additionalProperties"] === false) {
      const declared = (own["properties"] ?? {}) as Properties;
      const lost = Object.keys((theirs["properties"] ?? {}) as Properties).find((n) => !Object.hasOwn(declared, n));
      if (lost !== undefined) fail(`"additionalProperties" of one schema refuses the property "${lost}" of another`);
    }
  const out: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    if (!Object.hasOwn(a, key) || same(a[key], value)) out[key] = value;
    else if (Object.hasOwn(merges, key)) {
      out[key] = merges[key](a[key], value);
      if (out[key] === undefined) return false;
    } else if (!annotations.has(key)) fail(`"${key}" of two schemas at once is not supported`);
  }
  return out;
}

function withoutConst(s: JsonSchema): JsonSchema {
  if (typeof s === "boolean" || !("const" in s)) return s;
  const { const: value, ...rest } = s;
  const values = "enum" in rest ? merges["enum"](rest["enum"], [value]) : [value];
  return values === undefined ? false : { ...rest, enum: values };
}
