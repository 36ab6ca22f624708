/** The browser has a WebGPU adapter and WebGL2, in a page and in a worker: what the GPU backends are tested on. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBrowser, type TestBrowser } from "./browser.ts";

let browser: TestBrowser;
beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser?.close());

test.each(["page", "worker"] as const)("in a %s", async (where) => {
  const { call } = await browser.open();
  const { adapter, webgl2 } = await call(where, "facts");
  if (process.env["FORWARDPASS_ADAPTER"] === "real") expect(adapter).toBeDefined();
  else expect(adapter).toBe("swiftshader");
  expect(webgl2).toBe(true);
});
