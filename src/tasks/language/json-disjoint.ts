/** Whether what is written for one schema can't fit another: for `oneOf`, of which just one may fit. */
import { impliedTypes, type JsonSchema, type SchemaObject, typeNames } from "./json-keywords.ts";
import { equal, kindOf } from "./json-values.ts";

export interface Reading {
  /** Follows `$ref` and takes `allOf` together, with what stands beside them. */
  resolve(schema: JsonSchema): JsonSchema;
  /** What `anyOf` or `oneOf` is a choice of, each with what stands beside; undefined where there is no choice. */
  branches(schema: SchemaObject): readonly JsonSchema[] | undefined;
}

const deepest = 20;

/** Of two schemas that the compiler of grammars takes: told by types, values, and properties that are required or refused. */
export function areDisjoint(a: JsonSchema, b: JsonSchema, reader: Reading): boolean {
  return new Comparison(reader).excludes(a, b, 0) && new Comparison(reader).excludes(b, a, 0);
}

class Comparison {
  /** What is known of pairs; no of those that are being compared: they may contain themselves. */
  private readonly known = new Map<JsonSchema, Map<JsonSchema, boolean>>();

  constructor(private readonly reader: Reading) {}

  /** Whether no text that is written for `a` fits `b`. */
  excludes(a: JsonSchema, b: JsonSchema, depth: number): boolean {
    const results = this.known.get(a) ?? new Map<JsonSchema, boolean>();
    const known = results.get(b);
    if (known !== undefined || depth > deepest) return known ?? false;
    this.known.set(a, results.set(b, false));
    const result = this.compare(this.reader.resolve(a), this.reader.resolve(b), depth + 1);
    results.set(b, result);
    return result;
  }

  private compare(a: JsonSchema, b: JsonSchema, depth: number): boolean {
    if (a === false || b === false) return true;
    if (a === true || b === true) return false;
    const written = this.reader.branches(a);
    if (written) return written.every((s) => this.excludes(s, b, depth));
    const fitting = this.reader.branches(b);
    if (fitting) return fitting.every((s) => this.excludes(a, s, depth));
    const values = valuesOf(a);
    if (values) return values.every((v) => isExcluded(v, b));
    const allowed = kindsAllowed(b);
    const shared = kindsWritten(a).filter((k) => allowed.includes(k));
    if (shared.length === 0) return true;
    // Of the same type as some value of `b` it may be that one.
    if (valuesOf(b)) return false;
    return shared.length === 1 && shared[0] === "object" && this.excludesObject(a, b, depth);
  }

  private excludesObject(a: SchemaObject, b: SchemaObject, depth: number): boolean {
    const [own, theirs] = [a, b].map((s) => (s["properties"] ?? {}) as Record<string, JsonSchema>);
    const [needed, wanted] = [a, b].map((s) => (s["required"] ?? []) as string[]);
    // Where properties are declared, others are not written, unless there is something said of them.
    const { additionalProperties: more } = a;
    const declares =
      !("patternProperties" in a) && (more === false || (Object.keys(own).length > 0 && typeof more !== "object"));
    if (declares && wanted.some((name) => !Object.hasOwn(own, name))) return true;
    const closed = b["additionalProperties"] === false && !("patternProperties" in b);
    if (closed && needed.some((name) => !Object.hasOwn(theirs, name))) return true;
    const inBoth = needed.filter((name) => Object.hasOwn(own, name) && Object.hasOwn(theirs, name));
    return inBoth.some((name) => this.excludes(own[name], theirs[name], depth));
  }
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

function isExcluded(v: unknown, b: SchemaObject): boolean {
  const values = valuesOf(b);
  if (values) return !values.some((other) => equal(v, other));
  return !kindsAllowed(b).includes(kindOf(v));
}
