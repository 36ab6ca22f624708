/**
 * `npm run bench:gpu [workload ...]`: this project's webgpu device in Node, and beside its peers in a headless Chromium, on
 * the machine's GPU; where there is none, on SwiftShader, which computes on the CPU.
 */
import { parseArgs } from "node:util";
import { commonOptions, enginesOf, fromLine, printsHelp, saysNothing } from "../arguments.ts";
import { describe, machine } from "../machine.ts";
import { type CaseResult, compare, type EngineResult, effortOf } from "../measure.ts";
import { notesOf, plainTable, rowsOf, type WorkloadResult } from "../report.ts";
import { fileOf, models } from "../workloads/decode-models.ts";
import { type Ceilinged, complain, openPlaces, type Place } from "./places.ts";
import type { Request } from "./protocol.ts";
import { describeCeilings, json, legend, type Saved, save } from "./results.ts";
import { workloads } from "./workloads.ts";

const peers = ["ort-web", "jax-js", "tfjs", "gpu.js"];

const help = `npm run bench:gpu -- [workload ...] [options]

workloads: ${workloads.map((w) => w.name).join(" ")}; default all
  --quick          few turns, small products: to see that everything works; the numbers are rough
  --turns N        of each engine, instead of 25: less time in proportion
  --case TEXT      only cases whose name has TEXT in it
  --engine TEXT    only these peers, by commas: ${peers.join(",")}; "none": no peers
  --where TEXT     only "node" or only "page"
  --swiftshader    on the driver that computes on the CPU, even where there is a GPU
  --json           results as JSON on standard output, tables nowhere
  --markdown       write tables and JSON into bench/results
FORWARDPASS_DIST=DIR measures another build than dist/, FORWARDPASS_CHROMIUM=PATH in another Chromium.`;

const { values: options, positionals } = fromLine(() =>
  parseArgs({
    allowPositionals: true,
    options: {
      ...commonOptions,
      where: { type: "string", default: "node,page" },
      swiftshader: { type: "boolean" },
    },
  }),
);
fromLine(() => effortOf(options));
const chosen = fromLine(() => enginesOf(options.engine, peers));

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

async function main(): Promise<void> {
  if (printsHelp(help, options.help, positionals, workloads)) return;
  const base = {
    workload: "",
    quick: options.quick,
    turns: options.turns,
    case: options.case,
    engines: chosen,
    languageModels: [],
  };
  const { swiftshader, places, found } = await openPlaces(base, options);
  if (!places.length) {
    complain("nowhere to measure");
    process.exitCode = 1;
    return;
  }
  const say = (text: string): void => (options.json ? undefined : console.log(text));
  const here = machine(["onnxruntime-web", "@jax-js/jax", "@tensorflow/tfjs-backend-webgpu", "gpu.js"]);
  say([describe(here), ...describeCeilings(found), ...legend].join("\n"));
  const effort = options.quick ? "measured with --quick: rough" : `median of ${options.turns ?? 25} turns at most`;
  const results: Saved[] = [];
  for (const { name } of workloads) {
    if (positionals.length && !positionals.includes(name)) continue;
    const request: Request = { ...base, workload: name, swiftshader };
    const result = await measureWorkload(request, places, found);
    if (!result.cases.some((c) => c.name.includes(options.case))) continue;
    results.push({ ...result, machine: here, ceilings: found, effort });
    say(["", result.title, plainTable(rowsOf(result)), ...notesOf(result).map((n) => `- ${n}`)].join("\n"));
  }
  for (const place of places) await place.close();
  if (!results.length && !process.exitCode) return saysNothing(options.case);
  const wrong = results.some((r) =>
    r.cases.some((c) => c.engines.some((e) => e.wrong !== undefined && e.engine.startsWith("forwardpass"))),
  );
  if (wrong) process.exitCode = 1;
  if (options.json) console.log(json(results));
  if (options.markdown && results.length) say(`\nwritten: ${save(results)}`);
}

await main();
