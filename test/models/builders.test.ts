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

describe("weights that don't fit are refused by name before they run", () => {
  const zeros = (...shape: number[]) => hostTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), { shape });
  const sound = {
    mlp: { "fc1.weight": [4, 6], "fc1.bias": [4], "fc2.weight": [2, 4], "fc2.bias": [2], std: [6] },
    lenet: { "conv1.weight": [2, 1, 3, 3], "conv1.bias": [2], "bn1.weight": [2], "bn1.bias": [2] },
    resnet: { "stem.conv.weight": [1, 1, 3, 3], "layer1.a.conv.weight": [1, 1, 3, 3] },
  } satisfies Record<string, Record<string, number[]>>;
  for (const part of ["weight", "bias", "running_mean", "running_var"]) {
    Object.assign(sound.lenet, { [`bn1.${part}`]: [2] });
    for (const unit of ["stem", "layer1.a", "layer1.b"]) Object.assign(sound.resnet, { [`${unit}.bn.${part}`]: [1] });
  }
  Object.assign(sound.lenet, { "fc1.weight": [3, 8] });
  Object.assign(sound.resnet, { "layer1.b.conv.weight": [1, 1, 3, 3], "fc.weight": [3, 1] });
  const image = { inputShape: [1, 4, 4] as const };
  const builders = {
    mlp: (w: Weights) => mlp(w),
    lenet: (w: Weights) => lenet(w, image),
    resnet: (w: Weights) => resnet(w, image),
  };
  const built = (name: keyof typeof sound, other: Record<string, number[]> = {}): Graph =>
    builders[name](new Map(Object.entries({ ...sound[name], ...other }).map(([key, shape]) => [key, zeros(...shape)])));

  test.each([
    ["mlp", "fc1.bias", [3], "[4]"],
    ["mlp", "fc2.weight", [2, 5], "[any,4]"],
    ["mlp", "fc2.bias", [1], "[2]"],
    ["mlp", "fc2.bias", [], "[2]"],
    ["mlp", "std", [1], "[6]"],
    ["lenet", "conv1.weight", [2, 3, 3, 3], "[any,1,any,any]"],
    ["lenet", "conv1.weight", [2, 9], "[any,any,any,any]"],
    ["lenet", "conv1.bias", [1], "[2]"],
    ["lenet", "bn1.running_var", [1], "[2]"],
    ["lenet", "fc1.weight", [3, 9], "[any,8]"],
    ["resnet", "layer1.b.bn.bias", [2], "[1]"],
    ["resnet", "fc.weight", [3, 2], "[any,1]"],
  ] as const)("%s: %s %j", (name, weight, shape, expected) => {
    expect(() => built(name)).not.toThrow();
    const build = () => built(name, { [weight]: [...shape] });
    expect(build).toThrow(ShapeError);
    expect(build).toThrow(`weights: "${weight}" is f32[${shape}], expected ${expected}`);
  });

  test("resnet: a block that makes other channels than pass it", () => {
    const two = Object.fromEntries(
      ["weight", "bias", "running_mean", "running_var"].map((p) => [`layer1.b.bn.${p}`, [2]]),
    );
    expect(() => built("resnet", { ...two, "layer1.b.conv.weight": [2, 1, 3, 3] })).toThrow(
      'resnet: "layer1" makes f32[1,2,4,4] and f32[1,1,4,4] passes it',
    );
  });

  test("mlp: an input of another size than the first layer's", async () => {
    const weights = new Map([["fc1.weight", zeros(2, 6)]]);
    const wrong = () => mlp(weights, { inputShape: [4, 3] });
    expect(wrong).toThrow(ShapeError);
    expect(wrong).toThrow('mlp: inputShape [4,3] holds 12 elements, "fc1.weight" takes 6');
    using net = await compile(mlp(weights, { inputShape: [2, 3] }), { device: cpu() });
    expect((await net.run({ x: zeros(3, 2, 3) }))["y"].shape).toEqual([3, 2]);
  });

  test.each([undefined, { "fc1.weight": zeros(1, 2) }, new Map([["fc1.weight", [1, 2]]])])(
    "no weights: %o",
    (wrong) => {
      for (const build of Object.values(builders)) expect(() => build(wrong as never)).toThrow(InputError);
    },
  );
});

test("configurations that are wrong are refused, and layers go by their numbers", async () => {
  const w = new Map([["fc1.weight", hostTensor([[1, 2]])]]);
  expect(() => mlp(w, { activation: "gelu" as never })).toThrow('mlp: there is no activation "gelu"');
  expect(() => mlp(w, { inputs: "x" } as never)).toThrow('mlp: unknown option "inputs"; did you mean "input"?');
  expect(() => mlp(w, { inputShape: 2 as never })).toThrow("mlp: inputShape takes the dimensions after the batch");
  expect(() => mlp(w, { output: {} as never })).toThrow("mlp: output takes a name");
  const config = { inputShape: [2, 4, 4] } as const;
  for (const [wrong, told] of [
    [{}, "inputShape takes [channels, height, width]"],
    [{ inputShape: [1, "height", 4] }, "inputShape takes [channels, height, width]"],
    [{ ...config, batchNormEpsilon: "x" }, "batchNormEpsilon takes a number from 0"],
    [{ ...config, mean: ["a", "b"] }, "mean takes an array of 2 numbers, one a channel"],
    [{ ...config, std: [1] }, "std takes an array of 2 numbers, one a channel"],
    [{ ...config, std: [1, 0] }, "std takes no 0"],
  ] as const) {
    expect(() => lenet(w, wrong as never)).toThrow(InputError);
    expect(() => lenet(w, wrong as never)).toThrow(`lenet: ${told}`);
  }
  // conv1 to conv10 halve 1024 pixels to one: in another order, channels would not fit.
  const weights = new Map([["fc1.weight", hostTensor([new Array(11).fill(1)])]]);
  for (let i = 1; i <= 10; i++)
    weights.set(`conv${i}.weight`, hostTensor(new Float32Array(i * (i + 1)).fill(1), { shape: [i + 1, i, 1, 1] }));
  expect(() => lenet(weights, { inputShape: [1, 1024, 1024] })).not.toThrow();
});
