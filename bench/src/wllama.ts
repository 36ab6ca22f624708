/**
 * wllama in a headless Chromium: `wllama.ts FILE THREADS` prints tokens per second of decoding and of a prompt, as the
 * engine itself reports them. Not bundled: run with tsx.
 */
import { createReadStream, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";
import { chromiumLaunch } from "../../scripts/chromium.ts";

const [file, threads] = process.argv.slice(2);
const package_ = dirname(createRequire(import.meta.url).resolve("@wllama/wllama/package.json"));
const page = '<!doctype html><meta charset="utf-8"><title>wllama</title>';
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const types: Record<string, string> = { js: "text/javascript", wasm: "application/wasm" };

const server = createServer(async (request, response) => {
  const path = new URL(request.url!, "http://localhost").pathname;
  if (path === "/") return response.writeHead(200, { ...isolation, "Content-Type": "text/html" }).end(page);
  if (path === "/model.gguf") {
    response.writeHead(200, { ...isolation, "Content-Length": statSync(file).size });
    return createReadStream(file).pipe(response);
  }
  const bytes = await readFile(join(package_, "esm", path)).catch(() => undefined);
  if (!bytes) return response.writeHead(404).end();
  return response.writeHead(200, { ...isolation, "Content-Type": types[path.split(".").at(-1)!] ?? "" }).end(bytes);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const browser = await chromium.launch({ headless: true, ...(await chromiumLaunch()) });
try {
  const opened = await browser.newPage();
  await opened.goto(url);
  const timings = await opened.evaluate(inPage, Number(threads));
  console.log(JSON.stringify(timings));
} finally {
  await browser.close();
  server.close();
}

/** Runs in the page. */
async function inPage(n: number): Promise<unknown> {
  const path = "/index.js";
  const { Wllama } = await import(path);
  const wllama = new Wllama({ default: "/wasm/wllama.wasm" }, { suppressNativeLog: true });
  const blob = await (await fetch("/model.gguf")).blob();
  await wllama.loadModel([blob], { n_threads: n, n_ctx: 1024, n_gpu_layers: 0 });
  const options = { prompt: "w300 w301 w302 w303", max_tokens: 40, temperature: 0, ignore_eos: true };
  await wllama.createCompletion({ ...options, max_tokens: 4 });
  const { timings, usage } = await wllama.createCompletion(options);
  return { timings, usage };
}
