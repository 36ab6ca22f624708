/** Options and prompts that are wrong: told before anything is computed, with what they take. */
import { afterAll, expect, test } from "vitest";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { tinyGguf } from "./tiny-gguf.ts";

const options = { device: "wasm", threads: 1 } as const;
const model = await textGeneration(tinyGguf(), options);
afterAll(() => model.dispose());

async function refused(work: Promise<unknown>): Promise<string> {
  const e = await work.then(
    () => expect.unreachable("it was accepted"),
    (e) => e,
  );
  expect(e).toBeInstanceOf(InputError);
  return e.message;
}

const number = ["a", "1", "", null, Number.NaN, true, [], {}, 1n];
const whole = [...number, 0.5];

test.each([
  ["temperature", "a number from 0", [...number, -1, Infinity]],
  ["topK", "a whole number from 0", [...whole, -1]],
  ["topP", "a number from 0 to 1", [...number, -0.1, 1.1]],
  ["minP", "a number from 0 to 1", [...number, -0.1, 1.1]],
  ["repetitionPenalty", "a number above 0", [...number, 0, -1]],
  ["seed", "a whole number", [...whole, Infinity, 2 ** 53]],
  ["maxTokens", "a whole number from 0", [...whole, -1, Infinity]],
  ["logprobs", "a whole number from 0", [...whole, -1, Infinity]],
])("%s takes %s", async (name, takes, wrong) => {
  for (const v of wrong)
    expect(await refused(model.generate("x", { [name]: v }))).toMatch(`generate: ${name} takes ${takes}, got `);
});

test.each([
  [{ temperature: 0 }],
  [{ topK: 0 }],
  [{ topK: Infinity }],
  [{ topP: 0 }],
  [{ topP: 1 }],
  [{ minP: 1 }],
  [{ seed: -5 }],
  [{ repetitionPenalty: 0.5 }],
  [{ stop: [""] }],
  [{ stop: "" }],
])("at their ends: %o", async (o) => {
  expect((await model.generate("x", { maxTokens: 3, seed: 1, ...o })).tokens).toHaveLength(3);
});

test("what is no options, no signal and no stop", async () => {
  for (const o of [null, "x", 5])
    expect(await refused((async () => model.generate("x", o as never))())).toContain("options are an object");
  for (const signal of [{}, "x", null])
    expect(await refused((async () => model.generate("x", { signal: signal as never }))())).toContain(
      "signal takes an AbortSignal",
    );
  for (const stop of [5, [5], {}])
    expect(await refused(model.generate("x", { stop: stop as never }))).toContain("stop takes a text");
});

test("what is no prompt, and messages that lack something", async () => {
  const takes = "generate: takes a text, messages [{ role, content }, ...], or an array of tokens";
  for (const wrong of [undefined, null, 5, [], {}, ["a"], [null], [1n], new Uint8Array(2)])
    expect(await refused(model.generate(wrong as never))).toBe(takes);
  const good = { role: "user", content: "x" };
  for (const [wrong, message] of [
    [{ content: "x" }, "the role of message 1 is a text, got undefined"],
    [{ role: "user" }, "the content of message 1 is a text, got undefined"],
    [{ role: "user", content: [{ type: "text", text: "x" }] }, "the content of message 1 is a text, got an array"],
    [{ role: "assistant", content: null }, "the content of message 1 is a text, got null"],
    [{ role: "assistant", tool_calls: [{}] }, "the content of message 1 is a text, got undefined"],
    [{ role: null, content: null, tool_calls: [{}] }, "the role of message 1 is a text, got null"],
  ] as const)
    expect(await refused(model.generate([good, wrong as never]))).toBe(`generate: ${message}`);
});

test("a signal that was aborted before stops at once", async () => {
  const reason = new Error("mine");
  await expect(model.generate("x", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("what a schema can't mean is told with its place", async () => {
  for (const properties of [5, "a", []])
    expect(await refused(model.generate("x", { schema: { type: "object", properties } as never }))).toBe(
      'schema: # "properties" is not an object of schemas by name',
    );
});

test("a prompt that is too long tells what to do", async () => {
  expect(await refused(model.generate("x".repeat(200)))).toMatch(/does not fit the context of 64: shorten it, or load/);
});

test.each([
  [{ contextLength: 0 }, "contextLength takes a whole number from 1, got 0"],
  [{ contextLength: -1 }, "contextLength takes a whole number from 1, got -1"],
  [{ contextLength: "x" }, "contextLength takes a whole number from 1, got x"],
  [{ contextLength: 2 ** 31 }, "contextLength takes a whole number from 1"],
  [{ chatTemplate: 5 }, "chatTemplate takes the text of a Jinja template"],
  [{ tokenizer: {} }, "tokenizer takes a Tokenizer"],
  [{ tokenizer: "x" }, "tokenizer takes a Tokenizer"],
  [{ signal: {} }, "signal takes an AbortSignal"],
  [null, "options are an object"],
])("while loading: %o", async (o, message) => {
  expect(await refused(textGeneration(tinyGguf(), (o && { ...options, ...o }) as never))).toContain(message);
});
