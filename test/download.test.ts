/** What a page downloads stays small. `npx tsx scripts/download.ts MODEL` shows what is in it. */
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { measureDownload, type Page, sizeOfChunks } from "../scripts/download.ts";

/** kB of gzip: everything that a page fetches to run the model. */
const budgets: Readonly<Record<Page["device"], Readonly<Record<string, number>>>> = {
  wasm: { "mnist-mlp": 75, "cifar10-cnn": 90, "spam-transformer": 90 },
  webgpu: { "mnist-mlp": 80, "cifar10-cnn": 90, "spam-transformer": 98 },
};

test("a page downloads less than 100 kB for a network of each kind, on wasm 90, in few chunks", async () => {
  const path = (name: string): string =>
    fileURLToPath(new URL(`../examples/models/${name}/model.onnx`, import.meta.url));
  const pages = Object.entries(budgets).flatMap(([device, models]) =>
    Object.entries(models).map(([name, budget]) => ({ name, budget, device: device as Page["device"] })),
  );
  const named = new Map(
    pages.map(({ name, device }): [string, Page] => [`${name} on ${device}`, { path: path(name), device }]),
  );
  const { models, everything } = await measureDownload(named);
  for (const { name, device, budget } of pages) {
    const chunks = models.get(`${name} on ${device}`)!;
    console.log(`${name} on ${device}: ${sizeOfChunks(chunks).toFixed(1)} kB in ${chunks.length} chunks`);
    expect(sizeOfChunks(chunks), name).toBeGreaterThan(30);
    expect(sizeOfChunks(chunks), name).toBeLessThan(budget);
    expect(chunks.length, name).toBeLessThan(device === "wasm" ? 25 : 40);
  }
  console.log(`all that any model could ask for: ${everything.toFixed(1)} kB`);
}, 300_000);
