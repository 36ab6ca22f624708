/** A transformer reads text messages: tokens in, spam or not out. */
import { textClassification } from "../../src/tasks/index.ts";
import { logitsOf, modelPath, readGolden, readText } from "./golden.ts";
import { clip, ms, percent, styled, table, truth } from "./print.ts";
import { announced, type Section, timed } from "./section.ts";

interface Message {
  row: number;
  label: "ham" | "spam";
  text: string;
}

export const spam: Section = {
  title: "Is this message spam?",
  about: "text -> tokens -> transformer -> spam or not",
  async run(device, check) {
    const path = modelPath("spam-transformer/model.onnx");
    using model = await announced(path, "spam-transformer", () => textClassification(path, { device }));
    const golden = await readGolden("spam-transformer");
    const lines = (await readText(modelPath("spam-transformer/messages.jsonl"))).trim().split("\n");
    const messages = lines.map((line) => JSON.parse(line) as Message);
    await model.classify(messages[0].text);
    const print = table([
      { title: "message", width: 34 },
      { title: "spam?", width: 6, right: true },
      { title: "verdict", width: 7 },
      { title: "time", width: 8, right: true },
      { title: "in fact", width: 18 },
    ]);
    for (const { row, label, text } of messages) {
      const [scores, time] = await timed(() => model.classify(text));
      check.compare(logitsOf(scores), golden.get(row)?.logits);
      const p = scores.find((s) => s.label === "spam")!.score;
      const verdict = p >= 0.5 ? "spam" : "fine";
      const fact = label === "spam" ? "spam" : "fine";
      const shown = styled(p >= 0.5 ? "red" : "green", verdict);
      print(clip(text, 34), percent(p), shown, ms(time), truth(fact, fact === verdict));
    }
  },
};
