/** Answers that a JSON schema allows: the grammar against a validator and a writer of values, and whole generations. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonConstraint } from "../../src/tasks/language/constraint.ts";
import { keywords } from "../../src/tasks/language/json-keywords.ts";
import { type JsonSchema, schemaGrammar } from "../../src/tasks/language/json-schema.ts";
import { Sampler } from "../../src/tasks/language/sampling.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { accepting, accepts, fits, written } from "./json-fits.ts";
import { tinyGguf } from "./tiny-gguf.ts";
import { byteLevel } from "./vocabularies.ts";

const person: JsonSchema = {
  type: "object",
  title: "a person",
  properties: {
    name: { type: "string" },
    age: { type: "integer" },
    tags: { type: "array", items: { enum: ["a", "b", 3] }, maxItems: 2 },
    note: { anyOf: [{ type: "null" }, { const: { x: 1 } }] },
  },
  required: ["name", "tags"],
};

describe("grammars of schemas", () => {
  test.each<[JsonSchema, string[], string[]]>([
    [{ type: "boolean" }, ["true", "false", " true"], ["tru", "True", "true ", "1"]],
    [{ type: "null" }, ["null"], ["nul", '"null"']],
    [{ type: "integer" }, ["0", "-7", "1234567890123456"], ["01", "1.5", "-", "1e3", "12345678901234567", "+1"]],
    [{ type: "number" }, ["0", "-0.5", "1e3", "2.25E-10"], [".5", "1.", "1e", "--1", "1e123"]],
    [{ type: "string" }, ['""', '"\\u00e9\\n\\""', '"日本\u{1F600}"'], ['"', '"\n"', '"\\x"', "'a'", '"a" ']],
    [
      { pattern: "^\\ud83d\\ude00+[\\uD83D\\uDE02-\\u{1f603}\\ud800]$" },
      ['"\u{1f600}\u{1f602}"', '"\u{1f600}\u{1f600}\u{1f603}"'],
      ['"\u{1f600}"', '"\u{1f602}"', '"\u{1f600}\u{1f601}"', '"\u{1f600}\u{1f604}"'],
    ],
    [{ enum: ["red", 1, null] }, ['"red"', "1", "null"], ['"re"', "2", "red"]],
    [{ type: "integer", enum: ["red", 1, 1.5] }, ["1"], ['"red"', "1.5"]],
    [{ allOf: [{ type: "null" }], description: "as some writers of schemas say it" }, ["null"], ["1"]],
    [{ const: [1, { a: "é" }] }, ['[1,{"a":"é"}]'], ['[1, {"a":"é"}]', "[1]"]],
    [
      { type: "integer", minimum: 0, maximum: 120 },
      ["0", "9", "10", "99", "100", "120"],
      ["-1", "-0", "121", "200", "01"],
    ],
    [{ type: "integer", minimum: -12, maximum: 7 }, ["-12", "-1", "0", "7"], ["-13", "-20", "8", "10"]],
    [{ type: "integer", minimum: -30, maximum: -5 }, ["-30", "-5", "-19"], ["-4", "-31", "0", "5"]],
    [{ type: "integer", exclusiveMinimum: 0, maximum: 2.5 }, ["1", "2"], ["0", "3"]],
    [{ type: "integer", minimum: 1234 }, ["1234", "9999", "10000", "1234567890123456"], ["1233", "999", "-5"]],
    [{ type: "number", minimum: 0, maximum: 1 }, ["0", "1", "0.25", "0.0", "1.0"], ["1.5", "-0.5", "2", "1.01", "-0"]],
    [
      { type: "number", minimum: 0.5, maximum: 1.25 },
      ["0.5", "0.50", "1", "1.25", "0.75"],
      ["0.4999", "0", "1.251", "2"],
    ],
    [
      { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 0.1 },
      ["0.05", "0.0999", "0.00001"],
      ["0", "0.0", "0.1", "-1"],
    ],
    [{ type: "number", minimum: -1e-3, maximum: 1e-7 }, ["-0.001", "0", "0.0000001"], ["-0.0011", "0.0000002", "1"]],
    [{ type: "number", minimum: 12.5 }, ["12.5", "13", "100.1"], ["12.4", "9"]],
    [{ type: "number", multipleOf: 0.01 }, ["0.1", "19.99", "-3", "0"], ["0.001", "19.999", "1e2"]],
    [
      { type: "number", multipleOf: 0.25, minimum: 1, maximum: 2 },
      ["1", "1.25", "1.5", "1.50", "2"],
      ["1.1", "1.2", "2.25"],
    ],
    [{ type: "number", multipleOf: 7 }, ["0", "7", "-14", "700"], ["1", "15", "7.0"]],
    [{ type: "integer", multipleOf: 5, exclusiveMaximum: 20 }, ["0", "15", "-5", "-1000"], ["20", "3", "16"]],
    [{ type: "integer", multipleOf: 2.5, minimum: 1 }, ["5", "10"], ["2", "7", "2.5"]],
    [{ type: "integer", multipleOf: 1000000, minimum: 1 }, ["1000000", "23000000"], ["0", "1000", "1500000"]],
    [{ type: "number", minimum: -2, maximum: 3 }, ["-2", "-1.9", "-0.5", "2.99", "3"], ["-2.1", "3.1", "-3"]],
    [{ minimum: 10 }, ["10", "10.5", "99.9"], ["9.9", "-10"]],
    [
      { type: "string", minLength: 2, maxLength: 3 },
      ['"ab"', '"日本語"', '"\\n\\u00e9"', '"a\u{1f600}"'],
      ['"a"', '"abcd"', '""'],
    ],
    [{ type: "string", minLength: 1 }, ['"a"', '"abcd"'], ['""']],
    [{ type: ["string", "null"], maxLength: 0 }, ['""', "null"], ['"a"']],
    [{ type: ["string", "null"] }, ['"x"', "null"], ["1", ""]],
    [
      { type: "array", items: { type: "integer" } },
      ["[]", "[1]", "[1, 2,3]", "[\n  1\n]"],
      ["[1,]", "[,1]", "[1 2]", '["1"]'],
    ],
    [{ type: "array", items: true, minItems: 2, maxItems: 3 }, ["[1,2]", "[1,[],{}]"], ["[1]", "[]", "[1,2,3,4]"]],
    [{ minItems: 1 }, ["[1]", "[1,2,3]"], ["[]", "1"]],
    [{ type: "array", maxItems: 0 }, ["[]"], ["[1]"]],
    [
      person,
      [
        '{"name":"x","tags":[]}',
        '{ "name": "x", "age": 3, "tags": ["a", 3], "note": {"x":1} }',
        '{\n  "name": "x",\n  "tags": [],\n  "note": null\n}',
      ],
      ['{"name":"x"}', '{"tags":[],"name":"x"}', '{"name":"x","tags":[],"more":1}', '{"name":"x",,"tags":[]}', "{}"],
    ],
    [{ type: "array", uniqueItems: true, items: { enum: ["a", "b", 1] } }, ["[]", '["a",1]'], ['["a","a"]', '["c"]']],
    [{ uniqueItems: true, items: { type: "boolean" }, minItems: 2 }, ["[true,false]"], ["[true]", "[true,true]"]],
    [{ uniqueItems: false, items: { const: 1 } }, ["[1,1]"], ["[2]"]],
    [{ prefixItems: [{ type: "integer" }, { type: "null" }] }, ["[1,null]"], ["[1]", "[]", "[1,null,2]", "[null,1]"]],
    [{ prefixItems: [{ const: 1 }], items: { const: 2 }, maxItems: 3 }, ["[1]", "[1,2,2]"], ["[2]", "[1,2,2,2]"]],
    [{ prefixItems: [{ const: 1 }], minItems: 2 }, ['[1,"x"]'], ["[1]"]],
    [
      {
        type: "object",
        properties: { ab: { type: "null" }, é: true },
        required: ["ab"],
        additionalProperties: { type: "integer" },
      },
      ['{"ab":null}', '{"ab":null,"x":1,"a":2,"":3,"abc":4}', '{"ab":null,"é":"y","ac":1}'],
      ['{"ab":null,"x":"y"}', '{"ab":null,"ab":1}', '{"ab":null,"\\u0061b":1}', '{"x":1}'],
    ],
    [
      { patternProperties: { "^x-": { type: "integer" } }, properties: { a: { type: "null" } } },
      ["{}", '{"a":null,"x-1":2}', '{"x-":1}'],
      ['{"x-1":"2"}', '{"y":1}'],
    ],
    [
      { patternProperties: { "^x-": { type: "integer" }, "^y\\d$": { type: "null" } } },
      ["{}", '{"x-1":2}', '{"y1":null,"x-":1}'],
      ['{"x-1":null}', '{"y1":1}', '{"y12":null}'],
    ],
    [
      { patternProperties: { a: { type: "null" }, b: { type: "null" } } },
      ['{"ab":null,"b":null}'],
      ['{"c":null}', '{"a":1}'],
    ],
    [
      // Lists that end where they may be empty.
      { type: "object", properties: { next: { anyOf: [{ $ref: "#" }, { type: "null" }] } }, required: ["next"] },
      ['{"next":null}', '{"next":{"next":null}}'],
      ["{}"],
    ],
    [
      { type: "object", propertyNames: { enum: ["a", "b"] }, additionalProperties: { type: "integer" } },
      ["{}", '{"b":1}'],
      ['{"c":1}', '{"a":null}'],
    ],
    [
      { properties: { a: true, b: true, c: true }, minProperties: 1, maxProperties: 2 },
      ['{"a":1}', '{"a":1,"c":2}'],
      ["{}", '{"a":1,"b":1,"c":1}'],
    ],
    [
      { additionalProperties: { const: 0 }, minProperties: 1, maxProperties: 2 },
      ['{"x":0}'],
      ["{}", '{"a":0,"b":0,"c":0}'],
    ],
    [
      {
        allOf: [
          { properties: { a: { type: "integer" } }, required: ["a"] },
          { properties: { b: true, a: { minimum: 3 } } },
        ],
      },
      ['{"a":3}', '{"a":4,"b":[]}'],
      ['{"a":2}', '{"b":1}', '{"a":"x"}'],
    ],
    [
      { type: "object", properties: { a: true, b: true }, anyOf: [{ required: ["a"] }, { required: ["b"] }] },
      ['{"a":1}', '{"b":1}', '{"a":1,"b":2}'],
      ["{}"],
    ],
    [
      { type: ["string", "null"], anyOf: [{ type: "null" }, { minLength: 2 }, { type: "integer" }] },
      ['"ab"', "null"],
      ['"a"', "1"],
    ],
    [
      {
        $defs: { n: { type: "object", properties: { next: { $ref: "#/$defs/n" } } } },
        allOf: [{ $ref: "#/$defs/n" }, { properties: { id: { const: 1 } }, required: ["id"] }],
      },
      ['{"next":{"next":{}},"id":1}'],
      ["{}", '{"id":2}'],
    ],
    [{ $defs: { a: { minLength: 1 } }, $ref: "#/$defs/a", maxLength: 1 }, ['"x"'], ['""', '"xy"']],
    [
      { type: "object", properties: { a: true }, additionalProperties: false },
      ["{}", '{"a":[{"b":null}]}'],
      ['{"b":1}'],
    ],
    [{ type: "object", additionalProperties: { type: "null" } }, ["{}", '{"x":null,"y":null}'], ['{"x":1}']],
    [{ pattern: "^\\d{3}-[A-C]+$" }, ['"123-A"', '"000-CAB"'], ['"12-A"', '"123-"', '"123-D"', '"x123-A"']],
    [{ pattern: "ab?c" }, ['"ac"', '"xabcx"', '"\\u0061\\nac"'], ['"ab"', '""']],
    [{ pattern: '^[\\n"\\\\]$' }, ['"\\n"', '"\\""', '"\\\\"'], ['"n"', '"a"']],
    [{ pattern: "^.[ü-\u{10ffff}]?$" }, ['"a"', '"\u{1f600}日"', '"xü"'], ['"xa"', '""', '"\\n"']],
    [{ format: "date" }, ['"2024-02-28"', '"1999-12-31"'], ['"2024-02-30"', '"2024-13-01"', '"24-01-01"']],
    [{ format: "ipv4" }, ['"127.0.0.1"', '"255.255.255.255"'], ['"256.1.1.1"', '"1.2.3"', '"01.2.3.4"']],
    [{ format: "duration" }, ['"P1Y2M3D"', '"PT90M"', '"P2DT3H"', '"P6W"'], ['"P"', '"PT"', '"1D"', '"P1H"']],
    [{ format: "hostname" }, ['"example.org"', '"a-b.c1"', '"x"'], ['"-a.b"', '"a..b"', '"a_b"']],
    [{ format: "ipv6" }, ['"2001:db8:0:0:0:0:0:1"'], ['"1:2:3"', '"g:0:0:0:0:0:0:0"']],
    [{ format: "uri" }, ['"https://example.org"', '"http://a.de/c/d.html?q=1#x"'], ['"example.org"', '"http://"']],
    [{ format: "email" }, ['"a.b+c@d-e.org"'], ['"a@b"', '"@b.c"', '"a@-b.c"', '"a..b@c.de"']],
    [
      {
        oneOf: [
          { type: "object", properties: { a: true }, required: ["a"], additionalProperties: false },
          { const: 1 },
        ],
      },
      ['{"a":1}', "1"],
      ["{}", "2"],
    ],
    [true, ['{"a":[1,"b",{"c":null}]}', "-1.5e3", '""'], ["{", "undefined"]],
    [
      {
        $defs: { tree: { type: "object", properties: { left: { $ref: "#/$defs/tree" }, value: { type: "integer" } } } },
        $ref: "#/$defs/tree",
      },
      ['{"left":{"left":{},"value":1},"value":2}'],
      ['{"left":1}'],
    ],
  ])("%j", (schema, good, bad) => {
    for (const text of good) expect([text, accepts(schema, text)]).toEqual([text, true]);
    for (const text of bad) expect([text, accepts(schema, text)]).toEqual([text, false]);
  });

  test.each<[JsonSchema, RegExp]>([
    [false, /# allows no value/],
    [{ pattern: "(?=a)b" }, /# "pattern" with look-around "\(\?=" is not supported/],
    [{ pattern: "(?<!a)b" }, /look-around "\(\?<!"/],
    [{ properties: { x: { pattern: "(a)\\1" } } }, /#\/properties\/x "pattern" with the back-reference "\\1"/],
    [{ pattern: "\\bword" }, /word boundary "\\b"/],
    [{ pattern: "a(^b|c)" }, /"\^" inside of an alternative/],
    [{ pattern: "(a?)*" }, /"\*" behind what may be empty/],
    [{ pattern: "\\p{L}" }, /"\\p" is not supported/],
    [{ pattern: "[^\\s\\S]" }, /a class of no characters/],
    [
      { pattern: "\\ud83d" },
      /half of a surrogate pair alone .* write both halves, or the character as "\\u\{\.\.\.\}"/,
    ],
    [{ pattern: "\\ude00\\ud83d" }, /half of a surrogate pair/],
    [{ pattern: "[\ud83d]" }, /half of a surrogate pair/],
    [{ pattern: "[" }, /is no regular expression/],
    [{ pattern: "a", maxLength: 3 }, /"maxLength" beside "pattern"/],
    [{ type: "integer", minimum: "0" }, /"minimum" takes a number/],
    [{ type: "integer", minimum: 3, maximum: 2 }, /allows no number/],
    [{ type: "string", minLength: 3, maxLength: 2 }, /"minLength" is more than "maxLength"/],
    [{ type: "thing" }, /has no type "thing"/],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, /# "oneOf": 0 and 1 may both fit/],
    [{ oneOf: [{ type: "null" }, { type: "string" }, { enum: ["a"] }] }, /"oneOf": 1 and 2/],
    [
      { oneOf: [{ properties: { a: { const: 1 } } }, { properties: { a: { const: 2 } }, required: ["a"] }] },
      /"oneOf": 0 and 1/,
    ],
    [{ properties: { a: { type: "number", multipleOf: 0 } } }, /#\/properties\/a "multipleOf" takes a number above 0/],
    [{ type: "number", multipleOf: 1e-17 }, /"multipleOf" takes at most 15 digits/],
    [{ type: "number", minimum: 0.3, maximum: 0.4, multipleOf: 0.25 }, /allows no number/],
    [{ type: "number", exclusiveMinimum: true }, /"exclusiveMinimum" takes a number/],
    [{ type: "array", uniqueItems: true }, /"uniqueItems" takes items of "enum", "const"/],
    [{ uniqueItems: true, items: { enum: [[1], 2] } }, /"uniqueItems" takes items/],
    [{ uniqueItems: true, items: { const: 1 }, minItems: 2 }, /allows no list/],
    [{ prefixItems: [true], items: false, minItems: 2 }, /allows no list/],
    [{ prefixItems: 1 }, /#\/prefixItems is not a list/],
    [{ patternProperties: { a: true, b: { type: "null" } } }, /the name "ab" fits both "a" and "b"/],
    [{ patternProperties: { "^a": true, "": { type: "null" } } }, /the name "a" fits both "\^a" and ""/],
    [{ patternProperties: { "(?=a)": true } }, /"patternProperties" with look-around/],
    [{ patternProperties: { "^a": true }, properties: { ab: true } }, /the property "ab" fits a pattern/],
    [
      { patternProperties: { "^a": true }, additionalProperties: {} },
      /"additionalProperties" beside "patternProperties"/,
    ],
    [{ properties: { a: true }, propertyNames: { maxLength: 1 } }, /"propertyNames" beside properties/],
    [{ additionalProperties: { const: 1 }, minProperties: 2 }, /"minProperties" of more than 1 takes/],
    [{ properties: { a: true }, minProperties: 2 }, /allows no object/],
    [{ properties: { a: true }, required: ["a"], maxProperties: 0 }, /allows no object/],
    [{ allOf: [{ type: "null" }, { type: "string" }] }, /allows no value/],
    [{ allOf: [{ pattern: "a" }, { pattern: "b" }] }, /"pattern" of two schemas at once/],
    [
      { allOf: [{ properties: { a: true }, additionalProperties: false }, { properties: { b: true } }] },
      /refuses the property "b"/,
    ],
    [{ anyOf: [{ type: "null" }], type: "string" }, /allows no value/],
    [{ oneOf: [{ type: "null" }, {}], minItems: 1 }, /"oneOf": 0 and 1/],
    [{ $defs: { a: { allOf: [{ $ref: "#/$defs/a" }, { type: "object" }] } }, $ref: "#/$defs/a" }, /itself without end/],
    [{ type: "string", format: "regex" }, /"format" knows date, .*, not "regex"/],
    [{ enum: [] }, /is not a list/],
    [{ type: "string", const: 1 }, /has no value of type "string"/],
    [{ type: "string", nullable: true }, /"nullable" is not supported/],
    [{ type: "object", if: true, properties: {} }, /"if" is not supported/],
    [{ not: true }, /"not" is not supported/],
    [{ type: "object", required: ["a"], properties: {} }, /requires "a"/],
    [{ type: "array", minItems: 3, maxItems: 2 }, /"minItems" is more than "maxItems"/],
    [{ type: "array", maxItems: -1 }, /"maxItems" takes/],
    [{ $ref: "#/nowhere" }, /is not there/],
    [{ $ref: "http://example.org/x" }, /has to point into the schema/],
    [{ $ref: "#" }, /itself without end/],
    [
      { type: "object", properties: { child: { $ref: "#" } }, required: ["child"] },
      /schema: # requires itself without end: no text fits #, which requires #\/properties\/child, which requires #$/,
    ],
    [
      {
        properties: { a: { $ref: "#/$defs/a" } },
        $defs: { a: { type: "array", items: { $ref: "#/$defs/a" }, minItems: 1 } },
      },
      /schema: #\/\$defs\/a requires itself.* #\/\$defs\/a\/items/,
    ],
    [
      { anyOf: [{ type: "null" }, { type: "array", prefixItems: [{ $ref: "#/anyOf/1" }] }] },
      /#\/anyOf\/1 requires itself/,
    ],
    [{ additionalProperties: { $ref: "#" }, minProperties: 1 }, /# requires itself/],
    [null as never, /is no schema/],
    [new Map([["type", "null"]]) as never, /# is no schema/],
    [{ items: null }, /#\/items is no schema/],
    [{ additionalProperties: new Map() }, /#\/additionalProperties is no schema/],
    [{ properties: { a: new Date(0) } }, /#\/properties\/a is no schema/],
    [{ properties: { a: undefined } }, /#\/properties\/a is no schema/],
    [{ properties: null }, /# "properties" is not an object of schemas/],
    [{ patternProperties: new Map() }, /# "patternProperties" is not an object of schemas/],
    [{ maxItems: null }, /"maxItems" takes 0 to/],
    [{ uniqueItems: null }, /"uniqueItems" takes true or false/],
  ])("%j is refused", (schema, message) => {
    expect(() => schemaGrammar(schema)).toThrow(InputError);
    expect(() => schemaGrammar(schema)).toThrow(message);
  });

  /** Schemas, and the values that they allow. */
  const leaf = fc.constantFrom<JsonSchema>(
    { type: "string" },
    { type: "integer" },
    { type: "number" },
    { type: "boolean" },
    { type: "null" },
    { enum: ["a", 1, null] },
    { const: { k: [] } },
    { type: "integer", minimum: -3, maximum: 112 },
    { type: "integer", exclusiveMinimum: 98 },
    { type: "number", minimum: -1, maximum: 20 },
    { type: "number", minimum: -0.75, maximum: 3.5 },
    { type: "number", exclusiveMinimum: -2.5, exclusiveMaximum: 0.001 },
    { type: "number", multipleOf: 0.01 },
    { type: "number", multipleOf: 1.5, minimum: -4, maximum: 1e6 },
    { type: "integer", multipleOf: 17, minimum: -100 },
    { uniqueItems: true, items: { enum: ["a", "b", 3, null] }, minItems: 2 },
    { prefixItems: [{ type: "integer" }, { const: "x" }], items: { type: "null" } },
    {
      properties: { a: { const: 1 }, ab: { type: "boolean" } },
      additionalProperties: { type: "null" },
      minProperties: 1,
    },
    { patternProperties: { "^[xy]": { type: "integer" } }, maxProperties: 3 },
    { patternProperties: { "^x": { type: "integer" }, "^[yz]+$": { type: "boolean" } }, maxProperties: 3 },
    { propertyNames: { pattern: "^k\\d$" }, additionalProperties: { enum: [1, 2] } },
    {
      allOf: [
        { properties: { a: { minimum: 1 } }, required: ["a"] },
        { properties: { a: { type: "integer" }, b: { const: 2 } } },
      ],
    },
    { properties: { a: { const: 1 }, b: { const: 2 } }, anyOf: [{ required: ["a"] }, { required: ["b"] }] },
    { type: "string", minLength: 2, maxLength: 4 },
    ...["^a+$", "b", "^(?:x|yz?){2,3}$", "^[^a-z]{1,3}$|^q", '\\d[é-\u{1f600}"\\\\]', "^\\w*\\s?.$"].map((pattern) => ({
      pattern,
    })),
    ...["date", "time", "date-time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri"].map((format) => ({
      type: "string",
      format,
    })),
    { oneOf: [{ type: "null" }, { type: "integer" }, { enum: ["a", "b"] }] },
    {
      oneOf: ["cat", "dog"].map((kind) => ({
        properties: { kind: { const: kind }, [kind]: { type: "boolean" } },
        required: ["kind"],
      })),
    },
  );

  describe("with much that may be left out", () => {
    test.each<[string, string[], string[]]>([
      ["^(?:[a-z]*|[0-9]*){23}$", ["", "ab12cd", "a1".repeat(11)], ["a1".repeat(12), "-"]],
      ["^(?:a?|b?){23}$", ["", "aaa", "ba".repeat(11)], ["ba".repeat(12), "c"]],
      ["^(a?){1000}$", ["", "aaa"], ["b", "ab"]],
      ["^((a?){200}x?){2}$", ["", "ax", "a".repeat(400), "axax"], ["axaxa", "a".repeat(401)]],
    ])("%s: a place is gone from once, however many ways lead to it", (pattern, good, bad) => {
      const takes = accepting({ type: "string", pattern });
      for (const text of good) expect([text, takes(JSON.stringify(text))]).toEqual([text, true]);
      for (const text of bad) expect([text, takes(JSON.stringify(text))]).toEqual([text, false]);
    });

    test("any number of properties", () => {
      const names = Array.from({ length: 2100 }, (_, i) => `p${i}`);
      const properties = Object.fromEntries(names.map((name) => [name, { const: 1 }]));
      const takes = accepting({ type: "object", properties, additionalProperties: false });
      for (const text of ["{}", '{"p2099":1}', '{"p3":1,"p2098":1}']) expect([text, takes(text)]).toEqual([text, true]);
      for (const text of ['{"p2100":1}', '{"p4":1,"p3":1}']) expect([text, takes(text)]).toEqual([text, false]);
    });

    test("more than a state can hold is told", () => {
      const takes = accepting({ type: "string", pattern: "^(((a?){1000}){1000}){1000}$" });
      expect(() => takes('"a"')).toThrow(InputError);
      expect(() => takes('"a"')).toThrow("schema: too much may be left out in one place");
    });
  });

  describe("of many texts", () => {
    const texts = Array.from({ length: 20_000 }, (_, i) => `número-${i}`);
    // They begin alike, in the middle of a character too, or with another; some come twice.
    const few = [...texts.slice(0, 1000), "n", "nú", "nü", "", 1, 12, -1, "nú", 12, null, "\u{1f600}", "\u{1f601}"];

    test("each of them is accepted, and no other", () => {
      const takes = accepting({ enum: few });
      for (const v of few) expect([v, takes(JSON.stringify(v))]).toEqual([v, true]);
      for (const v of ["núm", "número-1000", "número-01", 123, 2, -12, "\u{1f602}"])
        expect([v, takes(JSON.stringify(v))]).toEqual([v, false]);
    });

    test("a state is not of all of them", () => {
      const { grammar, start } = schemaGrammar({ enum: texts });
      let state = start;
      for (const byte of new TextEncoder().encode('"número-12')) {
        state = grammar.next(state, byte);
        expect(state.size).toBeLessThan(12);
      }
    });

    test("long lists of different ones take no time", () => {
      const takes = accepting({ items: { enum: few }, uniqueItems: true });
      const listed = [...new Set(few)].slice(0, 150);
      expect(takes(JSON.stringify(listed))).toBe(true);
      for (const again of [0, 70, 149]) expect(takes(JSON.stringify([...listed, listed[again]]))).toBe(false);
      expect(takes(JSON.stringify([12, 1, "nú", "n"]))).toBe(true);
      expect(takes(JSON.stringify([12, 1, 12]))).toBe(false);
    });
  });

  test("keywords that are undefined are absent", () => {
    const absent = Object.fromEntries(
      [...Object.values(keywords).flat(), "type", "enum", "anyOf", "oneOf", "allOf", "$ref", "$anchor", "not"].map(
        (keyword) => [keyword, undefined],
      ),
    );
    const properties: Record<string, JsonSchema> = { const: { ...absent, type: "integer", maximum: 3 } };
    // Properties may be called as anything.
    Object.defineProperty(properties, "__proto__", { value: { ...absent, $ref: "#" }, enumerable: true });
    const takes = accepting({
      anyOf: [
        { ...absent, type: "null" },
        { ...absent, properties },
      ],
    });
    for (const text of ["null", '{"const":3}', '{"__proto__":null}', '{"__proto__":{"const":1}}'])
      expect([text, takes(text)]).toEqual([text, true]);
    for (const text of ["1", '{"const":4}', '{"__proto__":1}']) expect([text, takes(text)]).toEqual([text, false]);
  });

  test("whole numbers are accepted just between their bounds", () => {
    const bounds = fc.tuple(fc.integer({ min: -3000, max: 3000 }), fc.nat(4000), fc.boolean());
    fc.assert(
      fc.property(bounds, fc.integer({ min: -8000, max: 8000 }), ([minimum, more, whole], n) => {
        const schema = { type: whole ? "integer" : "number", minimum, maximum: minimum + more };
        for (const v of [n, minimum, minimum - 1, minimum + more, minimum + more + 1, n / 8]) {
          const written = whole ? Math.round(v) : v;
          expect([written, accepts(schema, String(written))]).toEqual([written, fits(schema, written)]);
        }
      }),
    );
  });

  test("decimals are accepted just between their bounds, and multiples just where they are some", () => {
    const decimal = fc.tuple(fc.integer({ min: -30000, max: 30000 }), fc.nat(4)).map(([n, d]) => n / 10 ** d);
    const step = fc.constantFrom(undefined, 0.01, 0.25, 1.5, 3, 7, 0.007, 12);
    fc.assert(
      fc.property(decimal, fc.nat(5000), step, fc.boolean(), decimal, (minimum, more, multipleOf, open, n) => {
        const maximum = Number((minimum + more / 100).toFixed(4));
        const bounds = open ? { exclusiveMinimum: minimum, exclusiveMaximum: maximum } : { minimum, maximum };
        const schema = { type: "number", ...bounds, ...(multipleOf === undefined ? {} : { multipleOf }) };
        let takes: (text: string) => boolean;
        try {
          takes = accepting(schema);
        } catch (e) {
          if (!(e instanceof InputError) || !/allows no number/.test(e.message)) throw e;
          takes = () => false;
        }
        const near = multipleOf ? Number((Math.round(n / multipleOf) * multipleOf).toFixed(4)) : n;
        for (const v of [n, near, minimum, maximum, (minimum + maximum) / 2].map((v) => Number(v.toFixed(4)) || 0))
          expect([v, takes(String(v))]).toEqual([v, fits(schema, v)]);
      }),
      { numRuns: 400 },
    );
  });

  test.each([
    "^(?:foo|ba[rz]){1,3}?$",
    "^[^\\d\\s]+@\\w{2,}\\.(?<end>de|org)$",
    "(ab|a)(c|bcd)(d*)",
    "^.{3}$|^x*$",
    "^[\\u{1f600}-\\u{1f64f}é߿ࠀ-က]{2}$",
    "^\\W\\S\\D[\\-\\]a-]$",
    "^\\x41\\t\\u00e9?\\/$",
  ])("strings are accepted just when %s is found in them", (pattern) => {
    const expression = new RegExp(pattern, "u");
    const accepted = accepting({ pattern });
    const takes = (text: string): boolean => accepted(JSON.stringify(text));
    const other = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom(..."abcdfoorz@.-]xA\té1") }),
    );
    fc.assert(
      fc.property(fc.stringMatching(expression), other, fc.nat(), (fitting, random, at) => {
        expect([fitting, takes(fitting)]).toEqual([fitting, true]);
        const changed = fitting.slice(0, at % (fitting.length + 1)) + random;
        for (const text of [random, changed].filter((t) => !/\p{Cs}/u.test(t)))
          expect([text, takes(text)]).toEqual([text, expression.test(text)]);
      }),
    );
  });

  const { schema: anySchema } = fc.letrec<{ schema: JsonSchema }>((tie) => ({
    schema: fc.oneof(
      { maxDepth: 3, depthIdentifier: "schema" },
      leaf,
      fc.record({ type: fc.constant("array"), items: tie("schema"), minItems: fc.nat(2) }) as fc.Arbitrary<JsonSchema>,
      fc.record({ anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }) as fc.Arbitrary<JsonSchema>,
      fc
        .uniqueArray(fc.tuple(fc.constantFrom("a", "b", "é", 'q"'), fc.boolean(), tie("schema")), {
          minLength: 1,
          maxLength: 3,
          selector: ([name]) => name,
        })
        .map((list) => ({
          type: "object",
          properties: Object.fromEntries(list.map(([name, , s]) => [name, s])),
          required: list.filter(([, needed]) => needed).map(([name]) => name),
        })) as fc.Arbitrary<JsonSchema>,
    ),
  }));

  test("whatever is written byte by byte is a value that the schema allows", () => {
    fc.assert(
      fc.property(anySchema, fc.infiniteStream(fc.nat()), (schema, choices) => {
        const text = written(schema, () => choices.next().value as number);
        return text === undefined || fits(schema, JSON.parse(text));
      }),
      { numRuns: 150 },
    );
  });

  test("values, written with and without white space, are accepted just when they fit", () => {
    fc.assert(
      fc.property(anySchema, fc.jsonValue({ maxDepth: 2 }), fc.boolean(), (schema, value, spaced) => {
        const text = spaced ? JSON.stringify(value, null, 2) : JSON.stringify(value);
        // Names that the schema does not know, another order, and numbers with more digits are valid, and not written.
        if (accepts(schema, text)) expect(fits(schema, value)).toBe(true);
        if (!fits(schema, value)) expect(accepts(schema, text)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});

describe("constraints over tokens", () => {
  const tokenizer = byteLevel("gpt-2");
  const text = (tokens: number[]): string =>
    new TextDecoder().decode(Uint8Array.from(tokens.flatMap((t) => [...tokenizer.bytes(t)])));

  test("a token is accepted just when its bytes are, and the restricted logits say the same", () => {
    const constraint = new JsonConstraint(person, tokenizer);
    const sampler = new Sampler({ temperature: 1, topP: 1, seed: 3 });
    const tokens: number[] = [];
    for (let i = 0; i < 300 && !constraint.finished; i++) {
      const logits = Float32Array.from({ length: tokenizer.size }, (_, t) => Math.sin(t * 7 + i) * 3);
      const restricted = logits.slice();
      constraint.restrict(restricted);
      for (let t = 0; t < tokenizer.size; t++) {
        expect(restricted[t] > Number.NEGATIVE_INFINITY).toBe(constraint.accepts(t));
        if (constraint.accepts(t)) expect(restricted[t]).toBe(logits[t]);
      }
      // Quotes and brackets are preferred, so that it comes to an end.
      for (const b of '"]}') logits[b.charCodeAt(0)] += 6;
      const token = sampler.sample(logits, tokens, constraint);
      expect(constraint.accepts(token)).toBe(true);
      constraint.push(token);
      tokens.push(token);
    }
    expect(constraint.finished).toBe(true);
    expect(fits(person, JSON.parse(text(tokens)))).toBe(true);
  });

  test("accepted tokens keep their shares", () => {
    const want = { t: 0.6, f: 0.4 };
    const counts = { t: 0, f: 0 };
    const sampler = new Sampler({ temperature: 1, topP: 1, seed: 5 });
    const constraint = new JsonConstraint({ type: "boolean" }, tokenizer);
    for (let i = 0; i < 4000; i++) {
      const logits = new Float32Array(tokenizer.size).fill(-20);
      // Half of the probability lies on what may not come.
      logits["x".charCodeAt(0)] = Math.log(1);
      for (const c of ["t", "f"] as const) logits[c.charCodeAt(0)] = Math.log(want[c]);
      counts[String.fromCharCode(sampler.sample(logits, [], constraint)) as "t" | "f"]++;
    }
    expect(counts.t / 4000).toBeGreaterThan(0.57);
    expect(counts.t / 4000).toBeLessThan(0.63);
  });

  test("a vocabulary that can't say it is told", () => {
    const constraint = new JsonConstraint({ const: 1 }, { ...byteLevelOf(["a", "b"]) });
    expect(() => constraint.push(0)).toThrow(InputError);
  });
  const byteLevelOf = (pieces: string[]) => ({
    size: pieces.length,
    begin: undefined,
    end: new Set<number>(),
    encode: () => [],
    bytes: (t: number) => new TextEncoder().encode(pieces[t] ?? ""),
    specialName: () => undefined,
  });
});

describe("generation", () => {
  test("of a model with random weights is JSON all the same", async () => {
    using model = await textGeneration(tinyGguf({ contextLength: 300 }), { device: "wasm", threads: 1 });
    const schema: JsonSchema = {
      type: "object",
      properties: { ok: { type: "boolean" }, kind: { enum: ["cat", "dog"] }, n: { type: "integer" } },
      required: ["ok", "kind", "n"],
      additionalProperties: false,
    };
    for (const options of [{ temperature: 0 }, { seed: 1, temperature: 2, topP: 1 }, { seed: 2, topK: 3 }]) {
      const g = await model.generate("x", { ...options, schema, maxTokens: 200 });
      expect(g.finish).toBe("end");
      expect(fits(schema, JSON.parse(g.text))).toBe(true);
    }
    // Messages too, and the log-probabilities are those of the model.
    const g = await model.generate([{ role: "user", content: "?" }], { schema: { enum: ["yes", "no"] }, logprobs: 1 });
    expect(["yes", "no"]).toContain(JSON.parse(g.text));
    expect(g.logprobs!.map((l) => l.token)).toEqual(g.tokens);
    await expect(model.generate("x", { schema: { type: "array", uniqueItems: true } })).rejects.toThrow(InputError);
    // Cut off, it says so.
    expect((await model.generate("x", { schema, maxTokens: 3 })).finish).toBe("length");
  });
});
