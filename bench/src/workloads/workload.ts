import type { Engine } from "../engines/engine.ts";
import type { CaseResult, Effort } from "../measure.ts";
import { measure } from "../measure.ts";
import type { Task } from "../task.ts";

export interface Context {
  readonly threads: readonly number[];
  readonly effort: Effort;
  /** Whether the user asked for the case. */
  wants(caseName: string): boolean;
  /** Whether the user asked for the engine. */
  wantsEngine(name: string): boolean;
  /** Called with each result as it comes. */
  report(result: CaseResult): void;
}

export interface Workload {
  readonly name: string;
  readonly title: string;
  run(context: Context): Promise<void>;
}

/** A task by name, made when it is asked for: models take time and memory. */
export interface LazyTask {
  readonly name: string;
  make(): Task;
}

export async function measureAll(
  tasks: readonly LazyTask[],
  engines: readonly Engine[],
  context: Context,
): Promise<void> {
  for (const task of tasks)
    if (context.wants(task.name)) context.report(await measure(task.make(), engines, context.effort));
}
