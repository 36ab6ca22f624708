/** Classifiers and detectors of images as exporters leave them: small graphs made here. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
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

/** Means of the three channels, times 1, 2 and 3, then what `end` makes of "l". */
const classifier = (end: NodeSpec[], dtype: "f16" | "f32" | "i64" = "f32", shape: Dims = ["b", 3, 4, 4]) =>
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
    outputs: [{ name: "logits", dtype }],
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

  test("half floats are numbers; integers are no scores", async () => {
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]));
    close(await scoresOf(classifier([cast("l", "logits", toF16)], "f16")), want, 3);
    const whole = scoresOf(classifier([cast("l", "logits", toI64)], "i64"));
    await expect(whole).rejects.toThrow(UnsupportedOpError);
    await expect(whole).rejects.toThrow(/output "logits" is i64\[1,3\]/);
  });
});

describe("detectors", () => {
  /** Gives these boxes, `x, y, w, h, scores...`, for images of 8 x 8, and empty ones up to eight. */
  const detector = (list: number[][], { shape = [1, 3, 8, 8], dtype = "f32", metadata = {} }: DetectorSpec = {}) => {
    const rows = Array.from(list[0], (_, r) => Array.from({ length: 8 }, (_, i) => list[i]?.[r] ?? 0));
    return encodeModel({
      metadata,
      inputs: [{ name: "images", dtype: "f32", shape }],
      initializers: {
        k: f32([1, rows.length, 8], ...rows.flat()),
        zero: f32([1], 0),
        axes: hostTensor(BigInt64Array.of(1n, 2n, 3n)),
      },
      nodes: [
        node("ReduceSum", ["images", "axes"], ["s"], { keepdims: { int: 0 } }),
        node("Mul", ["s", "zero"], ["sz"]),
        node("Add", ["k", "sz"], ["sum"]),
        cast("sum", "output0", { f32: toF32, f16: toF16, i64: toI64 }[dtype]),
      ],
      outputs: [{ name: "output0", dtype }],
    });
  };
  interface DetectorSpec {
    shape?: Dims;
    dtype?: "f32" | "f16" | "i64";
    metadata?: Record<string, string>;
  }
  const square = { width: 8, height: 8, data: new Uint8Array(192) };
  const flat = { width: 16, height: 8, data: new Uint8Array(384) };
  async function found(model: Uint8Array, pixels = square, given: object = {}) {
    using opened = await objectDetection(model, options);
    return await opened.detect(pixels, given);
  }

  test("boxes end at the image's edges; those beyond it, and what is no number, are left out", async () => {
    const [whole] = await found(detector([[4, 4, 40, 40, 0.9, 0.1]]), flat);
    expect(whole.box).toEqual({ x: 0, y: 0, width: 16, height: 8 });
    // The image is in the middle four rows of eight.
    const inPadding = [
      [4, 0.5, 2, 0.6, 0.9, 0.1],
      [4, 7.5, 2, 0.6, 0.1, 0.9],
      [-5, 4, 2, 2, 0.9, 0.1],
      [20, 4, 2, 2, 0.9, 0.1],
      [4, 4, -2, 2, 0.9, 0.1],
      [4, 4, 0, 0, 0.9, 0.1],
    ];
    expect(await found(detector(inPadding), flat)).toEqual([]);
    for (const strange of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      for (let k = 0; k < 4; k++) {
        const box = [4, 4, 2, 2, 0.9, 0.1];
        box[k] = strange;
        expect(await found(detector([box]))).toEqual([]);
      }
  });

  test("what is left out takes no places", async () => {
    const boxes = [
      [4, 0.5, 2, 0.6, 0.9, 0.1],
      [4, 4, 4, 2, 0.1, 0.8],
      [4, 4, 2, 2, 0.7, 0.1],
    ];
    const seen = await found(detector(boxes), flat, { limit: 1 });
    expect(seen.map((o) => o.label)).toEqual(["class 1", "class 0"]);
    expect(seen[0].box).toEqual({ x: 4, y: 2, width: 8, height: 4 });
    expect(seen[0].score).toBeCloseTo(0.8, 6);
    expect(seen[1].score).toBeCloseTo(0.7, 6);
  });

  test("half floats are numbers; integers are refused", async () => {
    const boxes = [[4, 4, 4, 2, 0.75, 0.125]];
    expect(await found(detector(boxes, { dtype: "f16" }))).toEqual([
      { label: "class 0", score: 0.75, box: { x: 2, y: 3, width: 4, height: 2 } },
    ]);
    await expect(found(detector(boxes, { dtype: "i64" }))).rejects.toThrow(UnsupportedOpError);
  });

  test("names of classes: gaps are numbered, numbers beyond reason refused", async () => {
    const boxes = [[4, 4, 4, 2, 0.1, 0.9, 0.1]];
    const named = (names: string) => found(detector(boxes, { metadata: { names } }));
    expect((await named(`{0: 'a', 1: "b's", 2: 'c'}`))[0].label).toBe("b's");
    expect((await named("{0: 'a', 2: 'c'}"))[0].label).toBe("class 1");
    for (const n of ["65536", "400000000", "9".repeat(400)]) {
      await expect(named(`{${n}: 'a'}`)).rejects.toThrow(FormatError);
      await expect(named(`{${n}: 'a'}`)).rejects.toThrow(/pass \{ labels \}/);
    }
    // Digits without an end are read once, not from each on.
    expect(await named("1".repeat(300_000))).toHaveLength(1);
  });

  test("size is a whole number within reason, of the options and of the file", async () => {
    const model = detector([[4, 4, 4, 2, 0.9, 0.1]], { shape: [1, 3, "h", "w"] });
    for (const size of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 8193, "640"])
      await expect(objectDetection(model, { ...options, size: size as number })).rejects.toThrow(InputError);
    for (const imgsz of ["[0, 0]", "[1000000000, 640]"]) {
      const strange = detector([[4, 4, 4, 2, 0.9, 0.1]], { shape: [1, 3, "h", "w"], metadata: { imgsz } });
      await expect(objectDetection(strange, options)).rejects.toThrow(/"imgsz".*pass \{ size \}/);
      using sized = await objectDetection(strange, { ...options, size: 16 });
      expect((await sized.detect(square))[0].box).toEqual({ x: 1, y: 1.5, width: 2, height: 1 });
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
