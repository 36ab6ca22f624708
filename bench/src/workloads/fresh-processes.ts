/** Engines in fresh processes, in turn: how soon the first answer is there, and how much memory it took. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { resnet50 } from "../../models/cnn.ts";
import { type CaseResult, median } from "../measure.ts";
import { benchFolder } from "../paths.ts";
import { mlpTask } from "./mlp.ts";
import type { Context, Workload } from "./workload.ts";

interface Measured {
  /** Milliseconds. */
  readonly ready: number;
  readonly whole: number;
  /** MB */
  readonly peak: number;
}

function runFresh(
  engine: string,
  model: string,
  shape: readonly number[],
  runs: number,
  given: "path" | "bytes" = "bytes",
): Measured {
  const script = fileURLToPath(new URL(".cache/fresh.mjs", benchFolder));
  const start = performance.now();
  const text = execFileSync(
    process.execPath,
    [...process.execArgv, script, engine, model, shape.join(), String(runs), given],
    {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
  const whole = performance.now() - start;
  return { ...(JSON.parse(text.trim().split("\n").at(-1)!) as Omit<Measured, "whole">), whole };
}

function inTurn(
  engines: readonly string[],
  rounds: number,
  sample: (engine: string) => Measured,
): Map<string, Measured[]> {
  const samples = new Map<string, Measured[]>(engines.map((e) => [e, []]));
  // The first round, untimed, fills the disk cache.
  for (let round = -1; round < rounds; round++)
    for (const engine of engines) {
      const measured = sample(engine);
      if (round >= 0) samples.get(engine)!.push(measured);
    }
  return samples;
}

function result(
  name: string,
  unit: CaseResult["unit"],
  samples: Map<string, Measured[]>,
  metric: keyof Measured,
  baselineOf: (engine: string) => string | undefined,
): CaseResult {
  const engines = [...samples].map(([engine, list]) => {
    const values = list.map((s) => s[metric]);
    const [baseline, min] = [baselineOf(engine), Math.min(...values)];
    return { engine, baseline, median: median(values), min, samples: values.length };
  });
  return { name, unit, flop: 0, engines };
}

const temporary = (file: string, bytes: Uint8Array): string => {
  const path = fileURLToPath(new URL(`.cache/${file}`, benchFolder));
  writeFileSync(path, bytes);
  return path;
};

const rounds = ({ effort }: Context, most: number): number => Math.min(effort.rounds, most);

export const coldStart: Workload = {
  name: "cold-start",
  title: "Cold start of the small MLP in a fresh process; without x1, with the engine's own choice of threads",
  freshProcesses: true,
  async run(context) {
    const model = temporary("mlp.onnx", mlpTask().onnx);
    const engines = ["forwardpass", "forwardpass x1", "forwardpass cpu", "ort-web", "ort-web x1", "ort-node x1"];
    const samples = inTurn(engines.filter(context.wantsEngine), rounds(context, 15), (e) =>
      runFresh(e, model, [1, 30], 1),
    );
    const baseline = (e: string): string | undefined => (e === "forwardpass" ? undefined : "forwardpass");
    context.report(result("import, load, first run", "ms", samples, "ready", baseline));
    context.report(result("the whole process", "ms", samples, "whole", baseline));
  },
};

export const memory: Workload = {
  name: "memory",
  title: "Peak of resident memory of a fresh process: load the model, run it five times",
  freshProcesses: true,
  async run(context) {
    const model = temporary("resnet50.onnx", resnet50());
    const engines = [
      ...context.threads.map((n) => `forwardpass x${n}`),
      "forwardpass cpu",
      ...context.threads.map((n) => `ort-web x${n}`),
      `ort-node x${context.threads[0]}`,
    ];
    const shape = [1, 3, 224, 224];
    const first = `forwardpass x${context.threads[0]}`;
    const baseline = (e: string): string | undefined =>
      e === first ? undefined : e.startsWith("ort-web") ? e.replace("ort-web", "forwardpass") : first;
    for (const given of ["path", "bytes"] as const) {
      const samples = inTurn(engines.filter(context.wantsEngine), rounds(context, 5), (e) =>
        runFresh(e, model, shape, 5, given),
      );
      context.report(result(`resnet50 by its ${given}`, "MB", samples, "peak", baseline));
    }
  },
};
