/** What tests of schemas check by: a validator of its own, and texts that a grammar takes or writes. */
import { isIPv4, isIPv6 } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { type Grammar, type GrammarState, mayEnd, mustEnd } from "../../src/tasks/language/grammar.ts";
import { type JsonSchema, schemaGrammar } from "../../src/tasks/language/json-schema.ts";

const after = (grammar: Grammar, start: GrammarState, text: string): GrammarState =>
  new TextEncoder().encode(text).reduce((state, byte) => grammar.next(state, byte), start);

export function accepting(schema: JsonSchema): (text: string) => boolean {
  const { grammar, start } = schemaGrammar(schema);
  return (text) => mayEnd(after(grammar, start, text));
}

export const accepts = (schema: JsonSchema, text: string): boolean => accepting(schema)(text);

const bytes = Array.from({ length: 256 }, (_, b) => b);

/**
 * What a walk through the grammar writes; undefined where it has no end yet.
 * @param choose a number from 0, for each byte
 * @throws Error where nothing may come and the text may not end
 */
export function written(schema: JsonSchema, choose: () => number, liked = '"]}'): string | undefined {
  const { grammar, start } = schemaGrammar(schema);
  let state = start;
  const text: number[] = [];
  while (!mustEnd(state) && text.length < 400) {
    const stacks = [...state];
    const possible = bytes.filter((b) => stacks.some((s) => s && (s.sequence[s.at] as Uint8Array)[b]));
    const n = choose();
    if (mayEnd(state) && n % 2 === 0) break;
    if (possible.length === 0) throw new Error(`a dead end behind ${new TextDecoder().decode(Uint8Array.from(text))}`);
    // Some are preferred, so that texts come to an end.
    const preferred = possible.filter((b) => liked.includes(String.fromCharCode(b)));
    const pool = preferred.length > 0 && n % 3 > 0 ? preferred : possible;
    text.push(pool[n % pool.length]);
    state = grammar.next(state, text[text.length - 1]);
  }
  return mayEnd(state) ? new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(text)) : undefined;
}

function pointed(ref: string, root: JsonSchema): JsonSchema {
  const keys = ref.split("/").slice(1);
  return keys.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], root) as JsonSchema;
}

/** By other means than expressions where there are any. */
function isOfFormat(format: string, v: string): boolean {
  const isDay = (day: string): boolean => {
    const date = new Date(`${day}T00:00:00Z`);
    return /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day);
  };
  const isTime = (t: string): boolean =>
    /^\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(t) && !Number.isNaN(Date.parse(`2000-01-01T${t}`));
  if (format === "date") return isDay(v);
  if (format === "time") return isTime(v);
  if (format === "date-time") return v[10] === "T" && isDay(v.slice(0, 10)) && isTime(v.slice(11));
  if (format === "ipv4") return isIPv4(v);
  if (format === "ipv6") return isIPv6(v);
  if (format === "hostname") return v.length < 254 && v.split(".").every((l) => /^(?!-)[a-z\d-]{1,63}(?<!-)$/i.test(l));
  if (format === "uri") return URL.canParse(v);
  if (format === "duration") return /^P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?!$)(\d+H)?(\d+M)?(\d+S)?)?$/.test(v);
  if (format === "email") return /^[^@\s"]+@[^@\s.]+(\.[^@\s.]+)+$/.test(v) && !v.includes("..");
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(v);
}

/** Whether n is a multiple, by the digits of both. */
function isMultiple(n: number, of: number): boolean {
  if (/e/.test(`${n}${of}`)) return Number.isInteger(n / of);
  const behind = (v: number): number => String(v).split(".")[1]?.length ?? 0;
  const digits = Math.max(behind(n), behind(of));
  const [a, b] = [n, of].map((v) => BigInt(String(v).replace(".", "") + "0".repeat(digits - behind(v))));
  return a % b === 0n;
}

/** Whether a value fits a schema, by the definitions of the keywords. @param root where `$ref` points into */
export function fits(schema: JsonSchema, v: unknown, root = schema): boolean {
  if (typeof schema === "boolean") return schema;
  if ("$ref" in schema && !fits(pointed(String(schema["$ref"]), root), v, root)) return false;
  const all = (key: string): JsonSchema[] => (schema[key] ?? []) as JsonSchema[];
  if ("const" in schema && !isDeepStrictEqual(v, schema["const"])) return false;
  if ("enum" in schema && !all("enum").some((e) => isDeepStrictEqual(e, v))) return false;
  if ("anyOf" in schema && !all("anyOf").some((s) => fits(s, v, root))) return false;
  if ("oneOf" in schema && all("oneOf").filter((s) => fits(s, v, root)).length !== 1) return false;
  if (!all("allOf").every((s) => fits(s, v, root))) return false;
  const kind = v === null ? "null" : Array.isArray(v) ? "array" : typeof v;
  const types = schema["type"] === undefined ? undefined : [schema["type"]].flat();
  if (types && !types.some((t) => t === kind || (t === "integer" && Number.isInteger(v)))) return false;
  if (kind === "number") {
    const { minimum = -Infinity, maximum = Infinity, multipleOf } = schema as Record<string, never>;
    const { exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = schema as Record<string, never>;
    const n = v as number;
    if (multipleOf !== undefined && !isMultiple(n, multipleOf)) return false;
    return n >= minimum && n <= maximum && n > exclusiveMinimum && n < exclusiveMaximum;
  }
  if (kind === "string") {
    const { minLength = 0, maxLength = Infinity } = schema as Record<string, never>;
    const { length } = Array.from(v as string);
    const { pattern, format } = schema as Record<string, string>;
    if (pattern !== undefined && !new RegExp(pattern, "u").test(v as string)) return false;
    if (format !== undefined && !isOfFormat(format, v as string)) return false;
    return length >= minLength && length <= maxLength;
  }
  if (kind === "array") {
    const list = v as unknown[];
    const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, items = true } = schema as Record<string, never>;
    const first = all("prefixItems");
    if (schema["uniqueItems"] && new Set(list.map((i) => JSON.stringify(i))).size < list.length) return false;
    if (!list.every((item, i) => fits(first[i] ?? items, item, root))) return false;
    return list.length >= minItems && list.length <= maxItems;
  }
  if (kind === "object") {
    const object = v as Record<string, unknown>;
    const properties = (schema["properties"] ?? {}) as Record<string, JsonSchema>;
    const patterns = Object.entries((schema["patternProperties"] ?? {}) as Record<string, JsonSchema>);
    const { minProperties = 0, maxProperties = Infinity, propertyNames = true } = schema as Record<string, never>;
    const { additionalProperties = true } = schema as Record<string, never>;
    const required = (schema["required"] ?? []) as string[];
    const names = Object.keys(object);
    if (names.length < minProperties || names.length > maxProperties) return false;
    if (!names.every((name) => fits(propertyNames, name, root))) return false;
    if (!required.every((r) => Object.hasOwn(object, r))) return false;
    return names.every((name) => {
      const schemas = patterns.filter(([p]) => new RegExp(p, "u").test(name)).map(([, s]) => s);
      if (Object.hasOwn(properties, name)) schemas.push(properties[name]);
      return (schemas.length > 0 ? schemas : [additionalProperties]).every((s) => fits(s, object[name], root));
    });
  }
  return true;
}
