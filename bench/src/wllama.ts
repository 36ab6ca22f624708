/**
 * wllama in a headless Chromium: `wllama.ts FILE THREADS` prints tokens per second of decoding and of a prompt, as the
 * engine itself reports them. Not bundled: run with tsx.
 */
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { chromium } from "playwright-core";
import { chromiumLaunch } from "../../scripts/chromium.ts";
import { startServer } from "../../scripts/page.ts";

const [file, threads] = process.argv.slice(2);
const installed = dirname(createRequire(import.meta.url).resolve("@wllama/wllama/package.json"));
const server = await startServer(undefined, { wllama: join(installed, "esm"), models: dirname(file) });
const browser = await chromium.launch({ headless: true, ...(await chromiumLaunch()) });
try {
  const opened = await browser.newPage();
  await opened.goto(server.url);
  const timings = await opened.evaluate(inPage, [basename(file), Number(threads)] as const);
  console.log(JSON.stringify(timings));
} finally {
  await browser.close();
  await server.close();
}

/** Runs in the page. */
async function inPage([model, n]: readonly [string, number]): Promise<unknown> {
  const path = "/wllama/index.js";
  const { Wllama } = await import(path);
  const wllama = new Wllama({ default: "/wllama/wasm/wllama.wasm" }, { suppressNativeLog: true });
  const blob = await (await fetch(`/models/${model}`)).blob();
  await wllama.loadModel([blob], { n_threads: n, n_ctx: 1024, n_gpu_layers: 0 });
  const options = { prompt: "w300 w301 w302 w303", max_tokens: 40, temperature: 0, ignore_eos: true };
  await wllama.createCompletion({ ...options, max_tokens: 4 });
  const { timings, usage } = await wllama.createCompletion(options);
  return { timings, usage };
}
