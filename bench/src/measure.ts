/** Engines in turn on one task, in one process; their outputs are compared in the same run. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine, Loaded } from "./engines/engine.ts";
import type { Task } from "./task.ts";

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
}
export interface CaseResult {
  readonly name: string;
  /** `ms/token`: shown as tokens a second. */
  readonly unit: "ms" | "ms/token" | "MB" | "kB";
  readonly flop: number;
  readonly engines: readonly EngineResult[];
  /** What else there is to say, in a line below the table. */
  readonly remark?: string;
}

export interface Effort {
  /** Turns of each engine. */
  readonly rounds: number;
  /** Milliseconds: an engine drops out of the turns when its calls took this long altogether. */
  readonly budget: number;
  /** Milliseconds of warming up, so that the optimised code is measured. */
  readonly warmup: number;
  /** Milliseconds that a sample takes at least: short calls are repeated. */
  readonly sample: number;
}
export const thorough: Effort = { rounds: 25, budget: 8000, warmup: 400, sample: 5 };
export const quick: Effort = { rounds: 3, budget: 400, warmup: 30, sample: 1 };

/** Milliseconds: threads of other engines spin for a while after their call. */
const settle = 6;
const tolerance = 1e-3;

interface Runner {
  readonly engine: Engine;
  readonly loaded: Loaded;
  readonly output: Float32Array;
  /** Milliseconds of the latest call or sample, per call. */
  latest: number;
  calls: number;
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
  return (performance.now() - start) / calls;
}

/** Milliseconds per floating-point operation that each engine needed in the case before: to leave out hopeless ones. */
const pace = new Map<string, number>();

export async function measure(task: Task, engines: readonly Engine[], effort: Effort): Promise<CaseResult> {
  const results = new Map<Engine, Partial<EngineResult>>();
  const runners: Runner[] = [];
  for (const engine of engines) {
    const expected = (pace.get(engine.name) ?? 0) * task.flop;
    try {
      if (expected > effort.budget) throw new Error(`left out: about ${(expected / 1000).toPrecision(1)} s a call`);
      runners.push(await start(engine, task, effort));
    } catch (e) {
      results.set(engine, { note: reason(e) });
    }
  }
  for (let round = 0; round < effort.rounds; round++)
    for (let i = 0; i < runners.length; i++) {
      const r = runners[(i + round) % runners.length];
      if (!results.has(r.engine)) await turn(r, effort).catch((e) => results.set(r.engine, { note: reason(e) }));
    }
  const peer = runners.find((r) => r.engine.name.startsWith("ort-")) ?? runners.at(-1);
  for (const r of runners) {
    await r.loaded.dispose();
    if (results.has(r.engine)) continue;
    results.set(r.engine, {
      median: median(r.times),
      min: Math.min(...r.times),
      samples: r.times.length,
      ...compare(r.output, peer!.output),
    });
    if (task.flop) pace.set(r.engine.name, Math.min(...r.times) / task.flop);
  }
  return {
    name: task.name,
    unit: "ms",
    flop: task.flop,
    engines: engines.map((e) => ({ engine: e.name, baseline: e.baseline, ...results.get(e) })),
  };
}

const reason = (e: unknown): string => (e as Error).message.split("\n")[0].slice(0, 160);

async function start(engine: Engine, task: Task, effort: Effort): Promise<Runner> {
  const loaded = await engine.load(task);
  const before = performance.now();
  // A copy: an engine may give the same memory again.
  const output = loaded.values(await loaded.run()).slice();
  let latest = performance.now() - before;
  for (let spent = 0; spent + latest < effort.warmup; ) {
    const calls = Math.max(1, Math.floor(effort.sample / latest));
    latest = await time(loaded, calls);
    spent += Math.max(latest * calls, 0.01);
  }
  const calls = Math.max(1, Math.ceil(effort.sample / latest));
  return { engine, loaded, output, latest, calls, spent: 0, times: [] };
}

async function turn(r: Runner, { budget }: Effort): Promise<void> {
  if (r.times.length && r.spent + r.latest * r.calls > budget) return;
  await sleep(settle);
  // Untimed: brings its threads, caches and tables back.
  if (r.latest < budget / 4) await time(r.loaded, 1);
  r.latest = await time(r.loaded, r.calls);
  r.spent += r.latest * (r.calls + 1);
  r.times.push(r.latest);
}

function compare(actual: Float32Array, expected: Float32Array): { wrong?: number } {
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
  return error > tolerance ? { wrong: error } : {};
}
