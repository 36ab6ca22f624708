/** A page with text tasks, as users bundle one: it hands over the optional packages that are in its bundle. */
import { providePeer } from "../../src/index.ts";
import { embeddings, textGeneration } from "../../src/tasks/index.ts";

export const app = {
  async provide(): Promise<void> {
    providePeer("@huggingface/tokenizers", await import("@huggingface/tokenizers"));
    providePeer("@huggingface/jinja", await import("@huggingface/jinja"));
  },

  /** The vector of a text, by the folder under this path. */
  async embed(path: string, text: string): Promise<number[]> {
    using model = await embeddings(new URL(path, location.href));
    return [...(await model.embed(text))];
  },

  /** The likeliest answer of the file under this path, as it streams. */
  async chat(path: string, content: string): Promise<string[]> {
    using model = await textGeneration(path);
    const pieces: string[] = [];
    for await (const piece of model.stream([{ role: "user", content }], { temperature: 0, maxTokens: 12 }))
      pieces.push(piece);
    return pieces;
  },
};
Object.assign(globalThis, { app });
