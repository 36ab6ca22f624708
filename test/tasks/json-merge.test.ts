/** Schemas that hold together, choices beside other keywords, and references: kept as the definitions have them, or refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type JsonSchema, schemaGrammar } from "../../src/tasks/language/json-schema.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { accepting, accepts, fits, written } from "./json-fits.ts";

const refused = (schema: JsonSchema): string => {
  try {
    schemaGrammar(schema);
  } catch (e) {
    expect(e).toBeInstanceOf(InputError);
    return (e as InputError).message;
  }
  return "";
};

const list = (...prefixItems: JsonSchema[]): JsonSchema => ({ type: "array", prefixItems });
const nested = (
  n: number,
  around: (s: JsonSchema) => JsonSchema,
  inmost: JsonSchema = { type: "null" },
): JsonSchema => {
  let schema = inmost;
  for (let i = 0; i < n; i++) schema = around(schema);
  return schema;
};

describe("schemas that hold together", () => {
  test.each<[JsonSchema, string[], string[]]>([
    [
      { allOf: [list({ minimum: 1 }), { items: { type: "integer" }, maxItems: 2 }] },
      ["[1]", "[2,0]"],
      ["[0]", "[1.5]"],
    ],
    [
      { $defs: { p: list({ type: "integer" }) }, $ref: "#/$defs/p", items: { enum: [1, "a"] } },
      ["[1]", '[1,"a"]'],
      ['["a"]', "[2]"],
    ],
    [
      { allOf: [list({ type: "integer" }, true), { prefixItems: [{ enum: [1, "a"] }], items: { const: 2 } }] },
      ["[1,2]"],
      ["[1,3]"],
    ],
    [{ allOf: [list({ type: "null" }, true), { prefixItems: [true], items: false }] }, ["[null]"], ["[null,1]", "[1]"]],
    [
      {
        allOf: [
          { properties: { x: true }, additionalProperties: { type: "integer" } },
          { properties: { y: { minimum: 2 } } },
        ],
      },
      ['{"x":"a","y":2}', '{"y":3,"z":0}'],
      ['{"y":2.5}', '{"y":1}', '{"z":"a"}'],
    ],
    [
      {
        properties: { x: true },
        additionalProperties: { type: "null" },
        anyOf: [{ properties: { y: true }, required: ["y"] }],
      },
      ['{"y":null}'],
      ['{"y":1}'],
    ],
    [
      {
        allOf: [
          { additionalProperties: { type: "null" } },
          { patternProperties: { "^x": true }, additionalProperties: false },
        ],
      },
      ["{}", '{"xa":null}'],
      ['{"xa":1}', '{"a":null}'],
    ],
    [{ allOf: [{ enum: [{ a: 1, b: 2 }, 3] }, { enum: [{ b: 2, a: 1 }, 4] }] }, ['{"a":1,"b":2}'], ["3", "4"]],
    [{ allOf: [{ required: ["a", "a"], properties: { a: true } }, { maxProperties: 1 }] }, ['{"a":1}'], ["{}"]],
  ])("%j", (schema, good, bad) => {
    const takes = accepting(schema);
    for (const text of good) expect([text, takes(text), fits(schema, JSON.parse(text))]).toEqual([text, true, true]);
    for (const text of bad) expect([text, takes(text), fits(schema, JSON.parse(text))]).toEqual([text, false, false]);
  });

  const closed: JsonSchema = { properties: { a: true }, additionalProperties: false };
  test.each<[JsonSchema, RegExp]>([
    [{ allOf: [list({ type: "integer" }), { items: { type: "string" } }] }, /#\/prefixItems\/0 allows no value/],
    [{ allOf: [closed, { patternProperties: { "^y": true } }] }, /refuses the pattern "\^y" of another/],
    [{ allOf: [{ ...closed, patternProperties: { b: true } }, { properties: { ab: true } }] }, /"ab" fits a pattern/],
    [
      { allOf: [{ properties: { a: true } }, { patternProperties: { "[": true }, additionalProperties: {} }] },
      /"patternProperties" is no regular expression/,
    ],
    [{ allOf: [{ minimum: 5, exclusiveMinimum: true }, { exclusiveMinimum: 3 }] }, /"exclusiveMinimum" takes a number/],
    [{ items: [{ type: "null" }], prefixItems: [true] }, /"items" as a list beside "prefixItems"/],
    [{ allOf: [null as never, { type: "null" }] }, /is no schema/],
    [{ allOf: [{ required: "a" }, { type: "object" }] }, /required is not a list/],
    [{ type: "object", required: [1], properties: {} }, /"required" takes names/],
    [{ type: "constructor" }, /has no type "constructor"/],
    [{ properties: { a: true }, additionalProperties: 5 }, /#\/additionalProperties is no schema/],
    [JSON.parse('{"allOf":[{"__proto__":{"minimum":3}},{"type":"number"}]}'), /"__proto__" is not supported/],
    // What is listed for `uniqueItems` is read like any schema.
    [{ uniqueItems: true, items: { enum: ["a", "bb"], minLength: 2 } }, /"minLength" beside "enum"/],
    [{ uniqueItems: true, items: { type: "boolean", not: { const: true } } }, /"not" is not supported/],
    [{ uniqueItems: true, items: { oneOf: [{ enum: ["a", "b"] }, { enum: ["b"] }] } }, /"oneOf": 0 and 1 may both fit/],
    [{ uniqueItems: true, items: { enum: ["a", "b"], anyOf: [{ const: "a" }] } }, /"anyOf" beside "enum"/],
  ])("%j is refused", (schema, message) => expect(refused(schema)).toMatch(message));

  test.each<JsonSchema>([
    { dependentRequired: { a: ["b"] } },
    { dependentSchemas: { a: true } },
    { contains: { const: 1 }, minContains: 2 },
    { unevaluatedProperties: false },
    { unevaluatedItems: false },
    { additionalItems: false },
    { not: { type: "null" } },
    { if: true, else: false },
    { $dynamicRef: "#" },
    { contentEncoding: "base64" },
  ])("%j is refused beside whatever it is", (schema) => {
    const [key] = Object.keys(schema);
    const object: JsonSchema = { type: "object", properties: { a: true, b: true } };
    for (const other of [object, list(true), { type: "string" }, { const: 1 }, { type: ["object", "array", "string"] }])
      for (const whole of [
        { ...(other as object), ...(schema as object) },
        { allOf: [other, schema] },
        { $defs: { other }, $ref: "#/$defs/other", ...(schema as object) },
        { $defs: { schema }, $ref: "#/$defs/schema", ...(other as object) },
        { anyOf: [other], ...(schema as object) },
        { oneOf: [{ ...(other as object), ...(schema as object) }] },
      ])
        expect(refused(whole)).toContain(`"${key}`);
  });

  /** Few names, texts and numbers, so that much of it meets. */
  const leaf = fc.constantFrom<JsonSchema>(
    true,
    { type: "integer", minimum: 0, maximum: 12 },
    { enum: ["a", 1, null] },
    { enum: ["a", "b"] },
    { type: ["string", "null"], maxLength: 2 },
    { const: 1 },
    { type: "boolean" },
    { type: "integer" },
  );
  const name = fc.constantFrom("a", "b", "xa");
  const optional = <T>(of: fc.Arbitrary<T>, freq = 2) => fc.option(of, { nil: undefined, freq });
  const present = (schema: object): JsonSchema =>
    Object.fromEntries(Object.entries(schema).filter(([, v]) => v !== undefined));
  const { schema: anySchema } = fc.letrec<{ schema: JsonSchema }>((tie) => {
    const some = tie("schema");
    const object = fc
      .record({
        type: optional(fc.constant("object"), 4),
        properties: optional(fc.dictionary(name, some, { maxKeys: 3 }), 4),
        patternProperties: optional(fc.dictionary(fc.constantFrom("^x", "^y"), some, { minKeys: 1, maxKeys: 2 }), 1),
        additionalProperties: optional(fc.oneof(fc.constant(false), some)),
        minProperties: optional(fc.nat(2), 1),
        maxProperties: optional(fc.nat(3), 1),
        needs: fc.subarray(["a", "b", "xa"]),
      })
      .map(({ needs, ...s }) => {
        const required = needs.filter((n) => Object.hasOwn(s.properties ?? {}, n));
        return present({ ...s, required: required.length > 0 ? required : undefined });
      });
    const array = fc
      .record({
        type: optional(fc.constant("array"), 4),
        prefixItems: optional(fc.array(some, { minLength: 1, maxLength: 2 })),
        items: optional(fc.oneof(fc.constant(false), some)),
        minItems: optional(fc.nat(2), 1),
        maxItems: optional(fc.nat(3)),
      })
      .map(present);
    const plain = fc.oneof(object, object, array);
    const beside = fc.tuple(plain, plain, plain);
    return {
      schema: fc.oneof(
        { maxDepth: 2, depthIdentifier: "schema" },
        leaf,
        plain,
        beside.map(([a, b]) => ({ allOf: [a, b] })),
        beside.map(([a, b, c]) => ({ ...(a as object), allOf: [b, c] })),
        beside.map(([a, b, c]) => ({ ...(a as object), anyOf: [b, c] })),
        beside.map(([a, b, c]) => ({ ...(a as object), oneOf: [b, c] })),
        fc.tuple(plain, fc.constantFrom("p", "q")).map(([a, d]) => ({ ...(a as object), $ref: `#/$defs/${d}` })),
        fc.tuple(some, some).map(([a, b]) => ({ oneOf: [a, b] })),
        // Told apart by a property, unless what is beside says otherwise.
        fc.tuple(plain, plain, fc.boolean()).map(([a, b, both]) => ({
          ...(a as object),
          oneOf: ["a", "b"].map((n, i) => ({
            allOf: [both ? b : true, { type: "object", properties: { [n]: { const: i } }, required: [n] }],
          })),
        })),
      ),
    };
  });
  const whole = fc.tuple(anySchema, anySchema, anySchema).map(([s, p, q]): JsonSchema => {
    if (typeof s === "boolean") return s;
    // Those that are what they refer to fit nothing and anything.
    const isKnown = ["p", "q"].every((d) => refused({ $defs: { p, q }, $ref: `#/$defs/${d}` }) === "");
    return { ...s, $defs: isKnown ? { p, q } : { p: { type: "null" }, q: { properties: { a: { const: 1 } } } } };
  });

  test("whatever is written fits, where a schema is not refused", () => {
    let kept = 0;
    fc.assert(
      fc.property(whole, fc.infiniteStream(fc.nat()), (schema, choices) => {
        if (refused(schema) !== "") return;
        kept++;
        for (let walk = 0; walk < 3; walk++) {
          const text = written(schema, () => choices.next().value as number, '"abx1,:]}');
          if (text !== undefined) expect([text, fits(schema, JSON.parse(text))]).toEqual([text, true]);
        }
      }),
      { numRuns: 1000 },
    );
    expect(kept).toBeGreaterThan(60);
  });

  test("of few values, no more are accepted than fit", () => {
    const scalars = [1, 0, "a", "b", null, true, 2.5];
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 2 },
        fc.constantFrom<unknown>(...scalars),
        fc.array(tie("value"), { maxLength: 3 }),
        fc
          .uniqueArray(fc.tuple(fc.constantFrom("a", "b", "xa", "y"), tie("value")), { selector: ([n]) => n })
          .map((m) =>
            // As grammars have them: in order.
            Object.fromEntries(m.sort(([a], [b]) => (a < b ? -1 : 1))),
          ),
      ),
    })).value;
    fc.assert(
      fc.property(whole, fc.array(value, { minLength: 20, maxLength: 20 }), (schema, values) => {
        if (refused(schema) !== "") return;
        const takes = accepting(schema);
        for (const v of values) if (!fits(schema, v)) expect([v, takes(JSON.stringify(v))]).toEqual([v, false]);
      }),
      { numRuns: 1000 },
    );
  });
});

test("lists as `items`, as they were before 2020, hold together with others", () => {
  const takes = accepting({ allOf: [list({ minimum: 1 }), { items: [{ type: "integer" }] }] });
  expect(["[1]", "[0]", "[1.5]"].map(takes)).toEqual([true, false, false]);
});

describe("oneOf", () => {
  const needs = (name: string, value: number): JsonSchema => ({
    type: "object",
    properties: { [name]: { const: value } },
    required: [name],
  });
  const [k, m] = [needs("k", 1), needs("m", 2)];
  const more = { properties: { k: { const: 1 }, m: { const: 2 } } };
  test.each<JsonSchema>([
    { $defs: { k }, oneOf: [{ $ref: "#/$defs/k", ...more }, m] },
    { oneOf: [{ allOf: [k, more] }, m] },
    { oneOf: [{ anyOf: [k], ...more }, m] },
    { oneOf: [k, m], ...more },
    { allOf: [{ oneOf: [k, m] }, more] },
    { oneOf: [{ oneOf: [k], ...more }, m] },
    { type: "object", oneOf: [{ required: ["k"] }, { properties: { k: { const: 1 } }, required: ["k"] }] },
  ])("%j is refused: a value may fit both", (schema) => {
    expect(refused(schema)).toMatch(/"oneOf": 0 and 1 may both fit|requires "k"/);
  });

  test("branches are told apart with what stands beside them", () => {
    const kinds = ["cat", "dog"].map((kind) => ({ properties: { kind: { const: kind } } }));
    const schema = { type: "object", required: ["kind"], oneOf: kinds };
    const takes = accepting(schema);
    for (const text of ['{"kind":"cat"}', '{"kind":"dog"}']) expect(takes(text)).toBe(true);
    expect(takes("{}")).toBe(false);
    expect(accepts({ oneOf: [k, m], properties: { n: true } }, '{"k":1,"n":1}')).toBe(true);
    expect(refused({ oneOf: [k, m] })).toBe("");
  });

  test("schemas that contain themselves many times are compared in no time", () => {
    const n = { $ref: "#/$defs/n" };
    const branch = { type: "object", properties: { l: n, r: n, s: n, t: n }, required: ["l", "r", "s", "t"] };
    const schema = { $defs: { n: { oneOf: [...new Array<JsonSchema>(8).fill(branch), { type: "null" }] } }, ...n };
    expect(refused(schema)).toMatch(/"oneOf": 0 and 1/);
  });
});

describe("references", () => {
  test("by an anchor", () => {
    const schema = { properties: { a: { $ref: "#pos" } }, $defs: { p: { $anchor: "pos", type: "integer" } } };
    const takes = accepting(schema);
    expect(takes('{"a":1}')).toBe(true);
    for (const text of ['{"a":{}}', '{"a":"x"}']) expect(takes(text)).toBe(false);
    // Values and names are no anchors.
    const values = { const: { $anchor: "pos" } };
    expect(refused({ $ref: "#pos", $defs: { values } })).toMatch(/no schema has the "\$anchor" "pos"/);
    const named = { properties: { $anchor: { type: "null" }, const: { $anchor: "pos", type: "null" } }, $ref: "#pos" };
    expect(refused({ $defs: { named }, $ref: "#/$defs/named/properties/const" })).toBe("");
    expect(accepts({ $defs: { named }, $ref: "#pos" }, "null")).toBe(true);
  });

  test("by pointers with escapes", () => {
    const schema = { $defs: { "a/b~c%é": { type: "null" } }, $ref: "#/$defs/a~1b~0c%25%C3%A9" };
    expect(accepts(schema, "null")).toBe(true);
    expect(accepts({ $defs: { a: { type: "null" } }, $ref: "#%2F$defs%2Fa" }, "null")).toBe(true);
  });

  test.each<[JsonSchema, RegExp]>([
    [{ properties: { a: { $ref: "#nothere" } } }, /#\/properties\/a "#nothere" is not there/],
    [{ $ref: "#/nothere" }, /"#\/nothere" is not there/],
    [{ $ref: "#/%zz" }, /has a "%" that is no code/],
    [{ $defs: { a: { $anchor: "x" }, b: { $anchor: "x" } }, $ref: "#x" }, /"#x" is there 2 times/],
    [{ $defs: { a: 5 }, $ref: "#/$defs/a" }, /is no schema/],
    [
      { $defs: { x: { $id: "http://e.org/x", $defs: { y: true }, items: { $ref: "#/$defs/y" } } }, $ref: "#/$defs/x" },
      /inside of a schema with an "\$id" of its own/,
    ],
  ])("%j is refused", (schema, message) => expect(refused(schema)).toMatch(message));
});

describe("what has no end", () => {
  test("deep schemas are read", () => {
    expect(
      accepts(
        nested(3000, (items) => ({ type: "array", items })),
        "[[[]]]",
      ),
    ).toBe(true);
    expect(
      accepts(
        nested(900, (s) => ({ anyOf: [s, { type: "boolean" }] })),
        "null",
      ),
    ).toBe(true);
    const chain = Array.from({ length: 3000 }, (_, i) => [
      `a${i}`,
      i === 2999 ? { type: "null" } : { properties: { p: { $ref: `#/$defs/a${i + 1}` } } },
    ]);
    expect(accepts({ $defs: Object.fromEntries(chain), $ref: "#/$defs/a0" }, '{"p":{"p":{}}}')).toBe(true);
  });

  const without: JsonSchema = { $defs: { d: { $ref: "#/$defs/e" }, e: { $ref: "#/$defs/d" } } };
  const choice = (s: JsonSchema): JsonSchema => ({ anyOf: [s, { type: "null" }] });
  test.each<[string, JsonSchema, RegExp]>([
    [
      "references in a circle",
      { ...without, oneOf: [{ $ref: "#/$defs/d" }, { type: "integer" }] },
      /itself without end/,
    ],
    ["choices", nested(3000, choice), /more than 1000 choices/],
    ["choices in choices", nested(3000, (s) => ({ oneOf: [s, { type: "null" }] })), /may both fit/],
    ["choices of items", { uniqueItems: true, items: nested(3000, choice) }, /more than 100 schemas/],
    [
      "a choice of itself",
      { $defs: { a: choice({ $ref: "#/$defs/a" }) }, uniqueItems: true, items: { $ref: "#/$defs/a" } },
      /itself without end/,
    ],
    ["parts of parts", nested(3000, (s) => ({ allOf: [s, { type: "null" }] })), /more than 100 schemas/],
    ["only parts", nested(3000, (s) => ({ allOf: [s] })), /more than 1000 choices/],
    ["items twice", { allOf: [1, 2].map((title) => nested(3000, (items) => ({ items }), { title })) }, /more than 100/],
    ["groups", { pattern: "(".repeat(3000) + ")".repeat(3000) }, /more than 200 groups/],
    ["a name", { properties: { ["x".repeat(20000)]: true }, additionalProperties: {} }, /more than 1000 characters/],
  ])("%s", (_, schema, message) => expect(refused(schema)).toMatch(message));
});

describe("values", () => {
  const circular: unknown[] = [];
  circular.push(circular);
  let deep: unknown = 1;
  for (let i = 0; i < 3000; i++) deep = [deep];
  const noJson = [
    1n,
    Number.NaN,
    [Number.POSITIVE_INFINITY],
    undefined,
    { a: undefined },
    () => 1,
    new Date(0),
    new Map(),
  ];
  test.each([...noJson, Symbol("s"), new Array(1), circular, deep])("number %# can't be written", (v) => {
    for (const schema of [{ const: v }, { enum: [1, v] }, { uniqueItems: true, items: { enum: [v] } }])
      expect(refused(schema)).toMatch(/can't write|are finite|more than 500 lists|"uniqueItems" takes/);
    expect(refused({ allOf: [{ enum: [v, 1] }, { enum: [v, 1, 2] }] })).toMatch(
      /^$|can't write|are finite|more than 500/,
    );
    expect(refused({ oneOf: [{ const: v }, { const: v, title: "the same" }] })).not.toBe("");
    // Annotations are not written.
    expect(refused({ type: "null", allOf: [{ default: v }, { default: 1, type: "null" }] })).toBe("");
  });

  test("bounds beyond all numbers that are written say so", () => {
    const beyond = /bounds beyond the numbers that are written: they have at most 16 digits before the point/;
    expect(refused({ type: "number", minimum: 1e20 })).toMatch(beyond);
    expect(refused({ type: "integer", exclusiveMaximum: -1e17 })).toMatch(beyond);
    expect(refused({ type: "number", multipleOf: 0.5, minimum: 1e15 })).toMatch(/multiples have at most 15 digits/);
    expect(refused({ type: "number", minimum: 5, maximum: 1e20 })).toBe("");
    expect(refused({ type: "integer", minimum: 5, maximum: 4 })).toMatch(/allows no number/);
  });
});
