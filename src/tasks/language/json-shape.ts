/** What a schema has to be so that it can be read, and how it is refused. */
import { InputError } from "../../tensor/errors.ts";
import { annotations, bounds, byName, type JsonSchema, keywords, type SchemaObject, values } from "./json-keywords.ts";
import { tagOf } from "./json-values.ts";

/** Of items, of characters, of properties. */
export const mostItems = 1000;

/** Of a path in a message. */
const mostCharacters = 300;

/** @throws InputError always */
export function refuse(path: string, message: string): never {
  const place = path.length > mostCharacters ? `${path.slice(0, 50)}...${path.slice(-mostCharacters)}` : path;
  throw new InputError(`schema: ${place} ${message}`);
}

/** @throws InputError for what is no list */
export function listOf(v: unknown, path: string, mayBeEmpty = false): readonly unknown[] {
  if (!Array.isArray(v) || (v.length === 0 && !mayBeEmpty)) return refuse(path, "is not a list with something in it");
  return v;
}

/**
 * Schemas by name, as a keyword has them.
 * @throws InputError for what is no object
 */
export function schemasOf(schema: SchemaObject, keyword: string, path: string): [string, JsonSchema][] {
  const v = keyword in schema ? schema[keyword] : {};
  if (tagOf(v) !== "Object") refuse(path, `"${keyword}" is not an object of schemas by name`);
  return Object.entries(v as Record<string, JsonSchema>);
}

/** The same without keywords that are undefined, as JSON leaves them out; not `const`. What is one object stays one. */
export function withoutUndefined(root: JsonSchema): JsonSchema {
  const copies = new Map<unknown, object>();
  const waiting: { from: object; to: object; named: boolean }[] = [];
  const copied = (v: unknown, named: boolean): unknown => {
    const tag = tagOf(v);
    if (tag !== "Object" && tag !== "Array") return v;
    let to = copies.get(v);
    if (!to) {
      copies.set(v, (to = tag === "Array" ? [] : {}));
      waiting.push({ from: v as object, to, named });
    }
    return to;
  };
  const whole = copied(root, false) as JsonSchema;
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { from, to, named } = next;
    const hasKeywords = !named && !Array.isArray(from);
    for (const [key, v] of Object.entries(from)) {
      if (hasKeywords && v === undefined && key !== "const") continue;
      const value = hasKeywords && values.has(key) ? v : copied(v, hasKeywords && byName.has(key));
      // A property may be called "__proto__".
      Object.defineProperty(to, key, { value, enumerable: true });
    }
  }
  return whole;
}

/** A schema without some keywords; undefined where nothing is left that says something of values. */
export function without(schema: SchemaObject, ...keys: string[]): SchemaObject | undefined {
  const rest = Object.entries(schema).filter(([k]) => !keys.includes(k));
  return rest.some(([k]) => !annotations.has(k)) ? Object.fromEntries(rest) : undefined;
}

const counts = Object.values(keywords)
  .flat()
  .filter((k) => /^(?:min|max)[A-Z]/.test(k));

const isSchema = (v: unknown): boolean => typeof v === "boolean" || tagOf(v) === "Object";

/**
 * Whether the keywords have values of the kind that they take: those who read them need not ask again.
 * @throws InputError where one has not, and for what is no schema
 */
export function checkShape(schema: JsonSchema, path: string): void {
  if (!isSchema(schema)) refuse(path, "is no schema");
  if (typeof schema === "boolean") return;
  for (const key of ["enum", "anyOf", "oneOf", "allOf"]) if (key in schema) listOf(schema[key], `${path}/${key}`);
  for (const key of ["required", "prefixItems"]) if (key in schema) listOf(schema[key], `${path}/${key}`, true);
  if (((schema["required"] ?? []) as unknown[]).some((name) => typeof name !== "string"))
    refuse(path, '"required" takes names of properties');
  for (const key of ["properties", "patternProperties"]) if (key in schema) schemasOf(schema, key, path);
  // Before 2020 lists of the first items were called `items`.
  for (const key of ["additionalProperties", "propertyNames", "items"])
    if (key in schema && !isSchema(schema[key]) && !(key === "items" && Array.isArray(schema[key])))
      refuse(`${path}/${key}`, "is no schema");
  for (const key of bounds) if (key in schema && !Number.isFinite(schema[key])) refuse(path, `"${key}" takes a number`);
  for (const key of counts)
    if (key in schema && typeof schema[key] !== "number") refuse(path, `"${key}" takes 0 to ${mostItems}`);
  if ("uniqueItems" in schema && typeof schema["uniqueItems"] !== "boolean")
    refuse(path, '"uniqueItems" takes true or false');
  for (const key of ["pattern", "format"])
    if (key in schema && typeof schema[key] !== "string") refuse(path, `"${key}" takes a text`);
  if ("prefixItems" in schema && Array.isArray(schema["items"]))
    refuse(path, '"items" as a list beside "prefixItems" is not supported');
}
