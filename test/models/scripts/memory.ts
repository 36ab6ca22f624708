/** Loads a GGUF file, reads a prompt, goes on from it, and prints what memory the process then holds: FILE. */
import { textGeneration } from "../../../src/tasks/text-generation.ts";

const { decoder } = await textGeneration(process.argv[2], { device: "wasm", threads: 1, contextLength: 512 });
const sequence = decoder.sequence();
await sequence.feed(Array.from({ length: 64 }, (_, i) => 300 + i));
for (let i = 0; i < 8; i++) await sequence.feed([5]);
console.log(JSON.stringify({ rss: process.memoryUsage.rss(), caches: sequence.bytes }));
process.exit(0);
