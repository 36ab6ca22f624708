/** `npm run bench [workload ...]`: each workload in a process of its own, the engines in turn inside it. */
import { fork } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commonOptions, enginesOf, fromLine, printsHelp, saysNothing } from "./arguments.ts";
import { openEngines } from "./engines/index.ts";
import { describe, machine } from "./machine.ts";
import { writeMarkdown } from "./markdown.ts";
import { type CaseResult, effortOf } from "./measure.ts";
import { benchFolder, rootFolder } from "./paths.ts";
import { notesOf, plainTable, rowsOf, type WorkloadResult } from "./report.ts";
import { twoCores } from "./two-cores.ts";
import { attention } from "./workloads/attention.ts";
import { conv } from "./workloads/conv.ts";
import { decode } from "./workloads/decode.ts";
import { coldStart, memory } from "./workloads/fresh-processes.ts";
import { gemm } from "./workloads/gemm.ts";
import { images } from "./workloads/images.ts";
import { latency } from "./workloads/latency.ts";
import { lm } from "./workloads/lm.ts";
import { models } from "./workloads/models.ts";
import { recurrent } from "./workloads/recurrent.ts";
import { size } from "./workloads/size.ts";
import type { Context, Workload } from "./workloads/workload.ts";

const workloads: readonly Workload[] = [
  gemm,
  conv,
  attention,
  recurrent,
  images,
  models,
  latency,
  decode,
  lm,
  coldStart,
  memory,
  size,
];

const peers = ["ort-web", "ort-node", "tfjs-wasm", "tfjs-cpu", "jax-js", "gpu.js", "llama.cpp", "wllama"];

const help = `npm run bench -- [workload ...] [options]

workloads: ${workloads.map((w) => w.name).join(" ")}; default all
  --quick          few turns: to see that everything works; the numbers are rough
  --turns N        of each engine, instead of 25: less time in proportion
  --threads 1,2    numbers of threads of the wasm device and of onnxruntime; the first is what others compare with
  --case TEXT      only cases whose name has TEXT in it
  --rest SECONDS   decode: what engines hold after that time too, as V8 returns memory once it is idle for 8 s
  --engine TEXT    only these peers, by commas: ${peers.join(",")}; "none": no peers
  --node24         on Node 24 instead of the Node that runs npm
  --json           results as JSON on standard output, tables nowhere
  --markdown       write the tables into docs/benchmarks.md; without --node24 for both Nodes
FORWARDPASS_DIST=DIR measures another build than dist/.`;

const { values: options, positionals } = fromLine(() =>
  parseArgs({
    allowPositionals: true,
    options: {
      ...commonOptions,
      threads: { type: "string", default: "1,2" },
      rest: { type: "string", default: "0" },
      only: { type: "string" },
    },
  }),
);
const effort = fromLine(() => effortOf(options));
const threads = fromLine(() => threadsOf(options.threads));
const rest = fromLine(() => secondsOf(options.rest));
const wanted = fromLine(() => enginesOf(options.engine, peers));

/** @throws Error for what are no numbers of threads */
function threadsOf(list: string): number[] {
  const threads = list.split(",").map(Number);
  if (!threads.every((n) => Number.isInteger(n) && n > 0)) throw new Error("--threads takes numbers by commas");
  return threads;
}

/** @throws Error for what is no time */
function secondsOf(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds < 1000)) throw new Error("--rest takes a number of seconds");
  return seconds;
}

const legend = [
  "forwardpass: median time of a call. Others: their time divided by ours with as many threads, as median (fastest); above 1, forwardpass is faster.",
  "decode: tokens per second; the ratio is still that of times.",
  "tfjs-cpu is divided by forwardpass cpu; forwardpass cpu and x2 by x1. xN: N threads. two cores: what dividing a loop without memory over them made of its time in the same turns. Outputs are compared in the same run: WRONG where they differ.",
];

/** In the child: one workload, each case sent to the parent as it is done. */
async function runWorkload(name: string): Promise<void> {
  const context: Context = {
    threads,
    cores: threads.includes(2) ? twoCores() : undefined,
    effort,
    rest,
    wants: (c) => c.includes(options.case),
    wantsEngine: (e) => e.startsWith("forwardpass") || !wanted.length || wanted.some((w) => e.startsWith(w)),
    openEngines: (extra) => openEngines(context, extra),
    readFile: (path) => readFile(new URL(path, rootFolder)),
    report: (result) => process.send!(result),
  };
  await workloads.find((w) => w.name === name)!.run(context);
  process.exit(0);
}

/**
 * For glibc: what a process frees stays its own. A result of 1 MB in pages that the system has to give anew takes 0.6 ms
 * longer on a virtual machine, whichever engine it is of, and which turns meet it is up to the heap that all share.
 */
const keepPages = { MALLOC_TRIM_THRESHOLD_: String(2 ** 30), MALLOC_MMAP_THRESHOLD_: String(2 ** 25) };

/** In the parent. */
function collect(workload: Workload): Promise<WorkloadResult> {
  const cases: CaseResult[] = [];
  const start = fileURLToPath(new URL("start.mjs", benchFolder));
  const child = fork(start, [...process.argv.slice(2), "--only", workload.name], {
    stdio: ["ignore", 2, 2, "ipc"],
    env: workload.freshProcesses ? process.env : { ...keepPages, ...process.env },
  });
  child.on("message", (result: CaseResult) => {
    cases.push(result);
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${workload.name}: ${result.name}`);
  });
  return new Promise((resolve, reject) => {
    child.on("exit", (code, signal) => {
      if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
      if (code !== 0)
        reject(
          new Error(
            `${workload.name} failed (${signal ?? code})${cases.length ? ` after "${cases.at(-1)!.name}"` : ""}`,
          ),
        );
      else {
        // Some cases of a workload are a table of their own.
        const part = options.case && [options.case];
        const [name, title] = [[workload.name, ...part].join(" "), [workload.title, ...part].join(": ")];
        resolve({ name, title, cases });
      }
    });
  });
}

async function main(): Promise<void> {
  if (printsHelp(help, options.help, positionals, workloads)) return;
  const here = machine();
  const say = (text: string): void => (options.json ? undefined : console.log(text));
  say(`${describe(here)}\n${legend.join("\n")}`);
  const results: WorkloadResult[] = [];
  for (const workload of workloads) {
    if (positionals.length && !positionals.includes(workload.name)) continue;
    const result = await collect(workload).catch((e: Error) => {
      console.error(`bench: ${e.message}`);
      process.exitCode = 1;
    });
    if (!result?.cases.some((c) => c.name.includes(options.case))) continue;
    results.push(result);
    say(["", result.title, plainTable(rowsOf(result)), ...notesOf(result).map((n) => `- ${n}`)].join("\n"));
  }
  if (!results.length && !process.exitCode) return saysNothing(options.case);
  const wrong = results.some((r) =>
    r.cases.some((c) => c.engines.some((e) => e.wrong !== undefined && e.engine.startsWith("forwardpass"))),
  );
  if (wrong) process.exitCode = 1;
  if (options.json) console.log(JSON.stringify({ machine: here, workloads: results }, undefined, 1));
  if (options.markdown) {
    const remarks = options.quick ? ["**Measured with `--quick`: rough.**"] : [];
    if (options.turns) remarks.push(`Median of ${options.turns} turns.`);
    say(`\nwritten: ${writeMarkdown(results, here, remarks)}`);
  }
}

await (options.only ? runWorkload(options.only) : main());
