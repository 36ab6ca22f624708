/** Schemas without what they refer to or are made of: `$ref`, `allOf` and choices, with the keywords beside them. */
import type { JsonSchema, SchemaObject } from "./json-keywords.ts";
import { merged } from "./json-merge.ts";
import { References } from "./json-references.ts";
import { checkShape, refuse, without } from "./json-shape.ts";
import { isOfType, textOf } from "./json-values.ts";

/** Schemas taken together inside of one another. */
const deepest = 100;

export interface Choice {
  readonly keyword: string;
  readonly branches: readonly JsonSchema[];
  readonly isMerged: boolean;
}

/** Its methods throw InputError for what is not supported. Schemas that were read before are the same objects again. */
export class SchemaReader {
  /** How many schemas are being taken together. */
  depth = 0;
  private readonly references: References;
  private readonly resolved = new Map<JsonSchema, JsonSchema>();
  private readonly choices = new Map<JsonSchema, Choice | undefined>();

  constructor(root: JsonSchema) {
    this.references = new References(root);
  }

  /** Of what `anyOf` or `oneOf` give the choice, each with the keywords beside them; undefined where there is none. */
  choice(schema: SchemaObject, path: string): Choice | undefined {
    if (this.choices.has(schema)) return this.choices.get(schema);
    const keyword = ["anyOf", "oneOf"].find((k) => k in schema);
    let choice: Choice | undefined;
    if (keyword !== undefined) {
      const given = schema[keyword] as readonly JsonSchema[];
      const rest = without(schema, keyword);
      const branches = rest ? given.map((s) => this.merge(s, rest, path)) : given;
      choice = { keyword, branches, isMerged: rest !== undefined };
    }
    this.choices.set(schema, choice);
    return choice;
  }

  /** What a schema is made of: what it refers to, `allOf`, and its other keywords. */
  parts(schema: SchemaObject, path: string): readonly JsonSchema[] {
    const fail = (m: string): never => refuse(path, m);
    const pointed = "$ref" in schema ? [this.references.target(schema, fail)] : [];
    const rest = without(schema, "$ref", "allOf");
    return [...pointed, ...((schema["allOf"] ?? []) as readonly JsonSchema[]), ...(rest ? [rest] : [])];
  }

  /** The same without `$ref` and `allOf`. */
  together(schema: JsonSchema, path: string): JsonSchema {
    const known = this.resolved.get(schema);
    if (known !== undefined) return known;
    checkShape(schema, path);
    const isWhole = typeof schema === "boolean" || !("$ref" in schema || "allOf" in schema);
    const result = isWhole ? schema : this.parts(schema, path).reduce((a, b) => this.merge(a, b, path), true);
    this.resolved.set(schema, result);
    return result;
  }

  merge(a: JsonSchema, b: JsonSchema, path: string): JsonSchema {
    const context = { resolve: (s: JsonSchema) => this.together(s, path), fail: (m: string) => refuse(path, m) };
    return this.deeper(path, () => merged(a, b, context));
  }

  deeper<T>(path: string, work: () => T): T {
    if (this.depth >= deepest)
      refuse(
        path,
        `refers to itself without end, or takes more than ${deepest} schemas together inside of one another`,
      );
    this.depth++;
    const result = work();
    this.depth--;
    return result;
  }

  /** All values of a schema as they are written; none where they are too many to say, or have parts. */
  literals(given: JsonSchema, path: string): string[] {
    const schema = this.together(given, path);
    if (typeof schema === "boolean") return [];
    const choice = this.choice(schema, path);
    if (choice) {
      const possible = choice.branches.filter((s) => s !== false);
      const lists = this.deeper(path, () => possible.map((s) => this.literals(s, path)));
      return lists.some((l) => l.length === 0) ? [] : lists.flat();
    }
    const values =
      "const" in schema
        ? [schema["const"]]
        : ((schema["enum"] as readonly unknown[]) ??
          ({ boolean: [true, false], null: [null] } as Record<string, unknown[]>)[String(schema["type"])]);
    const fitting = values?.filter((v) => isOfType(v, schema["type"])) ?? [];
    return fitting.some((v) => Object(v) === v) ? [] : fitting.map((v) => textOf(v, (m) => refuse(path, m)));
  }
}
