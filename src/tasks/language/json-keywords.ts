/** What the grammars of JSON schemas know. */

/** `true` and `{}` allow any value. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };
export type SchemaObject = Exclude<JsonSchema, boolean>;

/** Keywords of values by their type: others are refused. */
export const keywords: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  boolean: [],
  null: [],
};
export const typeNames = Object.keys(keywords);

/** What is written for a schema without `type`: what its keywords are about. */
export const impliedTypes = (schema: SchemaObject): string[] =>
  typeNames.filter((t) => t !== "integer" && keywords[t].some((k) => k in schema));
