/** Options of tasks that are wrong: told before a model is read, or computes. */
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { embeddings, imageClassification } from "../../src/tasks/index.ts";
import { ObjectDetector } from "../../src/tasks/object-detection.ts";
import { Transcriber } from "../../src/tasks/transcription.ts";
import { InputError } from "../../src/tensor/errors.ts";

const model = fileURLToPath(new URL("../../examples/models/mnist-cnn/model.onnx", import.meta.url));
const device = { device: "wasm", threads: 1 } as const;

test.each([
  [{ mean: 5 }, "image: mean takes an array of numbers"],
  [{ mean: ["a"] }, "image: mean takes an array of numbers"],
  [{ std: [0] }, "image: std takes an array of numbers, one a channel, none of them 0"],
  [{ std: [Number.NaN] }, "image: std takes an array of numbers"],
  [{ size: -1 }, "image: size takes [height, width] in pixels"],
  [{ size: [28] }, "image: size takes [height, width] in pixels"],
  [{ size: [28, 1.5] }, "image: size takes [height, width] in pixels"],
  [{ crop: 0 }, "image: crop takes a share above 0, 1 at most, got 0"],
  [{ crop: 224 }, "image: crop takes a share above 0, 1 at most, got 224"],
])("of images: %o", async (options, message) => {
  const refused = imageClassification(model, { ...device, ...options } as never);
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(message);
});

test("pixels of no whole size", async () => {
  using classifier = await imageClassification(model, { ...device, mean: [0.5], std: [0.5], size: [28, 28], crop: 1 });
  for (const [width, height] of [
    [1.5, 2],
    ["28", 28],
    [Number.NaN, 1],
  ])
    await expect(
      classifier.classify({
        width,
        height,
        data: new Uint8Array(Math.ceil(Number(width) * Number(height)) || 0),
      } as never),
    ).rejects.toThrow(InputError);
  expect(await classifier.classify({ width: 28, height: 28, data: new Uint8Array(784) })).toHaveLength(10);
});

test("of vectors", async () => {
  for (const pooling of ["max", 5, null])
    await expect(embeddings("/no/such/model", { pooling } as never)).rejects.toThrow(
      `embeddings: pooling takes "mean" or "cls", got ${JSON.stringify(pooling)}`,
    );
  await expect(embeddings("/no/such/model", null as never)).rejects.toThrow("options are an object");
  await expect(embeddings("/no/such/model", { signal: {} } as never)).rejects.toThrow("signal takes an AbortSignal");
});

test("of detection", async () => {
  // Nothing of the model is looked at before.
  const detector = new ObjectDetector({} as never, {} as never, { size: 640 });
  for (const [name, takes, wrong] of [
    ["threshold", "a number from 0 to 1", [-0.1, 1.5, Number.NaN, "x"]],
    ["overlap", "a number from 0 to 1", [-0.1, 45, Number.NaN, "x"]],
    ["limit", "a whole number from 0", [-1, 0.5, "x", Infinity]],
  ] as const)
    for (const v of wrong)
      await expect(detector.detect("/no/such/image", { [name]: v })).rejects.toThrow(
        new InputError(`detect: ${name} takes ${takes}, got ${v}`),
      );
});

test("of transcription", async () => {
  const transcriber = new Transcriber({ tokens: { languages: new Map() } } as never, {} as never, {} as never);
  for (const language of [5, null, ["en"]])
    await expect(transcriber.transcribe(new Float32Array(1), { language: language as never })).rejects.toThrow(
      new InputError('transcribe: language takes a name or a code, as "en"'),
    );
});
