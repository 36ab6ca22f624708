/** Whether what is written for one schema can't fit another: for `oneOf`, of which just one may fit. */
import { impliedTypes, type JsonSchema, type SchemaObject, typeNames } from "./json-keywords.ts";

/** Follows `$ref`. */
export type Resolve = (schema: JsonSchema) => JsonSchema;

const deepest = 20;

/** Of two schemas that the compiler of grammars takes: told by types, values, and properties that are required or refused. */
export const areDisjoint = (a: JsonSchema, b: JsonSchema, resolve: Resolve): boolean =>
  excludes(a, b, resolve, 0) && excludes(b, a, resolve, 0);

/** Whether no text that is written for `a` fits `b`. */
function excludes(given: JsonSchema, other: JsonSchema, resolve: Resolve, depth: number): boolean {
  const [a, b] = [resolve(given), resolve(other)];
  if (depth > deepest || a === true || b === true) return false;
  if (a === false || b === false) return true;
  const again = (x: JsonSchema, y: JsonSchema): boolean => excludes(x, y, resolve, depth + 1);
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    if (key in a) return (a[key] as JsonSchema[]).every((s) => again(s, b));
    if (key in b) return (b[key] as JsonSchema[])[key === "allOf" ? "some" : "every"]((s) => again(a, s));
  }
  const values = valuesOf(a);
  if (values) return values.every((v) => isExcluded(v, b));
  const allowed = kindsAllowed(b);
  const shared = kindsWritten(a).filter((k) => allowed.includes(k));
  if (shared.length === 0) return true;
  // Of the same type as some value of `b` it may be that one.
  if (valuesOf(b)) return false;
  return shared.length === 1 && shared[0] === "object" && excludesObject(a, b, again);
}

function excludesObject(a: SchemaObject, b: SchemaObject, again: (x: JsonSchema, y: JsonSchema) => boolean): boolean {
  const [own, theirs] = [a, b].map((s) => (s["properties"] ?? {}) as Record<string, JsonSchema>);
  const [needed, wanted] = [a, b].map((s) => (s["required"] ?? []) as string[]);
  // Where properties are declared, others are not written, unless there is something said of them.
  const { additionalProperties: more } = a;
  const declares =
    !("patternProperties" in a) && (more === false || (Object.keys(own).length > 0 && typeof more !== "object"));
  if (declares && wanted.some((name) => !Object.hasOwn(own, name))) return true;
  const closed = b["additionalProperties"] === false && !("patternProperties" in b);
  if (closed && needed.some((name) => !Object.hasOwn(theirs, name))) return true;
  return needed.some((name) => Object.hasOwn(theirs, name) && again(own[name], theirs[name]));
}

function valuesOf(s: SchemaObject): readonly unknown[] | undefined {
  return "const" in s ? [s["const"]] : "enum" in s ? (s["enum"] as unknown[]) : undefined;
}

/** Types of what is written for a schema; numbers are of one. */
const kindsWritten = (s: SchemaObject): string[] => kindsAllowed("type" in s ? s : { type: impliedTypes(s) });

/** Types of what fits: without `type` any, as keywords say nothing of the others. */
function kindsAllowed(s: SchemaObject): string[] {
  const values = valuesOf(s);
  if (values) return values.map(kindOf);
  const types = "type" in s ? [s["type"]].flat() : [];
  return (types.length > 0 ? types : typeNames).map((t) => (t === "integer" ? "number" : String(t)));
}

const kindOf = (v: unknown): string => (v === null ? "null" : Array.isArray(v) ? "array" : typeof v);

function isExcluded(v: unknown, b: SchemaObject): boolean {
  const values = valuesOf(b);
  // Of objects and lists just the kind is compared: names may come in another order.
  if (values) return !values.some((other) => (Object(v) === v ? kindOf(other) === kindOf(v) : other === v));
  return !kindsAllowed(b).includes(kindOf(v));
}
