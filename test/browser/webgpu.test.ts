/** The webgpu backend in a real browser. The whole suites run in Node; here a part of each, and what only pages have. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBrowser, type TestBrowser, type TestPage } from "./browser.ts";

let browser: TestBrowser;
let tab: TestPage;
beforeAll(async () => {
  browser = await startBrowser();
  tab = await browser.open();
});
afterAll(() => browser?.close());

test("every kernel equals its reference there too", async () => {
  expect((await tab.call("page", "kernels", "webgpu")).length).toBeGreaterThan(0);
  expect(await tab.call("page", "properties", "webgpu", 3)).toEqual({});
});
