/** Answers that a JSON schema allows: the grammar against a validator and a writer of values, and whole generations. */
import { isIPv4 } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonConstraint } from "../../src/tasks/language/constraint.ts";
import { type Grammar, type GrammarState, mayEnd, mustEnd } from "../../src/tasks/language/grammar.ts";
import { type JsonSchema, schemaGrammar } from "../../src/tasks/language/json-schema.ts";
import { Sampler } from "../../src/tasks/language/sampling.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { tinyGguf } from "./tiny-gguf.ts";
import { byteLevel } from "./vocabularies.ts";

const after = (grammar: Grammar, start: GrammarState, text: string): GrammarState =>
  new TextEncoder().encode(text).reduce((state, byte) => grammar.next(state, byte), start);

function accepts(schema: JsonSchema, text: string): boolean {
  const { grammar, start } = schemaGrammar(schema);
  return mayEnd(after(grammar, start, text));
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
  if (format === "email") return /^[^@\s"]+@[^@\s.]+(\.[^@\s.]+)+$/.test(v) && !v.includes("..");
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(v);
}

/** Whether a value fits a schema, by the definitions of the keywords. */
function fits(schema: JsonSchema, v: unknown): boolean {
  if (typeof schema === "boolean") return schema;
  if ("const" in schema) return JSON.stringify(v) === JSON.stringify(schema["const"]);
  if ("enum" in schema) return (schema["enum"] as unknown[]).some((e) => JSON.stringify(e) === JSON.stringify(v));
  if ("anyOf" in schema) return (schema["anyOf"] as JsonSchema[]).some((s) => fits(s, v));
  if ("oneOf" in schema) return (schema["oneOf"] as JsonSchema[]).filter((s) => fits(s, v)).length === 1;
  const kind = v === null ? "null" : Array.isArray(v) ? "array" : typeof v;
  const types = schema["type"] === undefined ? undefined : [schema["type"]].flat();
  if (types && !types.some((t) => t === kind || (t === "integer" && Number.isInteger(v)))) return false;
  if (kind === "number") {
    const { minimum = -Infinity, maximum = Infinity } = schema as Record<string, never>;
    const { exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = schema as Record<string, never>;
    const n = v as number;
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
    return list.length >= minItems && list.length <= maxItems && list.every((i) => fits(items, i));
  }
  if (kind === "object") {
    const object = v as Record<string, unknown>;
    const properties = (schema["properties"] ?? {}) as Record<string, JsonSchema>;
    const required = (schema["required"] ?? []) as string[];
    if (schema["additionalProperties"] === false && Object.keys(object).some((k) => !Object.hasOwn(properties, k)))
      return false;
    return (
      required.every((r) => Object.hasOwn(object, r)) &&
      Object.entries(object).every(([k, value]) => !Object.hasOwn(properties, k) || fits(properties[k], value))
    );
  }
  return true;
}

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
    [{ type: "number", minimum: 0, maximum: 1 }, ["0", "1", "0.25", "0.0"], ["1.5", "-0.5", "2", "1.0"]],
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
    [{ pattern: "[" }, /is no regular expression/],
    [{ pattern: "a", maxLength: 3 }, /"maxLength" beside "pattern"/],
    [{ type: "object", properties: { a: { type: "number", multipleOf: 1 } } }, /#\/properties\/a "multipleOf"/],
    [{ type: "number", minimum: 0.5 }, /"minimum" of a number takes whole numbers only/],
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
    [{ oneOf: [{ type: "null" }], minItems: 1 }, /"minItems" beside "oneOf"/],
    [{ enum: [] }, /is not a list/],
    [{ type: "string", const: 1 }, /has no value of type "string"/],
    [{ type: "string", anyOf: [true] }, /"type" beside "anyOf"/],
    [{ allOf: [true, true] }, /"allOf" is supported for one schema alone/],
    [{ type: "array", uniqueItems: true }, /"uniqueItems" is not supported/],
    [{ type: "array", prefixItems: [true] }, /"prefixItems" is not supported/],
    [{ type: "string", format: "hostname" }, /"format" knows date, .*, not "hostname"/],
    [{ type: "string", nullable: true }, /"nullable" is not supported/],
    [{ type: "number", exclusiveMinimum: 0 }, /"exclusiveMinimum" is not supported/],
    [{ type: "integer", multipleOf: 5 }, /"multipleOf" is not supported/],
    [{ type: "object", patternProperties: {} }, /"patternProperties" is not supported/],
    [{ type: "object", if: true, properties: {} }, /"if" is not supported/],
    [{ not: true }, /"not" is not supported/],
    [{ anyOf: [{ type: "null" }], minItems: 1 }, /"minItems" beside "anyOf"/],
    [{ type: "object", required: ["a"], properties: {} }, /requires "a"/],
    [{ type: "array", minItems: 3, maxItems: 2 }, /"minItems" is more than "maxItems"/],
    [{ type: "array", maxItems: -1 }, /"maxItems" takes/],
    [{ $ref: "#/nowhere" }, /is not there/],
    [{ $ref: "http://example.org/x" }, /has to point into the schema/],
    [{ $ref: "#" }, /itself without end/],
    [null as never, /is no schema/],
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
    { type: "string", minLength: 2, maxLength: 4 },
    ...["^a+$", "b", "^(?:x|yz?){2,3}$", "^[^a-z]{1,3}$|^q", '\\d[é-\u{1f600}"\\\\]', "^\\w*\\s?.$"].map((pattern) => ({
      pattern,
    })),
    ...["date", "time", "date-time", "uuid", "email", "ipv4"].map((format) => ({ type: "string", format })),
    { oneOf: [{ type: "null" }, { type: "integer" }, { enum: ["a", "b"] }] },
    {
      oneOf: ["cat", "dog"].map((kind) => ({
        properties: { kind: { const: kind }, [kind]: { type: "boolean" } },
        required: ["kind"],
      })),
    },
  );
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
    const { grammar, start } = schemaGrammar({ pattern });
    const takes = (text: string): boolean => mayEnd(after(grammar, start, JSON.stringify(text)));
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
        const { grammar, start } = schemaGrammar(schema);
        let state = start;
        const bytes: number[] = [];
        while (!mustEnd(state) && bytes.length < 400) {
          const possible = Array.from({ length: 256 }, (_, b) => b).filter((b) => grammar.next(state, b).size > 0);
          // A state that allows nothing would be a dead end.
          if (possible.length === 0) break;
          // Ends are preferred, so that texts come to one.
          const ends = possible.filter((b) => [0x22, 0x5d, 0x7d].includes(b));
          const [n] = [choices.next().value as number];
          const pool = ends.length > 0 && n % 3 > 0 ? ends : possible;
          if (mayEnd(state) && n % 2 === 0) break;
          bytes.push(pool[n % pool.length]);
          state = grammar.next(state, bytes[bytes.length - 1]);
        }
        if (!mayEnd(state)) return bytes.length >= 400;
        const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
        return fits(schema, JSON.parse(text));
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
