/**
 * Models for benchmarks: real topologies, random weights from a fixed seed, so the same bytes everywhere.
 * `npx tsx bench/models/generate.ts out/ [name...]` writes them as `.onnx` files.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { models } from "./models.ts";

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder = ".", ...names] = process.argv.slice(2);
  mkdirSync(folder, { recursive: true });
  for (const name of names.length ? names : Object.keys(models)) {
    const bytes = models[name].make();
    writeFileSync(join(folder, `${name}.onnx`), bytes);
    console.log(`${name}.onnx ${(bytes.length / 1e6).toFixed(1)} MB`);
  }
}
