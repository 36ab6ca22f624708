/**
 * JSON schemas (https://json-schema.org/draft/2020-12) as grammars: every text of the grammar is JSON that the schema allows.
 * Properties come in the order in which the schema names them. Keywords that a grammar can't keep are refused, not ignored.
 */
import { InputError } from "../../tensor/errors.ts";
import { bytesFrom, Grammar, type GrammarState, type GrammarSymbol, literal, type Sequence } from "./grammar.ts";
import { areDisjoint } from "./json-disjoint.ts";
import { formats } from "./json-formats.ts";
import { impliedTypes, type JsonSchema, keywords, type SchemaObject, typeNames } from "./json-keywords.ts";
import { patternRule } from "./json-pattern.ts";
import { decimals, integers, largest, mostDigits } from "./json-ranges.ts";

export type { JsonSchema } from "./json-keywords.ts";

/** Keywords that say nothing about values. */
const annotations = new Set(
  "title description default examples deprecated readOnly writeOnly $schema $id $comment $defs definitions".split(" "),
);
const mostItems = 1000;

/** @throws InputError for a schema with keywords that are not supported, or that no text fits */
export function schemaGrammar(schema: JsonSchema): { grammar: Grammar; start: GrammarState } {
  const compiler = new SchemaCompiler(schema);
  const root = compiler.value(schema, "#");
  const { grammar } = compiler;
  // Many vocabularies begin words with a space.
  return { grammar, start: grammar.start(grammar.rule([root], [...literal(" "), root])) };
}

class SchemaCompiler {
  readonly grammar = new Grammar();
  private readonly rules = new Map<JsonSchema, number>();
  private readonly shared = new Map<string, number>();

  constructor(private readonly root: JsonSchema) {}

  /** The rule of what a schema allows. Schemas may contain themselves by `$ref`. */
  value(schema: JsonSchema, path: string): number {
    const known = this.rules.get(schema);
    if (known !== undefined) return known;
    const rule = this.grammar.rule();
    this.rules.set(schema, rule);
    this.grammar.define(rule, ...this.alternatives(schema, path));
    return rule;
  }

  private alternatives(schema: JsonSchema, path: string): Sequence[] {
    if (schema === true) return typeNames.filter((t) => t !== "integer").map((t) => [this.plain(t)]);
    if (typeof schema !== "object" || schema === null || Array.isArray(schema))
      return refuse(path, schema === false ? "allows no value" : "is no schema");
    const used = Object.keys(schema).filter((k) => !annotations.has(k));
    const alone = (keyword: string): void => {
      const other = used.find((k) => k !== keyword && k !== "type");
      if (other !== undefined) refuse(path, `"${other}" beside "${keyword}" is not supported`);
    };
    if ("$ref" in schema) {
      alone("$ref");
      return [[this.reference(schema["$ref"], path)]];
    }
    if ("const" in schema || "enum" in schema) {
      const keyword = "const" in schema ? "const" : "enum";
      alone(keyword);
      const values = keyword === "const" ? [schema["const"]] : listOf(schema["enum"], `${path}/enum`);
      const fitting = values.filter((v) => isOfType(v, schema["type"]));
      if (fitting.length === 0) refuse(path, `has no value of type ${JSON.stringify(schema["type"])}`);
      return fitting.map((v) => literal(JSON.stringify(v)));
    }
    if ("allOf" in schema) {
      alone("allOf");
      const all = listOf(schema["allOf"], `${path}/allOf`);
      if (all.length > 1 || "type" in schema) refuse(path, '"allOf" is supported for one schema alone');
      return [[this.value(all[0] as JsonSchema, `${path}/allOf/0`)]];
    }
    for (const keyword of ["anyOf", "oneOf"]) {
      if (!(keyword in schema)) continue;
      alone(keyword);
      if ("type" in schema) refuse(path, `"type" beside "${keyword}" is not supported`);
      const branches = listOf(schema[keyword], `${path}/${keyword}`) as readonly JsonSchema[];
      const rules = branches.map((s, i) => [this.value(s, `${path}/${keyword}/${i}`)]);
      if (keyword === "oneOf") this.assertDisjoint(branches, path);
      return rules;
    }
    return this.typed(schema, used, path);
  }

  /** By `type`; where it is missing, by what the keywords are about. */
  private typed(schema: SchemaObject, used: readonly string[], path: string): Sequence[] {
    const implied = impliedTypes(schema);
    const types = "type" in schema ? [schema["type"]].flat() : implied.length > 0 ? implied : undefined;
    const known = [
      "type",
      ...(types ?? []).flatMap((t) => keywords[t as string] ?? refuse(path, `has no type "${String(t)}"`)),
    ];
    const other = used.find((k) => !known.includes(k));
    if (other !== undefined) refuse(path, `"${other}" is not supported`);
    if (!types) return this.alternatives(true, path);
    return types.map((type) => {
      if (type === "object") return this.object(schema, path);
      if (type === "array") return this.array(schema, path);
      if (type === "string") return this.string(schema, path);
      if (type === "number" || type === "integer") return this.ranged(type, schema, path);
      return [this.plain(type as string)];
    });
  }

  private object(schema: SchemaObject, path: string): Sequence {
    const properties = Object.entries((schema["properties"] as Record<string, JsonSchema> | undefined) ?? {});
    const required = "required" in schema ? listOf(schema["required"], `${path}/required`, true) : [];
    const undeclared = required.find((r) => !properties.some(([name]) => name === r));
    if (undeclared !== undefined) refuse(path, `requires "${String(undeclared)}", which is not among its properties`);
    const more = schema["additionalProperties"] as JsonSchema | undefined;
    if (properties.length === 0 && more !== false) return this.dictionary(more ?? true, path);
    if (typeof more === "object") refuse(path, `"additionalProperties" beside "properties" is not supported`);
    const members = properties.map(([name, s]) => {
      const value = this.value(s, `${path}/properties/${name}`);
      return { needed: required.includes(name), member: [...literal(`${JSON.stringify(name)}:`), this.space, value] };
    });
    // From the last property to the first: what may come from here on, when it is the first member and when it is not.
    let [first, later] = [this.grammar.rule([]), this.grammar.rule([])];
    for (const { needed, member } of members.reverse()) {
      const skipped = (rest: number): Sequence[] => (needed ? [] : [[rest]]);
      const firstRule = this.grammar.rule([this.space, ...member, later], ...skipped(first));
      const laterRule = this.grammar.rule([...literal(","), this.space, ...member, later], ...skipped(later));
      [first, later] = [firstRule, laterRule];
    }
    return [...literal("{"), first, this.space, ...literal("}")];
  }

  /** Members of any names. */
  private dictionary(value: JsonSchema, path: string): Sequence {
    const member = [
      this.plain("string"),
      ...literal(":"),
      this.space,
      this.value(value, `${path}/additionalProperties`),
    ];
    return this.list("{", member, "}", 0, Number.POSITIVE_INFINITY);
  }

  /** How many there may be, by the two keywords. */
  private counts(schema: SchemaObject, path: string, least: string, most: string): [min: number, max: number] {
    const count = (key: string, fallback: number): number => {
      const n = schema[key] ?? fallback;
      if (n !== fallback && !(Number.isInteger(n) && (n as number) >= 0 && (n as number) <= mostItems))
        refuse(path, `"${key}" takes 0 to ${mostItems}`);
      return n as number;
    };
    const [min, max] = [count(least, 0), count(most, Number.POSITIVE_INFINITY)];
    if (min > max) refuse(path, `"${least}" is more than "${most}"`);
    return [min, max];
  }

  /** One schema alone may fit: a grammar has no "but not that one". */
  private assertDisjoint(branches: readonly JsonSchema[], path: string): void {
    const resolve = (s: JsonSchema): JsonSchema =>
      typeof s === "object" && "$ref" in s ? resolve(this.pointed(s["$ref"], path)) : s;
    branches.forEach((a, i) => {
      const same = branches.findIndex((b, k) => k > i && !areDisjoint(a, b, resolve));
      if (same >= 0)
        refuse(
          path,
          `"oneOf": ${i} and ${same} may both fit: schemas are told apart by "type", "const" or "enum", of the whole or of ` +
            'a required property; or say "anyOf"',
        );
    });
  }

  private string(schema: SchemaObject, path: string): Sequence {
    const expression = ["pattern", "format"].find((k) => k in schema);
    if (expression !== undefined) {
      const other = keywords["string"].find((k) => k !== expression && k in schema);
      if (other !== undefined) refuse(path, `"${other}" beside "${expression}" is not supported`);
      const value = String(schema[expression]);
      const pattern = expression === "pattern" ? value : Object.hasOwn(formats, value) ? formats[value] : undefined;
      if (pattern === undefined)
        return refuse(path, `"format" knows ${Object.keys(formats).join(", ")}, not "${value}"`);
      const rule = patternRule(pattern, this.grammar, this.characters, (m) => refuse(path, `"${expression}" ${m}`));
      return [...literal('"'), rule, ...literal('"')];
    }
    const [min, max] = this.counts(schema, path, "minLength", "maxLength");
    if (min === 0 && max === Number.POSITIVE_INFINITY) return [this.plain("string")];
    const { character } = this;
    const rest = max === Number.POSITIVE_INFINITY ? this.characters : this.upTo(max - min, character);
    return [...literal('"'), ...new Array<number>(min).fill(character), rest, ...literal('"')];
  }

  private ranged(type: "number" | "integer", schema: SchemaObject, path: string): Sequence {
    if (!keywords[type].some((k) => k in schema)) return [this.plain(type)];
    const bound = (key: string, fallback: bigint, round: (n: number) => number, step: bigint): bigint => {
      const n = schema[key];
      if (n === undefined) return fallback;
      if (typeof n !== "number" || Math.abs(n) > Number.MAX_SAFE_INTEGER) refuse(path, `"${key}" takes a number`);
      if (type === "number" && !Number.isInteger(n)) refuse(path, `"${key}" of a number takes whole numbers only`);
      return BigInt(round(n as number)) + step;
    };
    const least = [
      bound("minimum", -largest, Math.ceil, 0n),
      bound("exclusiveMinimum", -largest, Math.floor, 1n),
    ].reduce((a, b) => (a > b ? a : b));
    const most = [bound("maximum", largest, Math.floor, 0n), bound("exclusiveMaximum", largest, Math.ceil, -1n)].reduce(
      (a, b) => (a < b ? a : b),
    );
    if (least > most) refuse(path, "allows no number");
    const { grammar } = this;
    const all = type === "integer" ? integers(grammar, least, most) : decimals(grammar, least, most, this.fraction);
    return [grammar.rule(...all)];
  }

  private array(schema: SchemaObject, path: string): Sequence {
    const [min, max] = this.counts(schema, path, "minItems", "maxItems");
    const item = this.value((schema["items"] as JsonSchema | undefined) ?? true, `${path}/items`);
    return this.list("[", [item], "]", min, max);
  }

  /** From `min` to `max` items with commas between them. */
  private list(open: string, item: Sequence, close: string, min: number, max: number): Sequence {
    const more = [...literal(","), this.space, ...item];
    let rest = this.grammar.rule([]);
    if (max === Number.POSITIVE_INFINITY) this.grammar.define(rest, [], [...more, rest]);
    // From the last item back: `n` are there already.
    for (let n = (max === Number.POSITIVE_INFINITY ? Math.max(min, 1) : max) - 1; n >= 1; n--)
      rest = this.grammar.rule([...more, rest], ...(n >= min ? [[]] : []));
    const some = [[this.space, ...item, rest]];
    const items = this.grammar.rule(...(max === 0 ? [] : some), ...(min === 0 ? [[]] : []));
    return [...literal(open), items, this.space, ...literal(close)];
  }

  private reference(ref: unknown, path: string): number {
    return this.value(this.pointed(ref, path), ref as string);
  }

  private pointed(ref: unknown, path: string): JsonSchema {
    if (typeof ref !== "string" || !ref.startsWith("#"))
      return refuse(path, `"$ref" has to point into the schema: "#/$defs/..."`);
    let at: unknown = this.root;
    for (const key of ref.split("/").slice(1)) {
      const name = decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~");
      at =
        typeof at === "object" && at !== null && Object.hasOwn(at, name)
          ? (at as Record<string, unknown>)[name]
          : undefined;
    }
    if (at === undefined) refuse(path, `"${ref}" is not there`);
    return at as JsonSchema;
  }

  /** None, one, or a new line with an indent: models that may write any amount of white space write nothing else. */
  private get space(): number {
    return this.once("space", () => {
      const indent = this.upTo(20, bytesFrom([32, 32], [9, 9]));
      return [[], literal(" "), [...literal("\n"), indent]];
    });
  }

  private plain(type: string): number {
    switch (type) {
      case "string":
        return this.once(type, () => [[...literal('"'), this.characters, ...literal('"')]]);
      case "integer":
        return this.once(type, () => this.integer());
      case "number":
        return this.once(type, () => this.number());
      case "boolean":
        return this.once(type, () => [literal("true"), literal("false")]);
      case "null":
        return this.once(type, () => [literal("null")]);
      case "object":
        return this.once(type, () => [this.dictionary(true, "#")]);
      default:
        return this.once(type, () => [this.array({}, "#")]);
    }
  }

  private get characters(): number {
    return this.once("characters", (rule) => [[], [this.character, rule]]);
  }

  /** Bytes of UTF-8 as the standard has them, and the escapes of JSON; what takes two escapes is written as it is. */
  private get character(): number {
    return this.once("character", () => {
      const tail = bytesFrom([0x80, 0xbf]);
      const hex = bytesFrom([48, 57], [65, 70], [97, 102]);
      const one: Sequence[] = [
        [bytesFrom([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7f])],
        [bytesFrom([0xc2, 0xdf]), tail],
        [bytesFrom([0xe0, 0xe0]), bytesFrom([0xa0, 0xbf]), tail],
        [bytesFrom([0xe1, 0xec], [0xee, 0xef]), tail, tail],
        [bytesFrom([0xed, 0xed]), bytesFrom([0x80, 0x9f]), tail],
        [bytesFrom([0xf0, 0xf0]), bytesFrom([0x90, 0xbf]), tail, tail],
        [bytesFrom([0xf1, 0xf3]), tail, tail, tail],
        [bytesFrom([0xf4, 0xf4]), bytesFrom([0x80, 0x8f]), tail, tail],
        [...literal("\\"), bytesFrom(...Array.from('"\\/bfnrt', (c) => [c.charCodeAt(0), c.charCodeAt(0)] as const))],
        [...literal("\\u"), bytesFrom([48, 57], [65, 67], [69, 70], [97, 99], [101, 102]), hex, hex, hex],
        [...literal("\\u"), bytesFrom([68, 68], [100, 100]), bytesFrom([48, 55]), hex, hex],
      ];
      return one;
    });
  }

  private integer(): Sequence[] {
    const sign = this.grammar.rule([], literal("-"));
    const more = this.upTo(mostDigits - 1, bytesFrom([48, 57]));
    return [
      [sign, ...literal("0")],
      [sign, bytesFrom([49, 57]), more],
    ];
  }

  /** A point, and digits behind it. */
  private get fraction(): number {
    const digit = bytesFrom([48, 57]);
    return this.once("fraction", () => [[...literal("."), digit, this.upTo(mostDigits - 1, digit)]]);
  }

  private number(): Sequence[] {
    const digit = bytesFrom([48, 57]);
    const fraction = this.grammar.rule([], [this.fraction]);
    const exponent = this.grammar.rule(
      [],
      [
        bytesFrom([69, 69], [101, 101]),
        this.grammar.rule([], [bytesFrom([43, 43], [45, 45])]),
        digit,
        this.upTo(1, digit),
      ],
    );
    return [[this.plain("integer"), fraction, exponent]];
  }

  /** At most `n` bytes of a set, or of what a rule gives. */
  private upTo(n: number, set: GrammarSymbol): number {
    let rule = this.grammar.rule([]);
    for (let i = 0; i < n; i++) rule = this.grammar.rule([], [set, rule]);
    return rule;
  }

  private once(name: string, alternatives: (rule: number) => Sequence[]): number {
    let rule = this.shared.get(name);
    if (rule === undefined) {
      rule = this.grammar.rule();
      this.shared.set(name, rule);
      this.grammar.define(rule, ...alternatives(rule));
    }
    return rule;
  }
}

/** @param type a name or several; undefined for any */
function isOfType(v: unknown, type: unknown): boolean {
  if (type === undefined) return true;
  const own = v === null ? "null" : Array.isArray(v) ? "array" : typeof v;
  return [type].flat().some((t) => t === own || (t === "integer" && Number.isInteger(v)));
}

function listOf(v: unknown, path: string, mayBeEmpty = false): readonly unknown[] {
  if (!Array.isArray(v) || (v.length === 0 && !mayBeEmpty)) return refuse(path, "is not a list with something in it");
  return v;
}

function refuse(path: string, message: string): never {
  throw new InputError(`schema: ${path} ${message}`);
}
