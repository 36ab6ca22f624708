import type { Engine } from "../engines/engine.ts";
import type { CaseResult, Effort } from "../measure.ts";
import { measure, tooLong } from "../measure.ts";
import type { Task } from "../task.ts";
import type { TwoCores } from "../two-cores.ts";

export interface Context {
  readonly threads: readonly number[];
  readonly effort: Effort;
  /** Whether the user asked for the case. */
  wants(caseName: string): boolean;
  /** Whether the user asked for the engine. */
  wantsEngine(name: string): boolean;
  /** Seconds after which memory is read again, where processes are asked to rest. */
  readonly rest?: number;
  /** Whether tasks leave inputs and outputs in the device's memory. */
  readonly resident?: boolean;
  /** Present where two threads are measured. */
  readonly cores?: TwoCores;
  /** Opens what is measured. `extra`: more columns of this project. */
  openEngines(extra?: readonly Engine[]): Promise<Engine[]>;
  /** A file of this repository, by its path. */
  readFile(path: string): Promise<Uint8Array>;
  /** Called with each result as it comes. */
  report(result: CaseResult): void;
}

export interface Workload {
  readonly name: string;
  readonly title: string;
  /** Whether its engines run in processes of their own, with the system's settings. */
  readonly freshProcesses?: boolean;
  run(context: Context): Promise<void>;
}

/** A task by name, made when it is asked for: models take time and memory. */
export interface LazyTask {
  readonly name: string;
  /** The task's, where it is worth knowing before. */
  readonly flop?: number;
  make(): Task | Promise<Task>;
}

export async function measureAll(
  tasks: readonly LazyTask[],
  engines: readonly Engine[],
  { effort, resident, cores, wants, report }: Context,
): Promise<void> {
  for (const { name, flop = 0, make } of tasks) {
    if (!wants(name)) continue;
    const left = engines.map((e) => ({ engine: e.name, note: tooLong(e.name, flop, effort) }));
    if (left.every((e) => e.note)) report({ name, unit: "ms", flop, engines: left });
    else report(await measure({ ...(await make()), resident }, engines, effort, cores));
  }
}
