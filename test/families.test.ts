/** Kernels are loaded by the names of their operators: a family has to name all of its own and no others. */
import { expect, test } from "vitest";
import type { KernelFamily, Step } from "../src/backends/backend.ts";
import { families } from "../src/backends/cpu/index.ts";
import { wasmFeatures } from "../src/backends/wasm/features.ts";
import { familiesFor } from "../src/backends/wasm/index.ts";
import { familiesFor as gpuFamiliesFor } from "../src/backends/webgpu/index.ts";
import { isDType } from "../src/tensor/dtype.ts";
import { everything } from "./gpu/targets.ts";

const all: [string, readonly KernelFamily<Step>[]][] = [
  ["cpu", families],
  ["wasm", familiesFor({ features: wasmFeatures(), threads: 1, parallelWork: 0 })],
  ["webgpu", gpuFamiliesFor(everything)],
];

test.each(all)("families of %s name exactly the operators that they have kernels for", async (_, list) => {
  for (const [names, load] of list) {
    const kernels = await load();
    expect(kernels.length).toBeGreaterThan(0);
    // Asked for by a dtype: its kernels are beside those of other families.
    if (names === "*" || names.split(" ").every(isDType)) continue;
    const named = [...new Set(names.split(" ").map((name) => name.replace(/[:+].*/, "")))];
    expect([...new Set(kernels.map((k) => k.op.name))].sort()).toEqual(named.sort());
  }
});
