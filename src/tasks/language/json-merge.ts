/** Two schemas as one that allows what both do: for `allOf`, and for keywords beside `anyOf` and `$ref`. */
import { annotations, type JsonSchema, type SchemaObject } from "./json-keywords.ts";
import { expressionOf } from "./json-pattern.ts";
import { equal } from "./json-values.ts";

export interface MergeContext {
  /** Follows `$ref` and takes `allOf` together. */
  resolve(schema: JsonSchema): JsonSchema;
  /** Throws, with what is not supported. */
  fail(message: string): never;
}

type Properties = Readonly<Record<string, JsonSchema>>;
const largest = (a: unknown, b: unknown): unknown => Math.max(a as number, b as number);
const least = (a: unknown, b: unknown): unknown => Math.min(a as number, b as number);

/** What both allow; undefined: neither says anything. */
function both(a: JsonSchema | undefined, b: JsonSchema | undefined): JsonSchema | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  if (a === false || b === false) return false;
  if (a === true) return b;
  return b === true || equal(a, b) ? a : { allOf: [a, b] };
}

/** Keywords that two schemas may both have, and what they are then: undefined where nothing fits both. */
const merges: Readonly<Record<string, (a: unknown, b: unknown) => unknown>> = {
  required: (a, b) => [...new Set([a, b].flat())],
  propertyNames: (a, b) => both(a as JsonSchema, b as JsonSchema),
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
    const shared = (a as unknown[]).filter((v) => (b as unknown[]).some((other) => equal(v, other)));
    return shared.length > 0 ? shared : undefined;
  },
};

/** Keywords that are about what others of the same schema leave: they are merged together. */
const together = new Set(["items", "prefixItems", "properties", "patternProperties", "additionalProperties"]);

/** `false` where no value fits both. */
export function merged(first: JsonSchema, second: JsonSchema, context: MergeContext): JsonSchema {
  const [a, b] = [first, second].map((s) => withoutConst(context.resolve(s)));
  if (a === true || b === false) return b;
  if (b === true || a === false) return a;
  const { fail } = context;
  const out = new Map<string, unknown>();
  for (const [key, value] of [a, b].flatMap((s) => Object.entries(s))) {
    if (together.has(key)) continue;
    const known = out.get(key);
    if (!out.has(key) || equal(known, value)) out.set(key, value);
    else if (Object.hasOwn(merges, key)) {
      const shared = merges[key](known, value);
      if (shared === undefined) return false;
      out.set(key, shared);
    } else if (!annotations.has(key)) fail(`"${key}" of two schemas at once is not supported`);
  }
  return { ...Object.fromEntries(out), ...mergedItems(a, b), ...mergedMembers(a, b, fail) };
}

function withoutConst(s: JsonSchema): JsonSchema {
  if (typeof s === "boolean" || !("const" in s)) return s;
  const { const: value, ...rest } = s;
  const values = "enum" in rest ? merges["enum"](rest["enum"], [value]) : [value];
  return values === undefined ? false : { ...rest, enum: values };
}

/** `items` is about those behind the first ones of the same schema, whatever the other schema calls first. */
function mergedItems(a: SchemaObject, b: SchemaObject): SchemaObject {
  const sides = [a, b].map(({ items, prefixItems = [] }) =>
    // Before 2020 lists of the first items were called `items`.
    Array.isArray(items) ? { first: items as JsonSchema[] } : { first: prefixItems as JsonSchema[], rest: items },
  ) as { first: readonly JsonSchema[]; rest?: JsonSchema }[];
  const [own, theirs] = sides;
  const length = Math.max(own.first.length, theirs.first.length);
  const of = (side: typeof own, i: number): JsonSchema | undefined =>
    i < side.first.length ? side.first[i] : side.rest;
  const first = Array.from({ length }, (_, i) => both(of(own, i), of(theirs, i)));
  const end = first.indexOf(false);
  // Lists end before an item that can't be.
  if (end >= 0) return { prefixItems: first.slice(0, end), items: false };
  return present({ prefixItems: length > 0 ? first : undefined, items: both(own.rest, theirs.rest) });
}

interface Side {
  readonly properties: Properties;
  readonly patterns: Properties;
  /** `additionalProperties`: of names that are in neither. */
  readonly more: JsonSchema | undefined;
}

/** `additionalProperties` is about names that its own schema does not declare, whatever the other schema declares. */
function mergedMembers(a: SchemaObject, b: SchemaObject, fail: (message: string) => never): SchemaObject {
  const sides = [a, b].map((s): Side => {
    const { properties = {}, patternProperties = {}, additionalProperties: more } = s as Record<string, never>;
    return { properties, patterns: patternProperties, more };
  });
  const merge = (key: "properties" | "patterns", of: (side: Side, name: string) => JsonSchema | undefined) => {
    const names = [...new Set(sides.flatMap((s) => Object.keys(s[key])))];
    return Object.fromEntries(names.map((name) => [name, both(of(sides[0], name), of(sides[1], name)) ?? true]));
  };
  const properties = merge("properties", ({ properties, patterns, more }, name) => {
    if (Object.hasOwn(properties, name)) return properties[name];
    // What a pattern says is kept with the pattern.
    if (Object.keys(patterns).some((p) => expressionOf(p, (m) => fail(`"patternProperties" ${m}`)).test(name)))
      return undefined;
    if (more === false) fail(`"additionalProperties" of one schema refuses the property "${name}" of another`);
    return more;
  });
  const patterns = merge("patterns", ({ patterns, more }, pattern) => {
    if (Object.hasOwn(patterns, pattern)) return patterns[pattern];
    if (more === false) fail(`"additionalProperties" of one schema refuses the pattern "${pattern}" of another`);
    return more;
  });
  const has = (key: string): boolean => key in a || key in b;
  return present({
    properties: has("properties") ? properties : undefined,
    patternProperties: has("patternProperties") ? patterns : undefined,
    additionalProperties: both(sides[0].more, sides[1].more),
  });
}

const present = (schema: SchemaObject): SchemaObject =>
  Object.fromEntries(Object.entries(schema).filter(([, v]) => v !== undefined));
