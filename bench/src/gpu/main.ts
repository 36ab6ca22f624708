/**
 * `npm run bench:gpu [workload ...]`: this project's webgpu device in Node, and beside its peers in a headless Chromium, on
 * the machine's GPU; where there is none, on SwiftShader, which computes on the CPU.
 */
import { fork } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Browser, chromium } from "playwright-core";
import { adapterEnvironment, chromiumLaunch } from "../../../scripts/chromium.ts";
import { startServer } from "../../../scripts/page.ts";
import { describe, type Machine, machine } from "../machine.ts";
import { type CaseResult, compare, type EngineResult } from "../measure.ts";
import { benchFolder, distFolder, rootFolder } from "../paths.ts";
import { markdownTable, notesOf, plainTable, rowsOf, type WorkloadResult } from "../report.ts";
import { fileOf, models } from "../workloads/decode-models.ts";
import type { Adapter } from "./adapter.ts";
import type { Ceilings } from "./ceilings.ts";
import type { Request, Told } from "./protocol.ts";
import { workloads } from "./workloads.ts";

const help = `npm run bench:gpu -- [workload ...] [options]

workloads: ${workloads.map((w) => w.name).join(" ")}; default all
  --quick          few turns, small products: to see that everything works; the numbers are rough
  --turns N        of each engine, instead of 25: less time in proportion
  --case TEXT      only cases whose name has TEXT in it
  --engine TEXT    only these peers, by commas: ort-web,jax-js,tfjs,gpu.js; "none": no peers
  --where TEXT     only "node" or only "page"
  --swiftshader    on the driver that computes on the CPU, even where there is a GPU
  --json           results as JSON on standard output, tables nowhere
  --markdown       write tables and JSON into bench/results
FORWARDPASS_DIST=DIR measures another build than dist/, FORWARDPASS_CHROMIUM=PATH in another Chromium.`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean" },
    turns: { type: "string" },
    case: { type: "string", default: "" },
    engine: { type: "string", default: "" },
    where: { type: "string", default: "node,page" },
    swiftshader: { type: "boolean" },
    json: { type: "boolean" },
    markdown: { type: "boolean" },
    help: { type: "boolean" },
  },
});

/** Where it is measured: a process of Node or a page. */
interface Place {
  readonly name: "node" | "page";
  /** @throws Error where it ends before its work is done */
  ask(request: Request, told: (message: Told) => void): Promise<void>;
  close(): Promise<void>;
}
interface Found {
  readonly adapter: Adapter;
  readonly ceilings?: Ceilings;
}
type Ceilinged = Readonly<Partial<Record<Place["name"], Found>>>;

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

const complain = (text: string): void => console.error(`bench: ${text}`);

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
async function openPlaces(
  base: Omit<Request, "swiftshader">,
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

/** The columns of one case from all places. */
function joined(name: string, parts: readonly CaseResult[]): CaseResult {
  const engines = parts.flatMap((p) => p.engines);
  const peer = engines.find((e) => e.probe && e.engine.startsWith("ort-"));
  const [{ tolerance }] = parts;
  // Within the page they are compared already.
  const compared = engines.map((e): EngineResult => {
    if (!e.probe || !peer || !e.engine.endsWith("Node")) return e;
    return { ...e, ...compare(e.probe, peer.probe!, tolerance) };
  });
  return { ...parts[0], name, engines: compared };
}

const percent = (share: number): string => `${(100 * share).toPrecision(share < 0.1 ? 2 : 3)}%`;

/** What the engines achieve of what the device can do. */
function shares({ engines, flop, bytes, dtype = "f32" }: CaseResult, found: Ceilinged): string | undefined {
  const list = engines.flatMap((e) => {
    const ceilings = (e.engine.endsWith("Node") ? found.node : found.page)?.ceilings;
    const ceiling = bytes ? ceilings?.copy : ceilings?.[dtype];
    if (!ceiling || !e.min || !(flop || bytes)) return [];
    return [`${e.engine} ${percent((bytes ?? flop) / e.min / 1e6 / ceiling)}`];
  });
  return list.length ? `of the ${bytes ? "copy bandwidth" : `${dtype} rate`}: ${list.join(", ")}` : undefined;
}

async function measureWorkload(request: Request, places: readonly Place[], found: Ceilinged): Promise<WorkloadResult> {
  const { workload: name } = request;
  const { title } = workloads.find((w) => w.name === name)!;
  const parts = new Map<string, CaseResult[]>();
  for (const place of places) {
    try {
      await place.ask({ ...request, languageModels: await modelsFor(place, request) }, (message) => {
        if (message.kind === "trouble") complain(`${place.name}: ${message.message}`);
        if (message.kind !== "result") return;
        const { result } = message;
        parts.set(result.name, [...(parts.get(result.name) ?? []), result]);
        if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${place.name}, ${name}: ${result.name}`);
      });
    } catch (e) {
      complain(`${place.name}, ${name}: ${(e as Error).message.split("\n")[0]}`);
      process.exitCode = 1;
    }
  }
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  const cases = [...parts].map(([caseName, list]) => {
    const result = joined(caseName, list);
    return { ...result, remark: shares(result, found) };
  });
  return { name, title, cases };
}

async function modelsFor(place: Place, { workload, quick, case: wanted }: Request): Promise<Request["languageModels"]> {
  if (workload !== "decode") return [];
  const list = models.filter((m) => m.name.includes(wanted) && (!quick || m.name.startsWith("stories15M")));
  return await Promise.all(
    list.map(async (m) => {
      const { name, weightBytes } = m;
      const path = await fileOf(m);
      return { name, weightBytes, source: place.name === "node" ? path : `/models/${path.split(/[\\/]/).at(-1)}` };
    }),
  );
}

const legend = [
  "Node: through Dawn. Page: in a headless Chromium, the engines in turn in one page. Peers: their time divided by that of forwardpass in the page, as median (fastest); above 1, forwardpass is faster.",
  "Outputs are compared in the same run: WRONG where they differ. gpu.js takes its inputs from the host and gives its output back each time. decode: tokens per second.",
];

function describeCeilings(found: Ceilinged): string[] {
  return Object.entries(found).map(([place, { adapter, ceilings }]) => {
    const { copy, f32, f16 } = ceilings!;
    const rate = (gigaflops: number): string =>
      gigaflops > 1000 ? `${(gigaflops / 1000).toPrecision(3)} TF/s` : `${gigaflops.toPrecision(3)} GF/s`;
    const half = f16 ? `f16 ${rate(f16)}` : "no f16";
    return `${place}: ${adapter.name} (${adapter.features.join(", ")}): copies ${copy.toPrecision(3)} GB/s, computes f32 ${rate(f32)}, ${half}`;
  });
}

interface Results {
  readonly machine: Machine;
  readonly ceilings: Ceilinged;
  readonly workloads: readonly WorkloadResult[];
}

function save({ machine: here, ceilings, workloads: list }: Results): string {
  const { adapter } = (ceilings.node ?? ceilings.page)!;
  const slug = adapter.software
    ? "swiftshader"
    : adapter.name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .slice(0, 60);
  const base = pathOf(new URL(`results/gpu-${slug}`, benchFolder));
  const remarks = options.quick ? ["**Measured with `--quick`: rough.**"] : [];
  const tables = list.map((w) =>
    [
      `## ${w.title}`,
      markdownTable(rowsOf(w)),
      notesOf(w)
        .map((n) => `- ${n}`)
        .join("\n"),
    ].join("\n\n"),
  );
  const head = ["# On a GPU", describe(here), ...remarks, ...describeCeilings(ceilings), ...legend];
  mkdirSync(dirname(base), { recursive: true });
  writeFileSync(`${base}.md`, `${[...head, ...tables].join("\n\n")}\n`);
  const bare = JSON.stringify(
    { machine: here, ceilings, workloads: list },
    (key, value) => (key === "probe" ? undefined : value),
    1,
  );
  writeFileSync(`${base}.json`, `${bare}\n`);
  return `${base}.md`;
}

async function main(): Promise<void> {
  const unknown = positionals.filter((p) => !workloads.some((w) => w.name === p));
  if (options.help || unknown.length) {
    console.error(unknown.length ? `bench: there is no workload "${unknown[0]}"\n\n${help}` : help);
    process.exitCode = unknown.length ? 2 : 0;
    return;
  }
  const base = {
    workload: "",
    quick: options.quick,
    turns: options.turns,
    case: options.case,
    engines: options.engine.split(",").filter(Boolean),
    languageModels: [],
  };
  const { swiftshader, places, found } = await openPlaces(base);
  if (!places.length) {
    complain("nowhere to measure");
    process.exitCode = 1;
    return;
  }
  const say = (text: string): void => (options.json ? undefined : console.log(text));
  const here = machine(["onnxruntime-web", "@jax-js/jax", "@tensorflow/tfjs-backend-webgpu", "gpu.js"]);
  say([describe(here), ...describeCeilings(found), ...legend].join("\n"));
  const results: WorkloadResult[] = [];
  for (const { name } of workloads) {
    if (positionals.length && !positionals.includes(name)) continue;
    const request: Request = { ...base, workload: name, swiftshader };
    const result = await measureWorkload(request, places, found);
    if (!result.cases.length) continue;
    results.push(result);
    say(["", result.title, plainTable(rowsOf(result)), ...notesOf(result).map((n) => `- ${n}`)].join("\n"));
  }
  for (const place of places) await place.close();
  const wrong = results.some((r) =>
    r.cases.some((c) => c.engines.some((e) => e.wrong !== undefined && e.engine.startsWith("forwardpass"))),
  );
  if (wrong) process.exitCode = 1;
  const all: Results = { machine: here, ceilings: found, workloads: results };
  if (options.json) console.log(JSON.stringify(all, (key, value) => (key === "probe" ? undefined : value), 1));
  if (options.markdown) say(`\nwritten: ${save(all)}`);
}

await main();
