/**
 * Loads a GGUF file, reads a prompt, goes on from it, and prints bytes: the most that was resident, and of the caches.
 * FILE [TOKENS] (that it goes on with; 40 if not told)
 */

import { peakBytes } from "../../../bench/src/peak-bytes.ts";
import { textGeneration } from "../../../src/tasks/text-generation.ts";

const { decoder } = await textGeneration(process.argv[2], { device: "wasm", threads: 1, contextLength: 512 });
const sequence = decoder.sequence();
await sequence.feed(Array.from({ length: 64 }, (_, i) => 300 + i));
for (let i = 0; i < Number(process.argv[3] ?? 40); i++) {
  const logits = await sequence.feed([300 + i]);
  sequence.recycle?.(logits);
}
console.log(JSON.stringify({ peak: peakBytes(), caches: sequence.bytes }));
process.exit(0);
