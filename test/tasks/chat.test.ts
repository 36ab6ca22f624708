/** What chat templates are given besides the texts of messages, as Transformers gives it. */
import { expect, test } from "vitest";
import type { PieceKind } from "../../src/formats/decoder/vocabulary.ts";
import { type ChatMessage, renderChat } from "../../src/tasks/language/chat.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { ByteLevelTokenizer } from "../../src/tasks/tokenizers/byte-level.ts";
import { tinyGguf } from "./tiny-gguf.ts";

const user: ChatMessage = { role: "user", content: "hello" };
const pieces = ["<s>", "</s>"];
const tokenizerOf = (kind: PieceKind, names: { begin?: number; end: number[] } = { begin: 0, end: [1] }) =>
  new ByteLevelTokenizer({ pieces, kinds: [kind, kind], merges: [], pattern: "gpt-2", ...names });

test.each(["control", "user", "normal"] as const)(
  "the first and the last token where their kind is %s",
  async (kind) => {
    const text = await renderChat("{{ bos_token }}a{{ eos_token }}", [user], tokenizerOf(kind));
    expect(text).toBe("<s>a</s>");
  },
);

test("nothing for a first and a last token that are not there", async () => {
  const tokenizer = tokenizerOf("control", { end: [] });
  expect(await renderChat("{{ bos_token }}a{{ eos_token }}", [user], tokenizer)).toBe("a");
});

test("tools and documents are none", async () => {
  const asks = (name: string): string =>
    `{% if ${name} is not none %}${name} are given{% endif %}{{ ${name} is defined }}`;
  const text = await renderChat(`${asks("tools")} ${asks("documents")}`, [user], tokenizerOf("control"));
  expect(text).toBe("true true");
});

test("messages of calls alone, as OpenAI writes them", async () => {
  const chatTemplate =
    "{% for m in messages %}{% if m.content is none %}{{ m.tool_calls[0].function.name }}{% else %}{{ m.content }}" +
    "{% endif %};{% endfor %}";
  using model = await textGeneration(tinyGguf({ chatTemplate }), { device: "cpu" });
  const call = { type: "function", function: { name: "look_up", arguments: "{}" } };
  const messages: ChatMessage[] = [user, { role: "assistant", content: null, tool_calls: [call] }];
  expect(await model.tokensOf(messages)).toEqual(model.tokenizer!.encode("hello;look_up;", { begin: false }));
});
