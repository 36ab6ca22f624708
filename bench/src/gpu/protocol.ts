/** Between the command and those who measure for it: a process, and a page. */
import { type CaseResult, type Effort, effortOf, quick } from "../measure.ts";
import type { Adapter } from "./adapter.ts";
import type { Ceilings } from "./ceilings.ts";
import type { LanguageModel } from "./workloads.ts";

export interface Request {
  /** A workload's name, or "ceilings". */
  readonly workload: string;
  readonly swiftshader: boolean;
  readonly quick?: boolean;
  readonly turns?: string;
  /** Part of the names of wanted cases. */
  readonly case: string;
  /** Beginnings of the names of wanted peers; none: all. */
  readonly engines: readonly string[];
  readonly languageModels: readonly LanguageModel[];
}

export type Told =
  | { readonly kind: "adapter"; readonly adapter: Adapter }
  | { readonly kind: "ceilings"; readonly ceilings: Ceilings }
  | { readonly kind: "result"; readonly result: CaseResult }
  | { readonly kind: "trouble"; readonly message: string };

/** Longer samples than those of CPUs: many calls are started, and waited for once. */
export const gpuEffort = (request: Request): Effort => ({
  ...effortOf(request, { ...quick, budget: 2000 }),
  sample: request.quick ? 5 : 20,
});

/** Milliseconds that a submission takes at least when ceilings are measured. */
export const spanOf = ({ quick }: Request): number => (quick ? 50 : 200);
