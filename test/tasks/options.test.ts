/** Options of tasks that are wrong: told before a model is read, or computes. */
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { SentenceEncoder } from "../../src/tasks/embed.ts";
import { MaskFiller } from "../../src/tasks/fill-mask.ts";
import { ImageClassifier } from "../../src/tasks/image-classification.ts";
import * as tasks from "../../src/tasks/index.ts";
import { ObjectDetector } from "../../src/tasks/object-detection.ts";
import { checkOptions, taskOptions } from "../../src/tasks/options.ts";
import { QuestionAnswerer } from "../../src/tasks/question-answering.ts";
import { Reranker } from "../../src/tasks/reranking.ts";
import { TextClassifier } from "../../src/tasks/text-classification.ts";
import { TextGenerator } from "../../src/tasks/text-generation.ts";
import { TokenClassifier } from "../../src/tasks/token-classification.ts";
import { Transcriber } from "../../src/tasks/transcription.ts";
import { ZeroShotClassifier } from "../../src/tasks/zero-shot-classification.ts";
import { InputError } from "../../src/tensor/errors.ts";

const { embeddings, imageClassification } = tasks;
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
  for (const pooling of ["first", 5, null, [], ["mean", "last"]])
    await expect(embeddings("/no/such/model", { pooling } as never)).rejects.toThrow(
      'embeddings: pooling takes one or several of "cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken", ' +
        `got ${JSON.stringify(pooling)}`,
    );
  await expect(embeddings("/no/such/model", null as never)).rejects.toThrow("options are an object");
  await expect(embeddings("/no/such/model", { signal: {} } as never)).rejects.toThrow("signal takes an AbortSignal");
});

test("of vectors: whether they are scaled", async () => {
  for (const normalize of ["no", 1, null])
    await expect(embeddings("/no/such/model", { normalize } as never)).rejects.toThrow(
      new InputError(`embeddings: normalize takes true or false, got ${JSON.stringify(normalize)}`),
    );
});

test("of classes", async () => {
  const { textClassification, tokenClassification } = tasks;
  for (const [name, open] of Object.entries({ textClassification, tokenClassification }))
    for (const labels of ["abc", null, [1, 2, 3], { 0: "a" }])
      await expect(open("/no/such/model", { labels } as never)).rejects.toThrow(
        new InputError(`${name}: labels takes a list of names, got ${JSON.stringify(labels)}`),
      );
  for (const scoring of ["argmax", null, 5, "toString"])
    await expect(tasks.textClassification("/no/such/model", { scoring } as never)).rejects.toThrow(
      new InputError(`textClassification: scoring is one of softmax, sigmoid, none; got ${JSON.stringify(scoring)}`),
    );
});

test("of labels", async () => {
  for (const several of ["false", 0, null])
    await expect(new ZeroShotClassifier({} as never, 0, 1).classify("x", ["y"], { several } as never)).rejects.toThrow(
      new InputError(`classify: several takes true or false, got ${JSON.stringify(several)}`),
    );
});

test("of detection", async () => {
  // Nothing of the model is looked at before.
  const detector = new ObjectDetector({} as never, {} as never, { size: [640, 640] });
  for (const [name, takes, wrong] of [
    ["threshold", "a number from 0 to 1", [-0.1, 1.5, Number.NaN, "x"]],
    ["overlap", "a number from 0 to 1", [-0.1, 45, Number.NaN, "x"]],
    ["limit", "a whole number from 0", [-1, 0.5, "x", Infinity]],
  ] as const)
    for (const v of wrong)
      await expect(detector.detect("/no/such/image", { [name]: v })).rejects.toThrow(
        new InputError(`detect: ${name} takes ${takes}, got ${v === "x" && name !== "limit" ? '"x"' : v}`),
      );
});

test("of transcription", async () => {
  const transcriber = new Transcriber({ tokens: { languages: new Map() } } as never, {} as never, {} as never);
  for (const language of [5, null, ["en"]])
    await expect(transcriber.transcribe(new Float32Array(1), { language: language as never })).rejects.toThrow(
      new InputError('transcribe: language takes a name or a code, as "en"'),
    );
});

const { cosineSimilarity: _, tokensPerSecond: __, ...loaders } = tasks;

test.each(Object.entries(loaders))("%s: a device of another name", async (name, open) => {
  await expect(open("/no/such/model", { devise: "wasm" } as never)).rejects.toThrow(
    new InputError(`${name}: unknown option "devise"; did you mean "device"? There are: ${namesOf(open)}`),
  );
  for (const wrong of [null, "wasm", 5])
    await expect(open("/no/such/model", wrong as never)).rejects.toThrow(`${name}: options are an object`);
  // It is undefined: nothing is meant by it. The model is what is missing.
  await expect(open("/no/such/model", { devise: undefined, threads: 1 } as never)).rejects.toThrow("/no/such/model");
});

/** Of the functions above: what all take, and their own. */
function namesOf(open: (typeof loaders)[keyof typeof loaders]): string {
  const own = new Map<unknown, string[]>([
    [tasks.embeddings, ["pooling", "normalize", "tokenizer"]],
    [tasks.imageClassification, ["mean", "std", "size", "crop", "labels", "scoring"]],
    [tasks.objectDetection, ["labels", "size"]],
    [tasks.textClassification, ["tokenizer", "labels", "scoring"]],
    [tasks.textGeneration, ["tokenizer", "chatTemplate", "contextLength", "kvCache"]],
    [tasks.tokenClassification, ["tokenizer", "labels"]],
    [tasks.transcription, []],
  ]);
  return [...Object.keys(taskOptions), ...(own.get(open) ?? ["tokenizer"])].join(", ");
}

// Nothing of the model is looked at before the options.
const none = {} as never;
const calls: readonly (readonly [string, string, (options: never) => unknown])[] = [
  ["generate", "maxTokens", (o) => new TextGenerator(none, none).generate("x", o)],
  ["generate", "maxTokens", async (o) => new TextGenerator(none, none).stream("x", o)],
  ["embed", "signal", (o) => new SentenceEncoder(none, none).embed("x", o)],
  ["fill", "count", (o) => new MaskFiller(none).fill("x [MASK]", o)],
  ["classify", "signal", (o) => new ImageClassifier({ inputs: [none] } as never, none, none).classify("x", o)],
  ["detect", "threshold", (o) => new ObjectDetector(none, none, none).detect("x", o)],
  ["answer", "maxTokens", (o) => new QuestionAnswerer(none).answer("x", "y", o)],
  ["rank", "signal", (o) => new Reranker(none).rank("x", ["y"], o)],
  ["classify", "signal", (o) => new TextClassifier(none, none).classify("x", o)],
  ["classify", "signal", (o) => new TokenClassifier(none).classify("x", o)],
  ["transcribe", "language", (o) => new Transcriber(none, none, none).transcribe(new Float32Array(1), o)],
  ["classify", "hypothesis", (o) => new ZeroShotClassifier(none, 0, 1).classify("x", ["y"], o)],
];

test.each(calls)("%s: unknown options, near %s", async (who, near, call) => {
  const written = near.replace(/[A-Z]/g, (c) => `_${c}`);
  for (const name of [written.toUpperCase(), `${near}x`])
    await expect(call({ [name]: 5 } as never)).rejects.toThrow(
      `${who}: unknown option "${name}"; did you mean "${near}"? There are: `,
    );
  await expect(call({ zzz: 5 } as never)).rejects.toThrow(`${who}: unknown option "zzz". There are: `);
  for (const wrong of [null, "x", 5, new AbortController().signal])
    await expect(call(wrong as never)).rejects.toThrow(new RegExp(`^${who}: options are an object`));
  await expect(call({ signal: {} } as never)).rejects.toThrow("signal takes an AbortSignal");
});

test("the nearest name", () => {
  const names = { maxTokens: true, temperature: true, topK: true, stop: true, signal: true } as const;
  const near = (name: string): string | undefined => {
    try {
      checkOptions("x", { [name]: 1 } as never, names as never);
    } catch (e) {
      return /did you mean "(.*)"/.exec((e as Error).message)?.[1];
    }
    return expect.unreachable(`${name} was accepted`);
  };
  const expected = {
    max_tokens: "maxTokens",
    max_new_tokens: "maxTokens",
    temprature: "temperature",
    temp: "temperature",
    top_k: "topK",
    topP: "topK",
    stop_sequences: "stop",
    do_sample: undefined,
    n: undefined,
    toString: undefined,
    "": undefined,
  };
  for (const [name, nearest] of Object.entries(expected)) expect(near(name), name).toBe(nearest);
});

const tokenizing = Object.entries(loaders).filter(([, open]) => namesOf(open).includes("tokenizer"));

test.each(tokenizing)("%s: what is no tokenizer", async (_, open) => {
  for (const tokenizer of [{}, "x", null])
    await expect(open("/no/such/model", { tokenizer } as never)).rejects.toThrow("tokenizer takes a Tokenizer");
});

test("vectors that are none", () => {
  const { cosineSimilarity } = tasks;
  for (const wrong of [undefined, null, "ab", [Float32Array.of(1)], [[1]], 5])
    expect(() => cosineSimilarity(wrong as never, wrong as never)).toThrow(
      new InputError("cosineSimilarity: takes two vectors, as embed() gives of one text each"),
    );
  expect(cosineSimilarity(Float32Array.of(1, 1), [2, 2])).toBeCloseTo(1);
  expect(cosineSimilarity([], [])).toBe(0);
});

test("counts are whole numbers", async () => {
  for (const n of [-1, 0.5, "x", Infinity, null]) {
    await expect(new MaskFiller(none).fill("x", { count: n as never })).rejects.toThrow(
      new InputError(`fill: count takes a whole number from 0, got ${n}`),
    );
    await expect(new QuestionAnswerer(none).answer("x", "y", { maxTokens: n as never })).rejects.toThrow(
      new InputError(`answer: maxTokens takes a whole number from 1, got ${n}`),
    );
  }
});
