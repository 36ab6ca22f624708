/** Classifiers of images as exporters leave them: small graphs made here. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { imageTensor, layoutOf } from "../../src/tasks/image/image.ts";
import { imageClassification } from "../../src/tasks/image-classification.ts";
import { objectDetection } from "../../src/tasks/object-detection.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { encodeModel, type NodeSpec, node } from "../onnx/encode.ts";

const options = { device: "wasm", threads: 1 } as const;
const scratch = await mkdtemp(join(tmpdir(), "forwardpass-vision-"));
afterAll(() => rm(scratch, { recursive: true }));
const f32 = (shape: number[], ...values: number[]): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});
const image = { width: 4, height: 4, data: new Uint8Array(48).map((_, i) => (i * 37) % 256) };
type Dims = (number | string)[];

/** Means of the three channels, times 1, 2 and 3, then what `end` makes of "l"; `first` are floats that it gives before logits. */
const classifier = (
  end: NodeSpec[],
  dtype: "f16" | "f32" | "i64" = "f32",
  shape: Dims = ["b", 3, 4, 4],
  first: string[] = [],
) =>
  encodeModel({
    inputs: [{ name: "pixel_values", dtype: "f32", shape }],
    initializers: {
      w: f32([3, 3], 1, 0, 0, 0, 2, 0, 0, 0, 3),
      axes: hostTensor(BigInt64Array.of(2n, 3n)),
      step: f32([], 2 ** -12),
      nought: { dtype: "u16", shape: [], data: Uint16Array.of(0) },
      flat: hostTensor(BigInt64Array.of(3n)),
    },
    nodes: [
      node("ReduceMean", ["pixel_values", "axes"], ["m"], { keepdims: { int: 0 } }),
      node("MatMul", ["m", "w"], ["l"]),
      ...end,
    ],
    outputs: [...first.map((name) => ({ name, dtype: "f32" as const })), { name: "logits", dtype }],
  });
const cast = (from: string, to: string, dtype: number) => node("Cast", [from], [to], { to: { int: dtype } });
const [toF32, toI64, toF16] = [1, 7, 10];

/** In the order of the classes. */
async function scoresOf(model: Uint8Array, given: object = {}): Promise<number[]> {
  using opened = await imageClassification(model, { ...options, ...given });
  return (await opened.classify(image)).sort((a, b) => a.index - b.index).map((s) => s.score);
}
const close = (got: readonly number[], want: readonly number[], digits: number): void => {
  expect(got).toHaveLength(want.length);
  got.forEach((v, i) => {
    expect(v).toBeCloseTo(want[i], digits);
  });
};

test("a graph in onnx/ is prepared for and labelled as the files around it say, however it is named", async () => {
  const folder = await mkdtemp(join(scratch, "optimum-"));
  await mkdir(join(folder, "onnx"));
  const model = classifier([node("Identity", ["l"], ["logits"])]);
  const beside = {
    "config.json": JSON.stringify({ id2label: { 0: "calm", 1: "glad", 2: "sad" } }),
    "preprocessor_config.json": JSON.stringify({ image_mean: [0.5, 0.4, 0.3], image_std: [0.2, 0.3, 0.4] }),
    "onnx/model.onnx": model,
  };
  for (const [name, content] of Object.entries(beside)) await writeFile(join(folder, name), content);
  using alone = await imageClassification(model, {
    ...options,
    mean: [0.5, 0.4, 0.3],
    std: [0.2, 0.3, 0.4],
    labels: ["calm", "glad", "sad"],
  });
  const want = await alone.classify(image);
  const paths = [folder, join(folder, "onnx", "model.onnx")];
  const check = async () => {
    for (const path of paths) {
      using opened = await imageClassification(path, options);
      expect(await opened.classify(image), path).toEqual(want);
    }
  };
  await check();
  // Weights for another library are no reason to look elsewhere.
  await writeFile(join(folder, "model.safetensors"), "");
  await check();
});

test("folders without a graph are told so, and how to get one", async () => {
  const folder = await mkdtemp(join(scratch, "weights-"));
  await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: "vit" }));
  const weights = join(folder, "model.safetensors");
  await writeFile(weights, writeSafetensors(new Map([["vit.layernorm.bias", f32([2], 1, 2)]])));
  for (const open of [imageClassification, objectDetection])
    for (const path of [folder, weights, join(folder, "config.json")]) {
      const opened = open(path, options);
      await expect(opened).rejects.toThrow(InputError);
      await expect(opened).rejects.toThrow(/no ONNX graph beside it.*`optimum-cli export onnx`/);
    }
  // One that is named otherwise is found by its path.
  await writeFile(join(folder, "vit.onnx"), classifier([node("Identity", ["l"], ["logits"])]));
  using model = await imageClassification(join(folder, "vit.onnx"), options);
  expect(await model.classify(image)).toHaveLength(3);
});

test("labels that are no list of names, and scorings that there are not, are refused", async () => {
  const model = classifier([node("Identity", ["l"], ["logits"])]);
  for (const given of [{ labels: "cat" }, { labels: [1, 2, 3] }, { scoring: "max" }])
    await expect(imageClassification(model, { ...options, ...given } as object)).rejects.toThrow(InputError);
  await expect(objectDetection(model, { ...options, labels: { 0: "cat" } } as object)).rejects.toThrow(InputError);
});

describe("scores of classes", () => {
  test.each<[string, NodeSpec[]]>([
    ["nothing", [node("Softmax", ["l"], ["logits"])]],
    ["Identity", [node("Softmax", ["l"], ["s"]), node("Identity", ["s"], ["logits"])]],
    ["Reshape", [node("Softmax", ["l"], ["s"]), node("Reshape", ["s", "flat"], ["logits"])]],
    ["Flatten", [node("Softmax", ["l"], ["s"]), node("Flatten", ["s"], ["logits"])]],
    ["Cast", [cast("l", "h", toF16), node("Softmax", ["h"], ["s"]), cast("s", "logits", toF32)]],
    [
      "QuantizeLinear and DequantizeLinear",
      [
        node("Softmax", ["l"], ["s"]),
        node("QuantizeLinear", ["s", "step", "nought"], ["q"]),
        node("DequantizeLinear", ["q", "step", "nought"], ["logits"]),
      ],
    ],
    [
      "Cast and Reshape",
      [
        cast("l", "h", toF16),
        node("Softmax", ["h"], ["s"]),
        cast("s", "c", toF32),
        node("Reshape", ["c", "flat"], ["logits"]),
      ],
    ],
  ])("a softmax with %s behind it counts once", async (_, end) => {
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]));
    close(await scoresOf(classifier(end)), want, 3);
  });

  test("a sigmoid with Cast behind it counts once", async () => {
    const end = [cast("l", "h", toF16), node("Sigmoid", ["h"], ["s"]), cast("s", "logits", toF32)];
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]), { scoring: "sigmoid" });
    close(await scoresOf(classifier(end)), want, 3);
  });

  test("of several outputs logits are judged by", async () => {
    const features = node("Concat", ["l", "l"], ["features"], { axis: { int: 1 } });
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]));
    expect(
      await scoresOf(classifier([features, node("Identity", ["l"], ["logits"])], "f32", undefined, ["features"])),
    ).toEqual(want);
  });

  test("half floats are numbers; integers are no scores", async () => {
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]));
    close(await scoresOf(classifier([cast("l", "logits", toF16)], "f16")), want, 3);
    const whole = scoresOf(classifier([cast("l", "logits", toI64)], "i64"));
    await expect(whole).rejects.toThrow(UnsupportedOpError);
    await expect(whole).rejects.toThrow(/output "logits" is i64\[1,3\]/);
  });

  test("outputs of more than one row are no scores of classes", async () => {
    const end = (...shape: number[]) => [
      node("Concat", ["l", "l"], ["ll"], { axis: { int: 0 } }),
      node("Constant", [], ["shape"], { value: { tensor: hostTensor(BigInt64Array.from(shape, BigInt)) } }),
      node("Reshape", ["ll", "shape"], ["logits"]),
    ];
    for (const shape of [
      [2, 3],
      [1, 3, 2],
      [1, 1, 6, 1],
    ]) {
      const scores = scoresOf(classifier(end(...shape)));
      if (shape.includes(6)) expect(await scores).toHaveLength(6);
      else await expect(scores).rejects.toThrow(UnsupportedOpError);
      if (!shape.includes(6)) await expect(scores).rejects.toThrow(`output "logits" is f32[${shape}]`);
    }
  });
});

describe("pixels of models", () => {
  const plain = [node("Identity", ["l"], ["logits"])];
  /** A folder with the classifier and these files. */
  async function folderOf(files: Record<string, object>, shape?: Dims): Promise<string> {
    const folder = await mkdtemp(join(scratch, "model-"));
    await writeFile(join(folder, "model.onnx"), classifier(plain, "f32", shape));
    for (const [name, json] of Object.entries(files)) await writeFile(join(folder, name), JSON.stringify(json));
    return folder;
  }
  /** Means of the channels as the model sees them. */
  async function seen(preprocessor: object, given: object = {}): Promise<number[]> {
    const folder = await folderOf({ "preprocessor_config.json": preprocessor });
    using opened = await imageClassification(folder, { ...options, ...given });
    const scores = (await opened.classify(image)).sort((a, b) => a.index - b.index);
    return scores.map((s, i) => s.logit / (i + 1));
  }
  const means = [0, 1, 2].map((c) => image.data.filter((_, i) => i % 3 === c).reduce((a, b) => a + b, 0) / 16);

  test("channels without a number come first, three of them, or as many as config.json says", async () => {
    const input = (shape: Dims, free?: number) => layoutOf({ name: "x", dtype: "f32", shape }, free);
    const optimum = ["batch_size", "num_channels", "height", "width"];
    expect(input(optimum)).toMatchObject({ channels: 3, channelsFirst: true, height: "height", width: "width" });
    expect(input(["b", "c", 8, 9], 1)).toMatchObject({ channels: 1, channelsFirst: true, height: 8, width: 9 });
    expect(input(["?", "?", "?", "?"])).toMatchObject({ channels: 3, channelsFirst: true });
    expect(input(["b", "h", "w", 3], 1)).toMatchObject({ channels: 3, channelsFirst: false, height: "h" });
    expect(input(["b", "h", "w", "channels"])).toMatchObject({ channels: 3, channelsFirst: false, height: "h" });
    expect(() => input(optimum, 4)).toThrow(/of 4 channels/);
    expect(() => input(["b", 4, 8, 8])).toThrow(UnsupportedOpError);
    expect(() => input(["b", "c", "n"])).toThrow(UnsupportedOpError);

    const want = await scoresOf(classifier(plain));
    expect(await scoresOf(classifier(plain, "f32", optimum))).toEqual(want);
    const strange = await folderOf({ "config.json": { num_channels: 4 } }, optimum);
    await expect(imageClassification(strange, options)).rejects.toThrow(/of 4 channels/);
  });

  test("pixels are bytes", async () => {
    using opened = await imageClassification(classifier(plain), options);
    for (const data of [undefined, null, [1, 2, 3], new Float32Array(3), new Uint16Array(3), new ArrayBuffer(3)]) {
      const refused = opened.classify({ width: 1, height: 1, data } as never);
      await expect(refused).rejects.toThrow(InputError);
      await expect(refused).rejects.toThrow(/Uint8Array/);
    }
    expect(await opened.classify({ width: 1, height: 1, data: Buffer.alloc(3) })).toHaveLength(3);
  });

  test("mean and std are one number a channel", async () => {
    for (const given of [{ mean: [0.5] }, { std: [0.5, 0.5] }, { mean: [0, 0, 0, 0] }])
      await expect(imageClassification(classifier(plain), { ...options, ...given })).rejects.toThrow(
        /numbers for 3 channels/,
      );
    await expect(seen({ image_mean: [0.5] })).rejects.toThrow(InputError);
    close(
      await seen({ image_mean: 0.5, image_std: 0.25 }),
      means.map((v) => (v / 255 - 0.5) / 0.25),
      4,
    );
  });

  test("a file's factor, offset and order of channels", async () => {
    const scaled = (of: (v: number) => number) => means.map(of);
    close(
      await seen({}),
      scaled((v) => v / 255),
      4,
    );
    close(
      await seen({ do_rescale: false }),
      scaled((v) => v),
      2,
    );
    close(
      await seen({ rescale_factor: 1 / 127.5, rescale_offset: true }),
      scaled((v) => v / 127.5 - 1),
      4,
    );
    close(
      await seen({ rescale_factor: 1 / 128, image_mean: [0.1, 0.2, 0.3] }, { std: [0.5, 0.5, 0.5] }),
      means.map((v, c) => (v / 128 - [0.1, 0.2, 0.3][c]) / 0.5),
      4,
    );
    close(await seen({ do_flip_channel_order: true }), scaled((v) => v / 255).reverse(), 4);
    await expect(seen({ rescale_factor: "1/255" })).rejects.toThrow(FormatError);
    await expect(seen({ rescale_factor: 0 })).rejects.toThrow(FormatError);
    const bytes = layoutOf({ name: "x", dtype: "u8", shape: ["n", "h", "w", 3] });
    const red = { width: 1, height: 1, data: Uint8Array.of(200, 100, 50) };
    expect([...imageTensor(red, bytes, { flipped: true }).data]).toEqual([50, 100, 200]);
  });
});
