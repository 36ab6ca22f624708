/** Text tasks in a page: models from URLs, and optional packages from the page's own bundle. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PageServer, startServer } from "../../scripts/page.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { folderOf } from "../tasks/encoder-folders.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { launchChromium } from "./browser.ts";
import type { app as App } from "./tasks-page.ts";

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
  server = await startServer(entry, { encoders: dirname(encoder), files });
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
