/** Our trained models give PyTorch's outputs, on every backend. Models from examples/models, or ../shared/models. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import { load } from "../../src/index.ts";
import { installDawn } from "../gpu/dawn.ts";
import { wasmDevices } from "../wasm/workers.ts";
import { type GoldenCase, worstDifference } from "./golden.ts";

const roots = ["../../examples/models/", "../../../shared/models/"].map((p) =>
  fileURLToPath(new URL(p, import.meta.url)),
);
const folderOf = (name: string): string | undefined =>
  roots.map((r) => r + name).find((f) => existsSync(`${f}/golden.json`));

const devices = {
  cpu: () => cpu(),
  ...(await wasmDevices()),
  webgpu: async () => {
    await installDawn();
    return openWebgpu();
  },
};

const names = ["fraud-mlp", "mnist-mlp", "mnist-cnn", "cifar10-cnn", "spam-transformer", "movielens-recsys"];

for (const name of names) {
  const folder = folderOf(name);
  describe.skipIf(!folder)(folder ? name : `${name} (skipped: no such model here)`, () => {
    test.each(Object.entries(devices))("%s", async (_, device) => {
      const golden = JSON.parse(readFileSync(`${folder}/golden.json`, "utf8")) as { cases: GoldenCase[] };
      using model = await load(`${folder}/model.onnx`, { device: await device() });
      expect(golden.cases.length).toBeGreaterThan(0);
      expect(await worstDifference(model, golden.cases)).toBeLessThanOrEqual(1e-4);
    });
  });
}
