/** Our trained models give PyTorch's outputs, on every host backend. Models from examples/models, or ../shared/models. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { type HostTensor, load, type Session } from "../../src/index.ts";

const roots = ["../../examples/models/", "../../../shared/models/"].map((p) =>
  fileURLToPath(new URL(p, import.meta.url)),
);
const folderOf = (name: string): string | undefined =>
  roots.map((r) => r + name).find((f) => existsSync(`${f}/golden.json`));

const devices = {
  cpu: () => cpu(),
  wasm: () => wasm({ threads: 1 }),
  "wasm without relaxed SIMD": () => wasm({ threads: 1, features: { relaxedSimd: false } }),
  "wasm on two threads": () => wasm({ threads: 2 }),
};

const names = ["fraud-mlp", "mnist-mlp", "mnist-cnn", "cifar10-cnn", "spam-transformer", "movielens-recsys"];

interface GoldenCase {
  u8?: string;
  dims?: number[];
  [name: string]: unknown;
}

/** Inputs as the golden file has them: bytes of an image, or nested numbers by input name. */
function inputsOf(model: Session, c: GoldenCase): Record<string, HostTensor> {
  return Object.fromEntries(
    model.inputs.map(({ name, dtype, shape }): [string, HostTensor] => {
      if (c.u8 !== undefined) {
        const bytes = Buffer.from(c.u8, "base64");
        const dims = c.dims ?? [1, ...(shape!.slice(1) as number[])];
        return [name, { dtype: "f32", shape: dims, data: Float32Array.from(bytes, (b) => b / 255) }];
      }
      const nested = c[name] as number[] | number[][];
      const rows = Array.isArray(nested[0]) ? (nested as number[][]) : undefined;
      const flat = nested.flat();
      const dims = rows
        ? [rows.length, rows[0].length]
        : shape!.length === 2
          ? (c.dims ?? [1, flat.length])
          : [flat.length];
      const data = dtype === "i64" ? BigInt64Array.from(flat, BigInt) : Float32Array.from(flat);
      return [name, { dtype: dtype!, shape: dims, data }];
    }),
  );
}

for (const name of names) {
  const folder = folderOf(name);
  describe.skipIf(!folder)(folder ? name : `${name} (skipped: no such model here)`, () => {
    test.each(Object.entries(devices))("%s", async (_, device) => {
      const golden = JSON.parse(readFileSync(`${folder}/golden.json`, "utf8")) as { cases: GoldenCase[] };
      using model = await load(`${folder}/model.onnx`, { device: device() });
      const output = model.outputs[0].name;
      expect(golden.cases.length).toBeGreaterThan(0);
      for (const c of golden.cases) {
        const want = (c[output] as number[] | number[][]).flat();
        const got = (await model.run(inputsOf(model, c)))[output].data as Float32Array;
        expect(got.length).toBe(want.length);
        want.forEach((w, i) => {
          expect(Math.abs(got[i] - w)).toBeLessThanOrEqual(1e-4);
        });
      }
    });
  });
}
