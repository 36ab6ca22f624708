/** A headless Chromium with a page of the test server, whose functions tests call like their own. */
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { chromiumLaunch } from "../../scripts/chromium.ts";
import { type PageServer, startServer } from "../../scripts/page.ts";
import type { Kit } from "./kit.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

export type Where = "page" | "worker";

export interface TestBrowser {
  readonly server: PageServer;
  /**
   * Opens a page: cross-origin isolated, or plain.
   * @param before runs in the page first
   */
  open(kind?: "isolated" | "plain", before?: () => void): Promise<TestPage>;
  close(): Promise<void>;
}

export interface TestPage {
  readonly page: Page;
  /** Calls a function of the kit in the page's main thread or in a worker made for the call. */
  call<K extends keyof Kit>(where: Where, name: K, ...args: Parameters<Kit[K]>): Promise<Awaited<ReturnType<Kit[K]>>>;
}

/**
 * @throws Error where the browser does not start: tests fail then
 */
export async function launchChromium(): Promise<Browser> {
  const launch = await chromiumLaunch();
  try {
    return await chromium.launch({ headless: true, ...launch });
  } catch (e) {
    const missing = /error while loading shared libraries: (\S+):/.exec((e as Error).message)?.[1];
    const what = missing ? `the shared library ${missing} is missing` : (e as Error).message;
    throw new Error(`headless Chromium (${launch.executablePath ?? "the machine's own"}) does not start: ${what}`, {
      cause: e,
    });
  }
}

export async function startBrowser(): Promise<TestBrowser> {
  const server = await startServer(path("./kit.ts"), {
    models: path("../../examples/models"),
    conformance: path("../../../shared/conformance/dev"),
  });
  const browser = await launchChromium().catch(async (e) => {
    await server.close();
    throw e;
  });
  return {
    server,
    async open(kind = "isolated", before = () => {}) {
      const page = await browser.newPage();
      await page.addInitScript(before);
      const errors: string[] = [];
      page.on("pageerror", (e) => errors.push(e.message));
      await page.goto(`${server.url}/${kind === "plain" ? "?plain" : ""}`);
      await page
        .waitForFunction(() => "kit" in globalThis)
        .catch((e) => {
          throw new Error(`the page did not start: ${errors.join("; ") || e.message}`);
        });
      return { page, call: (where, name, ...args) => page.evaluate(callInPage, [where, name, args] as const) as never };
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/** Runs in the page. */
function callInPage([where, name, args]: readonly [Where, keyof Kit, unknown[]]): Promise<unknown> {
  if (where === "page") {
    const { kit } = globalThis as unknown as { kit: Record<string, (...args: unknown[]) => Promise<unknown>> };
    return kit[name](...args);
  }
  return new Promise((resolve, reject) => {
    const worker = new Worker("/page.js", { type: "module" });
    worker.onmessage = ({ data }) => {
      worker.terminate();
      if ("error" in data) reject(new Error(data.error));
      else resolve(data.result);
    };
    worker.onerror = (e) => reject(new Error(e.message));
    worker.postMessage([name, args]);
  });
}
