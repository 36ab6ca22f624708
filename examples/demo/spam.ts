/** A transformer reads text messages: tokens in, spam or not out. */
import { Tokenizer } from "@huggingface/tokenizers";
import type { HostTensor } from "../../src/index.ts";
import { modelPath, readGolden, readJson, readText } from "./golden.ts";
import { clip, ms, percent, styled, table, truth } from "./print.ts";
import { open, type Section, timed } from "./section.ts";
import { probabilities } from "./softmax.ts";

interface Message {
  row: number;
  label: "ham" | "spam";
  text: string;
}

/** The model has seen no longer messages. */
const longest = 128;

export const spam: Section = {
  title: "Is this message spam?",
  about: "text -> tokens -> transformer -> spam or not",
  async run(device, check) {
    const session = await open(modelPath("spam-transformer/model.onnx"), "spam-transformer", device);
    const tokenizer = new Tokenizer(await readJson<object>(modelPath("spam-transformer/tokenizer.json")), {});
    const golden = await readGolden("spam-transformer");
    const lines = (await readText(modelPath("spam-transformer/messages.jsonl"))).trim().split("\n");
    const messages = lines.map((line) => JSON.parse(line) as Message);
    await session.run(tokenize(tokenizer, messages[0].text));
    const print = table([
      { title: "message", width: 34 },
      { title: "spam?", width: 6, right: true },
      { title: "verdict", width: 7 },
      { title: "time", width: 8, right: true },
      { title: "in fact", width: 18 },
    ]);
    for (const { row, label, text } of messages) {
      const inputs = tokenize(tokenizer, text);
      const [{ logits }, time] = await timed(() => session.run(inputs));
      check.compare(logits.data as Float32Array, golden.get(row)?.logits);
      const [, p] = probabilities(logits.data as Float32Array);
      const verdict = p >= 0.5 ? "spam" : "fine";
      const fact = label === "spam" ? "spam" : "fine";
      const shown = styled(p >= 0.5 ? "red" : "green", verdict);
      print(clip(text, 34), percent(p), shown, ms(time), truth(fact, fact === verdict));
    }
    session.dispose();
  },
};

/** Word pieces as numbers, i64 [1, length], between the pieces that mark start and end. */
function tokenize(tokenizer: Tokenizer, text: string): Record<"input_ids" | "attention_mask", HostTensor> {
  const { ids } = tokenizer.encode(text);
  const cut = ids.length > longest ? [...ids.slice(0, longest - 1), ids[ids.length - 1]] : ids;
  const row = (values: readonly number[]): HostTensor => ({
    dtype: "i64",
    shape: [1, values.length],
    data: BigInt64Array.from(values, BigInt),
  });
  return { input_ids: row(cut), attention_mask: row(cut.map(() => 1)) };
}
