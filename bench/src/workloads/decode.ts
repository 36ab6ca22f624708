/** Language models token by token, beside llama.cpp natively and in a browser; memory; and the bandwidth that bounds them. */
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { llama } from "../../models/llama-shape.ts";
import { readBandwidth } from "../bandwidth.ts";
import { type Decoded, prefillTokens, type Turns } from "../decoded.ts";
import { type CaseResult, type EngineResult, median, quick } from "../measure.ts";
import { benchFolder, rootFolder } from "../paths.ts";
import { fileOf, type Model, models } from "./decode-models.ts";
import type { Context, Workload } from "./workload.ts";

const run = promisify(execFile);
const cache = fileURLToPath(new URL(".cache/", benchFolder));

/** What a script prints on the caller's Node. */
async function json<T>(...args: readonly string[]): Promise<T> {
  const { stdout } = await run(process.execPath, [...process.execArgv, ...args], {
    cwd: fileURLToPath(rootFolder),
    maxBuffer: 1 << 24,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
}

const decoded = <T = Decoded>(engine: string, threads: number, file: string, rest = 0): Promise<T> =>
  json(join(cache, "decode-engine.mjs"), engine, String(threads), file, String(rest));

interface Timings {
  readonly timings: { readonly predicted_per_token_ms: number };
}

const ours = (threads: number): string => `forwardpass x${threads}`;

/** Gigabytes a second that one thread reads, and how much more several do: medians of turns. */
interface Bandwidth {
  readonly one: number;
  readonly gain: number;
}

async function bandwidthOf(threads: number): Promise<Bandwidth> {
  const one: number[] = [];
  const gain: number[] = [];
  for (let i = 0; i < 5; i++) {
    one.push(await readBandwidth(1));
    gain.push((await readBandwidth(threads)) / one[i]);
  }
  return { one: median(one), gain: median(gain) };
}

/** What more threads are worth: decoders of one process in turn, so that all have the same cores at the same moments. */
async function inTurnCase({ name }: Model, file: string, { threads, report }: Context, { gain }: Bandwidth) {
  const times = await json<Turns>(join(cache, "decode-engine.mjs"), "forwardpass", threads.join(","), file);
  const pair = times.at(-1)!;
  const all = times.slice(0, -1);
  const ratiosOf = (other: readonly number[]) => {
    const ratios = other.map((t, i) => all[0][i] / t).sort((a, b) => a - b);
    return [0.1, 0.5, 0.9].map((p) => ratios[Math.round(p * (ratios.length - 1))].toFixed(2));
  };
  const [low, middle, high] = ratiosOf(all.at(-1)!);
  report({
    name: `${name}: decode, threads in turn`,
    unit: "ms/token",
    flop: 0,
    remark: `${threads.at(-1)} threads make ${middle} times the tokens of ${threads[0]} (${low} to ${high} in eight of ten turns), and read ${gain.toFixed(2)} times as fast; two decoders of one thread at once make ${ratiosOf(pair)[1]} times`,
    engines: [...all, pair].map((times, i) => ({
      engine: i < all.length ? ours(threads[i]) : "two of forwardpass x1",
      baseline: i > 0 ? ours(threads[0]) : undefined,
      median: median(times),
      min: Math.min(...times),
      samples: times.length,
    })),
  });
}

/** Engines in turn, each in a process of its own, some rounds. */
async function decodeCase(model: Model, context: Context, bandwidth: Bandwidth): Promise<void> {
  const file = await fileOf(model);
  const { rest } = context;
  const engines = [
    ...context.threads.map((n) => ({ name: ours(n), run: () => decoded("forwardpass", n, file, rest) })),
    ...context.threads.map((n) => ({ name: `llama.cpp x${n}`, run: () => decoded("llama.cpp", n, file, rest) })),
  ].filter((e) => context.wantsEngine(e.name));
  const samples = new Map<string, Decoded[]>(engines.map((e) => [e.name, []]));
  const notes = new Map<string, string>();
  const rounds = context.effort === quick ? 1 : Math.min(3, context.effort.rounds);
  for (let round = 0; round < rounds; round++)
    for (const e of engines)
      try {
        if (!notes.has(e.name)) samples.get(e.name)!.push(await e.run());
      } catch (error) {
        notes.set(e.name, reason(error));
      }
  const baseline = (name: string): string | undefined =>
    name === ours(context.threads[0])
      ? undefined
      : name.startsWith("llama.cpp")
        ? name.replace("llama.cpp", "forwardpass")
        : ours(context.threads[0]);
  const row = (
    what: string,
    unit: CaseResult["unit"],
    of: (d: Decoded) => readonly number[],
    remark?: string,
  ): CaseResult => ({
    name: `${model.name}: ${what}`,
    unit,
    flop: 0,
    remark,
    engines: engines.map(({ name }): EngineResult => {
      const values = samples.get(name)!.flatMap(of).filter(Number.isFinite);
      if (!values.length) return { engine: name, note: notes.get(name) ?? "not measured" };
      return {
        engine: name,
        baseline: baseline(name),
        median: median(values),
        min: Math.min(...values),
        samples: values.length,
      };
    }),
  });
  const best = Math.min(...(samples.get(ours(context.threads[0])) ?? []).map((d) => median(d.decode)));
  const read = model.weightBytes / best / 1e6;
  const decode = row(
    "decode",
    "ms/token",
    (d) => d.decode,
    `one thread reads ${read.toFixed(1)} GB/s of weights, ${Math.round((100 * read) / bandwidth.one)}% of what memory gives it`,
  );
  if (context.wantsEngine("wllama")) (decode.engines as EngineResult[]).push(await wllama(file, context));
  context.report(decode);
  if (context.threads.length > 1) await inTurnCase(model, file, context, bandwidth);
  // JSON has no Infinity: null where the context is too short for it.
  if ([...samples.values()].flat().some((d) => d.prefill))
    context.report(
      row(`prefill of ${prefillTokens}`, "ms/token", (d) => (d.prefill ? [d.prefill / prefillTokens] : [])),
    );
  const size = statSync(file).size / 1e6;
  const bound = `file ${size.toFixed(0)} MB; 1.25 times that and 60 MB: ${(1.25 * size + 60).toFixed(0)} MB, caches not counted`;
  context.report(row("memory held", "MB", (d) => [d.rss], bound));
  if (rest) context.report(row(`memory held, ${rest} s later`, "MB", (d) => [d.rested ?? Number.NaN], bound));
}

async function wllama(file: string, { threads }: Context): Promise<EngineResult> {
  const engine = "wllama x1";
  try {
    const script = fileURLToPath(new URL("src/wllama.ts", benchFolder));
    const { timings } = await json<Timings>("--import", "tsx", script, file, "1");
    const ms = timings.predicted_per_token_ms;
    return { engine, baseline: ours(threads[0]), median: ms, min: ms, samples: 1 };
  } catch (e) {
    return { engine, note: reason(e) };
  }
}

const reason = (e: unknown): string => (e as Error).message.split("\n").slice(0, 2).join(" ").slice(0, 200);

export const decode: Workload = {
  name: "decode",
  title: "Language models from GGUF: tokens per second, and memory, each engine in a process of its own",
  freshProcesses: true,
  async run(context) {
    const most = Math.max(...context.threads);
    const bandwidth = await bandwidthOf(most);
    const ms = await decoded<number>("forwardpass", 1, "gemm");
    const flop = 2 * prefillTokens * llama.width * llama.hidden;
    context.report({
      name: "f32 product of prefill",
      unit: "ms",
      flop,
      remark: `one thread reads ${bandwidth.one.toFixed(1)} GB/s, ${most} read ${bandwidth.gain.toFixed(2)} times as fast`,
      engines: [{ engine: ours(1), median: ms, min: ms, samples: 1 }],
    });
    for (const model of models) if (context.wants(model.name)) await decodeCase(model, context, bandwidth);
  },
};
