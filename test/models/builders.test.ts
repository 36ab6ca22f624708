/** The builders over safetensors weights give the same outputs as PyTorch. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { fileSource } from "../../src/formats/sources/file.ts";
import { compile, type Graph, hostTensor, InputError, ShapeError } from "../../src/index.ts";
import { lenet, resnet } from "../../src/models/cnn.ts";
import { mlp } from "../../src/models/mlp.ts";
import type { Weights } from "../../src/models/weights.ts";

const shared = fileURLToPath(new URL("../../../shared/models/", import.meta.url));

async function weightsOf(name: string): Promise<Weights> {
  const file = await readSafetensors(await fileSource(`${shared}${name}/model.safetensors`));
  const entries = await Promise.all([...file.tensors].map(async ([key, t]) => [key, await t.read()] as const));
  return new Map(entries);
}

const config = (name: string) => JSON.parse(readFileSync(`${shared}${name}/config.json`, "utf8"));

const models: Record<string, (weights: Weights) => Graph> = {
  "fraud-mlp": (w) => mlp(w, { input: "features", output: "risk", final: "sigmoid" }),
  "mnist-mlp": (w) => mlp(w, { input: "image", output: "logits", inputShape: [1, 28, 28] }),
  "mnist-cnn": (w) => lenet(w, { inputShape: [1, 28, 28] }),
  "cifar10-cnn": (w) => {
    const { mean, std } = config("cifar10-cnn");
    return resnet(w, { inputShape: [3, 32, 32], mean, std });
  },
};

describe.skipIf(!existsSync(shared))(
  existsSync(shared) ? "builders" : "builders (skipped: ../shared is absent)",
  () => {
    test.each(Object.entries(models))("%s", async (name, build) => {
      using net = await compile(build(await weightsOf(name)), { device: cpu() });
      const golden = JSON.parse(readFileSync(`${shared}${name}/golden.json`, "utf8"));
      const [{ name: input, shape }] = net.inputs;
      const [{ name: output }] = net.outputs;
      for (const c of golden.cases.slice(0, 4)) {
        const data = c.u8
          ? Float32Array.from(Buffer.from(c.u8, "base64"), (b) => b / 255)
          : Float32Array.from(c[input]);
        const x = hostTensor(data, { shape: [1, ...(shape!.slice(1) as number[])] });
        const got = (await net.run({ [input]: x }))[output].data as Float32Array;
        (c[output] as number[]).flat().forEach((want: number, i: number) => {
          expect(Math.abs(got[i] - want)).toBeLessThanOrEqual(1e-4);
        });
      }
    });
  },
);

describe("wrong weights", () => {
  test("a missing weight is named", () => {
    expect(() => mlp(new Map())).toThrow(InputError);
    const w = new Map([
      ["fc1.weight", hostTensor([[1, 2]])],
      ["mean", hostTensor([1, 2, 3])],
    ]);
    expect(() => mlp(w)).toThrow(ShapeError);
    expect(() => mlp(w)).toThrow(/"mean" is f32\[3\], expected \[2\]/);
  });
});

test("configurations that are wrong are refused, and layers go by their numbers", async () => {
  const w = new Map([["fc1.weight", hostTensor([[1, 2]])]]);
  expect(() => mlp(w, { activation: "gelu" as never })).toThrow('mlp: there is no activation "gelu"');
  expect(() => mlp(w, { inputs: "x" } as never)).toThrow('mlp: unknown option "inputs"; did you mean "input"?');
  expect(() => lenet(w, {} as never)).toThrow("lenet: inputShape takes [channels, height, width]");
  // conv1 to conv10 halve 1024 pixels to one: in another order, channels would not fit.
  const weights = new Map([["fc1.weight", hostTensor([new Array(11).fill(1)])]]);
  for (let i = 1; i <= 10; i++)
    weights.set(`conv${i}.weight`, hostTensor(new Float32Array(i * (i + 1)).fill(1), { shape: [i + 1, i, 1, 1] }));
  expect(() => lenet(weights, { inputShape: [1, 1024, 1024] })).not.toThrow();
});
