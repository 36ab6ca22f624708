/** Engines in turn on one task, in one process; their outputs are compared in the same run. */
import type { Engine, Loaded } from "./engines/engine.ts";
import type { Task } from "./task.ts";
import type { TwoCores } from "./two-cores.ts";

export interface EngineResult {
  readonly engine: string;
  readonly baseline?: string;
  /** Per call, in the case's unit. */
  readonly median?: number;
  readonly min?: number;
  readonly samples?: number;
  /** Largest difference to the first peer's output, over that output's largest magnitude; present where it is too large. */
  readonly wrong?: number;
  /** Why there is no number. */
  readonly note?: string;
  /** Some elements of the output, evenly spread: to compare results of different processes. */
  readonly probe?: readonly number[];
}
export interface CaseResult {
  readonly name: string;
  /** `ms/token`: shown as tokens a second. */
  readonly unit: "ms" | "ms/token" | "MB" | "kB";
  readonly flop: number;
  readonly engines: readonly EngineResult[];
  /** What else there is to say, in a line below the table. */
  readonly remark?: string;
  /** That a call reads at least, where that bounds it. */
  readonly bytes?: number;
  readonly dtype?: "f32" | "f16";
  readonly tolerance?: number;
  /** What two threads could be worth in this case's turns: the time of a loop on two, by its time on one. */
  readonly twoCores?: { readonly median: number; readonly min: number };
}

export interface Effort {
  /** Turns of each engine. */
  readonly rounds: number;
  /** Milliseconds: an engine drops out of the turns when its calls took this long altogether. */
  readonly budget: number;
  /** Milliseconds of warming up, so that the optimised code is measured. */
  readonly warmup: number;
  /** Milliseconds of a turn's calls at least. */
  readonly sample: number;
}
export const thorough: Effort = { rounds: 25, budget: 8000, warmup: 400, sample: 5 };
export const quick: Effort = { rounds: 3, budget: 400, warmup: 30, sample: 1 };

/** What the options `--quick` and `--turns` ask for. */
export function effortOf(options: { quick?: boolean; turns?: string }, hasty = quick): Effort {
  const rounds = Number(options.turns ?? thorough.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error("--turns takes a number from 1");
  if (options.quick) return hasty;
  return { ...thorough, rounds, budget: (thorough.budget * rounds) / thorough.rounds };
}

/** Milliseconds: threads of other engines spin for a while after their call, onnxruntime-web's for 16. */
const settle = 20;
/** Milliseconds of untimed calls before a turn: see docs/benchmarks.md, "Steady state". */
const back = 100;
/** Milliseconds from which a call is a sample by itself: a mean has the late ones of all its calls. */
const alone = 1;
const tolerance = 1e-3;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Runner {
  readonly engine: Engine;
  readonly loaded: Loaded;
  readonly output: Float32Array;
  /** Milliseconds of the latest call or sample, per call. */
  latest: number;
  /** Of a turn. */
  readonly samples: number;
  /** Of a sample. */
  readonly calls: number;
  spent: number;
  readonly times: number[];
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Milliseconds per call. A call that gives no promise is not awaited. */
async function time(loaded: Loaded, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) {
    const result = loaded.run();
    if (result instanceof Promise) await result;
  }
  await loaded.finish?.();
  return (performance.now() - start) / calls;
}

/** Milliseconds per floating-point operation that each engine needed at least so far: to leave out hopeless ones. */
const pace = new Map<string, number>();

/** Why an engine is left out of a case: its calls would take longer than the budget. */
export function tooLong(engine: string, flop: number, { budget }: Effort): string | undefined {
  const ms = (pace.get(engine) ?? 0) * flop;
  return ms > budget ? `left out: about ${Number((ms / 1000).toPrecision(1))} s a call` : undefined;
}

/** `cores`: present where more than one thread is measured. */
export async function measure(
  task: Task,
  engines: readonly Engine[],
  effort: Effort,
  cores?: TwoCores,
): Promise<CaseResult> {
  const results = new Map<Engine, Partial<EngineResult>>();
  const runners: Runner[] = [];
  for (const engine of engines) {
    try {
      const note = tooLong(engine.name, task.flop, effort);
      if (note) throw new Error(note);
      runners.push(await start(engine, task, effort));
    } catch (e) {
      results.set(engine, { note: reason(e) });
    }
  }
  const loops: ReturnType<TwoCores["sample"]>[] = [];
  for (let round = 0; round < effort.rounds; round++) {
    await sleep(settle);
    if (cores) loops.push(cores.sample());
    for (let i = 0; i < runners.length; i++) {
      const r = runners[(i + round) % runners.length];
      if (!results.has(r.engine)) await turn(r, effort).catch((e) => results.set(r.engine, { note: reason(e) }));
    }
  }
  for (const r of runners) {
    if (!r.loaded.finish || results.has(r.engine)) continue;
    // What was started many times over is looked at again: nobody read it meanwhile.
    const end = (await r.loaded.values(await r.loaded.run())).slice();
    const { wrong } = compare(end, r.output, task.tolerance);
    if (wrong !== undefined) results.set(r.engine, { wrong });
  }
  const peer = runners.find((r) => r.engine.name.startsWith("ort-")) ?? runners.at(-1);
  for (const r of runners) {
    await r.loaded.dispose();
    if (results.has(r.engine)) continue;
    results.set(r.engine, {
      median: median(r.times),
      min: Math.min(...r.times),
      samples: r.times.length,
      ...compare(r.output, peer!.output, task.tolerance),
      probe: probe(r.output),
    });
    const best = Math.min(...r.times) / task.flop;
    if (task.flop) pace.set(r.engine.name, Math.min(best, pace.get(r.engine.name) ?? best));
  }
  return {
    name: task.name,
    unit: "ms",
    flop: task.flop,
    bytes: task.bytes,
    dtype: Object.values(task.inputs).some((t) => t.dtype === "f16") ? "f16" : "f32",
    tolerance: task.tolerance,
    twoCores: loops.length ? sharesOf(loops) : undefined,
    engines: engines.map((e) => ({ engine: e.name, baseline: e.baseline, ...results.get(e) })),
  };
}

function sharesOf(loops: readonly { one: number; two: number }[]): { median: number; min: number } {
  const [one, two] = [loops.map((l) => l.one), loops.map((l) => l.two)];
  return { median: median(two) / median(one), min: Math.min(...two) / Math.min(...one) };
}

const reason = (e: unknown): string => (e as Error).message.split("\n")[0].slice(0, 160);

async function start(engine: Engine, task: Task, effort: Effort): Promise<Runner> {
  const loaded = await engine.load(task);
  const before = performance.now();
  // A copy: an engine may give the same memory again.
  const output = (await loaded.values(await loaded.run())).slice();
  let latest = performance.now() - before;
  for (let spent = 0; spent + latest < effort.warmup; ) {
    const calls = Math.max(1, Math.floor(effort.sample / latest));
    latest = await time(loaded, calls);
    spent += Math.max(latest * calls, 0.01);
  }
  const calls = Math.max(1, Math.ceil(effort.sample / latest));
  // What is started many times over is waited for once.
  const several = latest < alone || loaded.finish !== undefined;
  return {
    engine,
    loaded,
    output,
    latest,
    samples: several ? 1 : calls,
    calls: several ? calls : 1,
    spent: 0,
    times: [],
  };
}

async function turn(r: Runner, { budget }: Effort): Promise<void> {
  if (r.times.length && r.spent + r.latest * r.samples * r.calls > budget) return;
  await sleep(settle);
  // Untimed: brings its threads, caches and tables back.
  if (r.latest < budget / 4) for (let spent = 0; spent < back; ) spent += await time(r.loaded, 1);
  for (let i = 0; i < r.samples; i++) {
    r.latest = await time(r.loaded, r.calls);
    r.spent += r.latest * r.calls;
    r.times.push(r.latest);
  }
}

function probe(output: Float32Array): number[] {
  const step = Math.max(1, Math.floor(output.length / 64));
  return Array.from(output.filter((_, i) => i % step === 0));
}

/** The error, where it is too large. */
export function compare(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  allowed = tolerance,
): { wrong?: number } {
  if (actual.length !== expected.length) return { wrong: Number.POSITIVE_INFINITY };
  let largest = 0;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    const d = Math.abs(actual[i] - expected[i]);
    // NaN is a difference too, unless both are.
    if (!(d <= difference) && !(Number.isNaN(actual[i]) && Number.isNaN(expected[i])))
      difference = Number.isNaN(d) ? Infinity : d;
  }
  const error = difference === 0 ? 0 : difference / largest;
  return error > allowed ? { wrong: error } : {};
}
