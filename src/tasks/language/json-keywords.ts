/** What the grammars of JSON schemas know. */

/** `true` and `{}` allow any value. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };
export type SchemaObject = Exclude<JsonSchema, boolean>;

/** Keywords that say nothing about values. */
export const annotations: ReadonlySet<string> = new Set(
  "title description default examples deprecated readOnly writeOnly $schema $id $anchor $comment $defs definitions".split(
    " ",
  ),
);

/** Keywords of values, in which nothing is a schema. */
export const values: ReadonlySet<string> = new Set(["const", "enum", "default", "examples"]);
/** Keywords of schemas by name, in which no name is a keyword. */
export const byName: ReadonlySet<string> = new Set(
  "properties patternProperties dependentSchemas $defs definitions".split(" "),
);

/** Of numbers. */
export const bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];

/** Keywords of values by their type: others are refused. */
export const keywords: Readonly<Record<string, readonly string[]>> = {
  object: [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
  ],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: bounds,
  integer: bounds,
  boolean: [],
  null: [],
};
export const typeNames = Object.keys(keywords);

/** What is written for a schema without `type`: what its keywords are about. */
export const impliedTypes = (schema: SchemaObject): string[] =>
  typeNames.filter((t) => t !== "integer" && keywords[t].some((k) => k in schema));
