/** Where it is measured: a process of Node, and a page of a headless Chromium; on a GPU if there is one. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { adapterEnvironment, chromiumLaunch } from "../../../scripts/chromium.ts";
import { startServer } from "../../../scripts/page.ts";
import { benchFolder, distFolder, rootFolder } from "../paths.ts";
import type { Adapter } from "./adapter.ts";
import type { Ceilings } from "./ceilings.ts";
import type { Request, Told } from "./protocol.ts";

export interface Place {
  readonly name: "node" | "page";
  /** @throws Error where it ends before its work is done */
  ask(request: Request, told: (message: Told) => void): Promise<void>;
  close(): Promise<void>;
}
export interface Found {
  readonly adapter: Adapter;
  readonly ceilings?: Ceilings;
}
export type Ceilinged = Readonly<Partial<Record<Place["name"], Found>>>;

const pathOf = (url: URL): string => fileURLToPath(url);

function nodePlace(env: Record<string, string>): Place {
  const script = pathOf(new URL("node.ts", import.meta.url));
  return {
    name: "node",
    ask: (request, told) =>
      new Promise((resolve, reject) => {
        const child = fork(script, [JSON.stringify(request)], {
          execArgv: ["--import", "tsx"],
          env: { ...process.env, ...env },
          stdio: ["ignore", 2, 2, "ipc"],
        });
        child.on("message", told);
        child.on("exit", (code, signal) =>
          code === 0 ? resolve() : reject(new Error(`ended with ${signal ?? code}`)),
        );
      }),
    close: async () => {},
  };
}

async function pagePlace(browser: Browser): Promise<Place> {
  const server = await startServer(pathOf(new URL("page.ts", import.meta.url)), {
    dist: pathOf(distFolder()),
    examples: pathOf(new URL("examples", rootFolder)),
    onnxruntime: pathOf(new URL("node_modules/onnxruntime-web/dist", benchFolder)),
    models: pathOf(new URL(".cache", benchFolder)),
  });
  return {
    name: "page",
    /** A new page each time: what one did to its memory is no matter for the next. */
    async ask(request, told) {
      const page = await browser.newPage();
      try {
        await page.exposeFunction("tell", told);
        const crashed = new Promise<never>((_, reject) =>
          page.on("crash", () => reject(new Error("the page crashed"))),
        );
        await page.goto(server.url);
        await page.waitForFunction(() => "measureFor" in globalThis);
        const work = page.evaluate(
          (r) => (globalThis as unknown as { measureFor(r: Request): Promise<void> }).measureFor(r),
          request,
        );
        await Promise.race([work, crashed]);
      } finally {
        await page.close().catch(() => {});
      }
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

export const complain = (text: string): void => console.error(`bench: ${text}`);

/** The adapter and what it can do at best; undefined with a word on why where there is none of the wanted kind. */
async function lookAt(place: Place, request: Request): Promise<Found | undefined> {
  let adapter: Adapter | undefined;
  let ceilings: Ceilings | undefined;
  let trouble = "no answer";
  try {
    await place.ask({ ...request, workload: "ceilings" }, (message) => {
      if (message.kind === "adapter") adapter = message.adapter;
      if (message.kind === "ceilings") ceilings = message.ceilings;
      if (message.kind === "trouble") trouble = message.message;
    });
  } catch (e) {
    trouble = adapter ? (e as Error).message : trouble;
  }
  if (adapter && ceilings) return { adapter, ceilings };
  complain(`${place.name}: no GPU: ${adapter ? `only ${adapter.name}` : trouble}`);
  return undefined;
}

/** Of the browsers that there may be, the first that has the wanted kind of adapter. */
async function openPage(request: Request): Promise<{ place: Place; found: Found } | undefined> {
  if (!request.swiftshader) process.env["FORWARDPASS_ADAPTER"] = "real";
  const launch = await chromiumLaunch();
  const { executablePath: _, ...installed } = { ...launch, channel: "chrome" };
  for (const way of request.swiftshader || launch.channel ? [launch] : [launch, installed]) {
    const browser = await chromium.launch({ headless: true, ...way }).catch((e: Error) => {
      complain(`page: ${way.channel ?? "Chromium"} does not start: ${e.message.split("\n")[0]}`);
    });
    if (!browser) continue;
    const place = await pagePlace(browser);
    const found = await lookAt(place, request);
    if (found) return { place, found };
    await place.close();
  }
  return undefined;
}

/** Node and the page, on a GPU if Node finds one. */
export async function openPlaces(
  base: Omit<Request, "swiftshader">,
  options: { swiftshader?: boolean; where: string },
): Promise<{ swiftshader: boolean; places: Place[]; found: Ceilinged }> {
  const real = nodePlace({});
  const gpu = options.swiftshader ? undefined : await lookAt(real, { ...base, swiftshader: false });
  const swiftshader = !gpu;
  if (swiftshader && !options.swiftshader) complain("going on with SwiftShader, which computes on the CPU");
  const request = { ...base, swiftshader };
  const places: Place[] = [];
  const found: Partial<Record<Place["name"], Found>> = {};
  if (options.where.includes("node")) {
    const place = gpu ? real : nodePlace(await adapterEnvironment());
    const own = gpu ?? (await lookAt(place, request));
    if (own) {
      places.push(place);
      found.node = own;
    }
  }
  if (options.where.includes("page")) {
    const opened = await openPage(request);
    if (opened) {
      places.push(opened.place);
      found.page = opened.found;
    }
  }
  return { swiftshader, places, found };
}
