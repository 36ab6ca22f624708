/** The arrows between layers go one way: parses every import of src and fails on one that points up. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));

/** For each layer, the layers it may import. A layer may always import itself. */
const allowed: Record<string, readonly string[]> = {
  tensor: [],
  ops: ["tensor"],
  "backends/backend.ts": ["ops", "tensor"],
  "backends/cpu": ["backends/backend.ts", "ops", "tensor"],
  // What has no wasm kernel runs its cpu kernel on the same memory.
  "backends/wasm": ["backends/backend.ts", "backends/cpu", "ops", "tensor"],
  // With a fallback to the host, which runs cpu kernels.
  "backends/webgpu": ["backends/backend.ts", "backends/cpu", "ops", "tensor"],
  "backends/gpujs": ["backends/backend.ts", "ops", "tensor"],
  graph: ["backends/backend.ts", "ops", "tensor"],
  formats: ["models", "graph", "ops", "tensor"],
  models: ["graph", "ops", "tensor"],
  tasks: ["models", "formats", "graph", "backends", "root", "ops", "tensor"],
  cli: ["tasks", "models", "formats", "graph", "backends", "root", "ops", "tensor"],
  root: ["tasks", "models", "formats", "graph", "backends", "ops", "tensor"],
};

const layerOf = (file: string): string => {
  const parts = relative(src, file).split(/[\\/]/);
  if (parts.length === 1) return "root";
  return parts[0] === "backends" ? `backends/${parts[1]}` : parts[0];
};

const files = (readdirSync(src, { recursive: true }) as string[])
  .filter((f) => f.endsWith(".ts"))
  .map((f) => join(src, f));
const importPattern = /(?:from|import)\s*\(?\s*(?:\/\*.*?\*\/\s*)*"(\.[^"]+)"/g;

test("imports respect the layers", () => {
  const wrong: string[] = [];
  for (const file of files) {
    const from = layerOf(file);
    expect(allowed[from], `${relative(src, file)} is in no known layer`).toBeDefined();
    for (const [, target] of readFileSync(file, "utf8").matchAll(importPattern)) {
      const to = layerOf(resolve(dirname(file), target));
      const ok = to === from || allowed[from].some((a) => to === a || to.startsWith(`${a}/`));
      if (!ok) wrong.push(`${relative(src, file)} (${from}) -> ${target} (${to})`);
    }
  }
  expect(wrong).toEqual([]);
});

test("no file of src uses eval or new Function", () => {
  for (const file of files) expect(readFileSync(file, "utf8"), file).not.toMatch(/\beval\(|new Function\(/);
});
