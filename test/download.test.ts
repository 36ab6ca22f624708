/** What a page downloads stays small. `npx tsx scripts/download.ts MODEL` shows what is in it. */
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { measureDownload, sizeOfChunks } from "../scripts/download.ts";

/** kB of gzip: everything that a page fetches to run the model on wasm. */
const budgets: Record<string, number> = { "mnist-mlp": 72, "cifar10-cnn": 88, "spam-transformer": 88 };

test("a page downloads less than 90 kB for a network of each kind, in few chunks", async () => {
  const path = (name: string): string =>
    fileURLToPath(new URL(`../examples/models/${name}/model.onnx`, import.meta.url));
  const { models, everything } = await measureDownload(new Map(Object.keys(budgets).map((name) => [name, path(name)])));
  for (const [name, chunks] of models) {
    console.log(`${name}: ${sizeOfChunks(chunks).toFixed(1)} kB in ${chunks.length} chunks`);
    expect(sizeOfChunks(chunks), name).toBeGreaterThan(30);
    expect(sizeOfChunks(chunks), name).toBeLessThan(budgets[name]);
    expect(chunks.length, name).toBeLessThan(25);
  }
  console.log(`all that any model could ask for: ${everything.toFixed(1)} kB`);
});
