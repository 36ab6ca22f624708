/**
 * JSON schemas (https://json-schema.org/draft/2020-12) as grammars: every text of the grammar is JSON that the schema allows.
 * Properties come in the order in which the schema names them, and others behind them where the schema says what they are.
 * Keywords that a grammar can't keep are refused, not ignored. Those that it keeps are `keywords` of json-keywords.ts and
 *
 * - `$ref` into the schema, by a place or an `$anchor`, also to what it is part of; `allOf` (json-merge.ts), `anyOf`, `oneOf` of schemas that no value fits
 *   two of, each also beside other keywords; `enum`, `const`
 * - `uniqueItems` for values that can be listed; `patternProperties` whose patterns no name fits two of; `minProperties`
 *   above 1 for properties that are declared; `format` for those of json-formats.ts
 *
 * A schema that requires itself without end is refused, also where a text need not get there.
 */
import { Grammar, type GrammarState, literal, type Sequence } from "./grammar.ts";
import { commonText } from "./grammar-overlap.ts";
import { sortedTexts, textChoice } from "./grammar-texts.ts";
import { areDisjoint } from "./json-disjoint.ts";
import { formats } from "./json-formats.ts";
import { annotations, impliedTypes, type JsonSchema, keywords, type SchemaObject, typeNames } from "./json-keywords.ts";
import { differentRule, membersRule, otherNames } from "./json-members.ts";
import { type NumberBounds, numberRule } from "./json-numbers.ts";
import { expressionOf, patternRule } from "./json-pattern.ts";
import { PlainJson } from "./json-plain.ts";
import { SchemaReader } from "./json-reader.ts";
import { checkShape, listOf, mostItems, refuse, schemasOf, withoutUndefined } from "./json-shape.ts";
import { equal, isOfType, textOf } from "./json-values.ts";

export type { JsonSchema } from "./json-keywords.ts";

/** Choices of choices, and references to references: a grammar opens all of them before there is a byte. */
const mostOpen = 1000;

/** @throws InputError for a schema with keywords that are not supported, or that no text fits */
export function schemaGrammar(schema: JsonSchema): { grammar: Grammar; start: GrammarState } {
  const compiler = new SchemaCompiler(schema);
  const root = compiler.compile();
  const { grammar } = compiler;
  // Many vocabularies begin words with a space.
  return { grammar, start: grammar.start(grammar.rule([root], [...literal(" "), root])) };
}

/** A rule whose schema is still to be read. */
interface Unread {
  readonly rule: number;
  readonly schema: JsonSchema;
  readonly path: string;
  /** How many schemas are being taken together there. */
  readonly depth: number;
  /** How many rules of the same text it is the content of. */
  readonly open: number;
}

interface NamePattern {
  readonly pattern: string;
  readonly value: JsonSchema;
  readonly rule: number;
}

class SchemaCompiler {
  readonly grammar = new Grammar();
  private readonly rules = new Map<JsonSchema, number>();
  private readonly paths = new Map<number, string>();
  private readonly json = new PlainJson(this.grammar);
  private readonly root: JsonSchema;
  private readonly reader: SchemaReader;
  private found: Unread[] = [];
  /** Of the schema that is read. */
  private open = 0;

  constructor(schema: JsonSchema) {
    this.root = withoutUndefined(schema);
    this.reader = new SchemaReader(this.root);
  }

  /** The rule of the whole schema. Reads one schema after the other, not one in the other: they may be deep. */
  compile(): number {
    const root = this.value(this.root, "#");
    const unread: Unread[] = [];
    for (;;) {
      // The first ones come first, and what is in them before the next.
      for (let last = this.found.pop(); last; last = this.found.pop()) unread.push(last);
      const next = unread.pop();
      if (!next) break;
      const { rule, schema, path } = next;
      this.reader.depth = next.depth;
      this.open = next.open;
      this.grammar.define(rule, ...this.alternatives(schema, path));
    }
    this.checkEnds();
    return root;
  }

  /** The rule of what a schema allows. Schemas may contain themselves by `$ref`. */
  private value(schema: JsonSchema, path: string, open = 0): number {
    const known = this.rules.get(schema);
    if (known !== undefined) return known;
    if (open > mostOpen) refuse(path, `is in more than ${mostOpen} choices and references inside of one another`);
    const rule = this.grammar.rule();
    this.rules.set(schema, rule);
    this.paths.set(rule, path);
    this.found.push({ rule, schema, path, depth: this.reader.depth, open });
    return rule;
  }

  /** Refuses what a text could begin with and never end. */
  private checkEnds(): void {
    const endless = this.grammar.endless();
    let rule = [...this.paths.keys()].find((r) => endless.has(r));
    const chain: number[] = [];
    while (rule !== undefined && !chain.includes(rule)) {
      chain.push(rule);
      rule = endless.get(rule);
    }
    if (chain.length === 0) return;
    const named = (rules: readonly number[]): string[] => rules.flatMap((r) => this.paths.get(r) ?? []);
    if (rule === undefined) refuse(named(chain).at(-1)!, "allows no value");
    const [first, ...others] = [...new Set(named(chain.slice(chain.indexOf(rule!))))];
    refuse(first, `requires itself without end: no text fits ${[first, ...others, first].join(", which requires ")}`);
  }

  private alternatives(schema: JsonSchema, path: string): Sequence[] {
    if (schema === true) return typeNames.filter((t) => t !== "integer").map((t) => [this.plain(t)]);
    if (schema === false) return refuse(path, "allows no value");
    checkShape(schema, path);
    const used = Object.keys(schema).filter((k) => !annotations.has(k));
    const alone = (keyword: string): void => {
      const other = used.find((k) => k !== keyword && k !== "type");
      if (other !== undefined) refuse(path, `"${other}" beside "${keyword}" is not supported`);
    };
    if ("$ref" in schema || "allOf" in schema) {
      const parts = this.reader.parts(schema, path);
      // By itself, a schema may contain itself.
      if (parts.length === 1)
        return [[this.value(parts[0], "$ref" in schema ? String(schema["$ref"]) : `${path}/allOf/0`, this.open + 1)]];
      return this.reader.deeper(path, () => this.alternatives(this.reader.together(schema, path), path));
    }
    if ("const" in schema || "enum" in schema) {
      const keyword = "const" in schema ? "const" : "enum";
      alone(keyword);
      const values = keyword === "const" ? [schema["const"]] : (schema["enum"] as readonly unknown[]);
      const texts = values.map((v) => textOf(v, (m) => refuse(path, m)));
      const fitting = texts.filter((_, i) => isOfType(values[i], schema["type"]));
      if (fitting.length === 0) refuse(path, `has no value of type ${[schema["type"]].flat().map((t) => `"${t}"`)}`);
      return textChoice(this.grammar, sortedTexts(fitting));
    }
    const choice = this.reader.choice(schema, path);
    if (!choice) return this.typed(schema, used, path);
    const { keyword, branches, isMerged } = choice;
    if (keyword === "oneOf") this.assertDisjoint(branches, path);
    const possible = isMerged ? branches.filter((s) => s !== false) : branches;
    if (possible.length === 0) refuse(path, "allows no value");
    return possible.map((s) => [this.value(s, `${path}/${keyword}/${branches.indexOf(s)}`, this.open + 1)]);
  }

  /** By `type`; where it is missing, by what the keywords are about. */
  private typed(schema: SchemaObject, used: readonly string[], path: string): Sequence[] {
    const implied = impliedTypes(schema);
    const types = "type" in schema ? [schema["type"]].flat() : implied.length > 0 ? implied : undefined;
    const known = [
      "type",
      ...(types ?? []).flatMap((t) =>
        typeNames.includes(t as string) ? keywords[t as string] : refuse(path, `has no type "${String(t)}"`),
      ),
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
    const properties = schemasOf(schema, "properties", path);
    const names = properties.map(([name]) => name);
    const required = [...new Set((schema["required"] ?? []) as readonly string[])];
    const undeclared = required.find((r) => !names.includes(r));
    if (undeclared !== undefined) refuse(path, `requires "${undeclared}", which is not among its properties`);
    const [min, max] = this.counts(schema, path, "minProperties", "maxProperties");
    const other = this.otherMember(schema, names, path);
    // Names that are not declared may come twice, and are one property then.
    if (other && min > Math.max(1, required.length))
      refuse(path, `"minProperties" of more than ${Math.max(1, required.length)} takes properties that are declared`);
    if (max < required.length || (!other && min > names.length)) refuse(path, "allows no object");
    const declared = properties.map(([name, s]) => {
      const value = this.value(s, `${path}/properties/${name}`);
      return {
        needed: required.includes(name),
        member: [...literal(`${JSON.stringify(name)}:`), this.json.space, value],
      };
    });
    const members = membersRule(this.grammar, this.json.space, { declared, other, min, max });
    return [...literal("{"), members, this.json.space, ...literal("}")];
  }

  /** A member whose name is not declared, where some are written: none beside properties, unless it is said what they are. */
  private otherMember(schema: SchemaObject, declared: readonly string[], path: string): Sequence | undefined {
    const { additionalProperties: more, propertyNames } = schema;
    const patterns = schemasOf(schema, "patternProperties", path);
    const member = (name: Sequence, value: JsonSchema, key: string): Sequence => [
      ...name,
      ...literal(":"),
      this.json.space,
      this.value(value, `${path}/${key}`),
    ];
    const quoted = (rule: number): Sequence => [...literal('"'), rule, ...literal('"')];
    if (propertyNames !== undefined && (declared.length > 0 || patterns.length > 0))
      refuse(path, '"propertyNames" beside properties is not supported');
    if (patterns.length > 0) {
      if (typeof more === "object") refuse(path, '"additionalProperties" beside "patternProperties" is not supported');
      const members = patterns.map(([pattern, value]) => {
        const rule = patternRule(pattern, this.grammar, this.json.characters, (m) =>
          refuse(path, `"patternProperties" ${m}`),
        );
        const expression = expressionOf(pattern, (m) => refuse(path, `"patternProperties" ${m}`));
        const both = declared.find((name) => expression.test(name));
        if (both !== undefined) refuse(path, `"patternProperties": the property "${both}" fits a pattern`);
        return { pattern, value, rule };
      });
      members.forEach((a, i) => {
        for (const b of members.slice(0, i)) this.checkApart(a, b, path);
      });
      const made = members.map((m) => member(quoted(m.rule), m.value, `patternProperties/${m.pattern}`));
      return made.length === 1 ? made[0] : [this.grammar.rule(...made)];
    }
    if (more === false || (declared.length > 0 && typeof more !== "object")) return undefined;
    const value = (more as JsonSchema | undefined) ?? true;
    if (declared.some((name) => name.length > mostItems))
      refuse(path, `"additionalProperties" beside a property whose name has more than ${mostItems} characters`);
    if (declared.length > 0)
      return member(quoted(otherNames(this.grammar, declared, this.json.characters)), value, "additionalProperties");
    const names = propertyNames as JsonSchema | undefined;
    const name =
      names === undefined
        ? this.plain("string")
        : this.value(this.reader.merge({ type: "string" }, names, path), `${path}/propertyNames`);
    return member([name], value, "additionalProperties");
  }

  /** A name that fits two patterns would have to keep both of their schemas. */
  private checkApart(a: NamePattern, b: NamePattern, path: string): void {
    if (equal(a.value, b.value)) return;
    const both = commonText(this.grammar, a.rule, b.rule);
    if (both === undefined) return;
    const name = both === null ? "a name may fit" : `the name "${both}" fits`;
    refuse(
      path,
      `"patternProperties": ${name} both "${b.pattern}" and "${a.pattern}". Give them the same schema, or patterns that no ` +
        'name fits two of, as "^a" and "^b"',
    );
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
    const reader = {
      resolve: (s: JsonSchema) => this.reader.together(s, path),
      branches: (s: SchemaObject) => this.reader.choice(s, path)?.branches,
    };
    branches.forEach((a, i) => {
      const same = branches.findIndex((b, k) => k > i && !areDisjoint(a, b, reader));
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
      const rule = patternRule(pattern, this.grammar, this.json.characters, (m) =>
        refuse(path, `"${expression}" ${m}`),
      );
      return [...literal('"'), rule, ...literal('"')];
    }
    const [min, max] = this.counts(schema, path, "minLength", "maxLength");
    if (min === 0 && max === Number.POSITIVE_INFINITY) return [this.plain("string")];
    const { character } = this.json;
    const rest = max === Number.POSITIVE_INFINITY ? this.json.characters : this.json.upTo(max - min, character);
    return [...literal('"'), ...new Array<number>(min).fill(character), rest, ...literal('"')];
  }

  private ranged(type: "number" | "integer", schema: SchemaObject, path: string): Sequence {
    const given = keywords[type].filter((k) => k in schema);
    if (given.length === 0) return [this.plain(type)];
    for (const key of given) if (!Number.isFinite(schema[key])) refuse(path, `"${key}" takes a number`);
    const { multipleOf } = schema as NumberBounds;
    if (multipleOf !== undefined && multipleOf <= 0) refuse(path, `"multipleOf" takes a number above 0`);
    return [numberRule(this.grammar, type, schema, (m) => refuse(path, m))];
  }

  private array(schema: SchemaObject, path: string): Sequence {
    const { items, uniqueItems } = schema;
    const { grammar } = this;
    const [least, max] = this.counts(schema, path, "minItems", "maxItems");
    // Before 2020 lists of the first items were called `items`.
    const key = Array.isArray(items) ? "items" : "prefixItems";
    const front = (key in schema ? listOf(schema[key], `${path}/${key}`, true) : []) as readonly JsonSchema[];
    const first = front.slice(0, max).map((s, i) => [this.value(s, `${path}/${key}/${i}`)]);
    // All of the first ones are written, and others where it is said what they are.
    const min = Math.max(least, first.length);
    const others = Array.isArray(items) ? undefined : (items as JsonSchema | undefined);
    const rest = others ?? (first.length === 0 || min > first.length);
    if (rest === false && min > first.length) refuse(path, "allows no list");
    const wrapped = (rule: number): Sequence => [...literal("["), rule, this.json.space, ...literal("]")];
    if (uniqueItems === true && max > 1) {
      const values = first.length === 0 ? [...new Set(this.reader.literals(rest, path))] : [];
      if (values.length === 0)
        refuse(path, '"uniqueItems" takes items of "enum", "const", "boolean" or "null" that are no lists or objects');
      if (values.length < min) refuse(path, "allows no list");
      // Read as well, so that what it can't keep is refused.
      this.value(rest, `${path}/items`);
      return wrapped(differentRule(grammar, this.json.space, values, { min, max }));
    }
    const other = rest === false ? undefined : [this.value(rest, `${path}/items`)];
    const declared = first.map((member) => ({ needed: true, member }));
    return wrapped(membersRule(grammar, this.json.space, { declared, other, min, max }));
  }

  private plain(type: string): number {
    switch (type) {
      case "string":
        return this.json.once(type, () => [[...literal('"'), this.json.characters, ...literal('"')]]);
      case "integer":
        return this.json.once(type, () => this.json.integer());
      case "number":
        return this.json.once(type, () => this.json.number());
      case "boolean":
        return this.json.once(type, () => [literal("true"), literal("false")]);
      case "null":
        return this.json.once(type, () => [literal("null")]);
      case "object":
        return this.json.once(type, () => [this.object({}, "#")]);
      default:
        return this.json.once(type, () => [this.array({}, "#")]);
    }
  }
}
