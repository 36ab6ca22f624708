/** Tasks in a page: models from URLs, optional packages from the page's own bundle, pictures as pages have them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PageServer, startServer } from "../../scripts/page.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { readImage } from "../../src/tasks/image/image.ts";
import { imageClassification } from "../../src/tasks/image-classification.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { folderOf } from "../tasks/encoder-folders.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { launchChromium } from "./browser.ts";
import type { app as App } from "./tasks-page.ts";

const models = fileURLToPath(new URL("../../examples/models", import.meta.url));
let browser: Browser;
let server: PageServer;
let page: Page;
let encoder: string;
let files: string;

beforeAll(async () => {
  encoder = await folderOf("bert");
  files = await mkdtemp(join(tmpdir(), "forwardpass-page-"));
  await writeFile(join(files, "tiny.gguf"), tinyGguf());
  const entry = fileURLToPath(new URL("./tasks-page.ts", import.meta.url));
  server = await startServer(entry, { encoders: dirname(encoder), files, models });
  browser = await launchChromium();
  page = await browser.newPage();
  await page.goto(server.url);
  await page.waitForFunction(() => "app" in globalThis);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
  await rm(files, { recursive: true });
});

const embed = (text: string): Promise<number[]> =>
  page.evaluate(([path, t]) => (globalThis as unknown as { app: typeof App }).app.embed(path, t), [
    `/encoders/${basename(encoder)}/`,
    text,
  ] as const);
const chat = (text: string): Promise<string[]> =>
  page.evaluate((t) => (globalThis as unknown as { app: typeof App }).app.chat("/files/tiny.gguf", t), text);

test("a page that hands nothing over is told how to", async () => {
  await expect(embed("The cat.")).rejects.toThrow(
    /needs the package @huggingface\/tokenizers: npm install .+, then providePeer\("@huggingface\/tokenizers", await import/,
  );
  await expect(chat("hello")).rejects.toThrow(/needs the package @huggingface\/jinja: .+providePeer/);
});

test("with its packages it says what Node says", async () => {
  await page.evaluate(() => (globalThis as unknown as { app: typeof App }).app.provide());
  using vectors = await embeddings(encoder, { threads: 1 });
  const want = await vectors.embed("The cats sat on the mat.");
  const got = await embed("The cats sat on the mat.");
  expect(got).toHaveLength(want.length);
  expect(Math.max(...got.map((v, i) => Math.abs(v - want[i])))).toBeLessThan(1e-5);

  using model = await textGeneration(tinyGguf(), { threads: 1 });
  const { text } = await model.generate([{ role: "user", content: "hello" }], { temperature: 0, maxTokens: 12 });
  const pieces = await chat("hello");
  expect(pieces.length).toBeGreaterThan(1);
  expect(pieces.join("")).toBe(text);
});

describe("pictures", () => {
  const [model, picture] = ["cifar10-cnn/model.onnx", "cifar10-cnn/samples/cifar10-test-0-cat.png"];
  const noise = Uint8Array.from({ length: 8 * 6 * 4 }, (_, i) => (i * i * 31 + 7 * i) % 256);
  const raw = sharp(noise, { raw: { width: 8, height: 6, channels: 4 } });
  const coloursInPage = (bytes: Uint8Array) =>
    page.evaluate((b) => (globalThis as unknown as { app: typeof App }).app.colours(b), [...bytes]);

  test("are seen as in Node, in whatever way they are given", async () => {
    using classifier = await imageClassification(join(models, model), { threads: 1 });
    const [want] = await classifier.classify(join(models, picture));
    const seen = await page.evaluate((paths) => (globalThis as unknown as { app: typeof App }).app.classify(...paths), [
      `/models/${model}`,
      `/models/${picture}`,
    ] as [string, string]);
    expect(Object.keys(seen)).toHaveLength(11);
    for (const [way, { label, score }] of Object.entries(seen)) {
      expect(label, way).toBe(want.label);
      expect(Math.abs(score - want.score), way).toBeLessThan(1e-4);
    }
  });

  test("keep the colours of pixels that can't be seen", async () => {
    const png = new Uint8Array(await raw.clone().png().toBuffer());
    const { rgb } = await coloursInPage(png);
    expect(rgb).toEqual([...(await readImage(png)).data]);
  });

  test("are upright", async () => {
    const turned = raw.clone().removeAlpha().resize(32, 24).withMetadata({ orientation: 6 });
    const jpeg = new Uint8Array(await turned.jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer());
    const { width, height, rgb } = await coloursInPage(jpeg);
    expect([width, height]).toEqual([24, 32]);
    const { data } = await readImage(jpeg);
    rgb.forEach((v, i) => {
      expect(Math.abs(v - data[i])).toBeLessThan(8);
    });
  });

  test("are missed by name", async () => {
    const said = await page.evaluate(() => (globalThis as unknown as { app: typeof App }).app.refused());
    expect(said).toEqual([
      expect.stringMatching(/^InputError: image: \[object HTMLImageElement\] has no picture .+ img.decode/),
      expect.stringMatching(/^InputError: image: \[object OffscreenCanvas\] has no picture/),
      expect.stringMatching(/^InputError: expected ImageData .+ got \[object HTMLBodyElement\]/),
      expect.stringMatching(/^FormatError: bytes: not an image that can be read here, or a damaged one/),
    ]);
  });
});
