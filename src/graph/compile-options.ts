/** The names of what `compile` and `run` take. */
import { checkOptions, type OptionNames } from "../tensor/options.ts";
import type { CompileOptions } from "./compile.ts";
import { type RunOptions, runOptions } from "./session.ts";

const known: OptionNames<CompileOptions> = {
  device: true,
  optimize: true,
  ownsWeights: true,
  memoryLimit: true,
  plans: true,
  verify: true,
  outputs: true,
};

/** @throws InputError */
export const checkCompileOptions = (options: CompileOptions): void => checkOptions("compile", options, known);

/** @throws InputError */
export const checkRunOptions = (options: RunOptions<boolean | readonly string[]>): void =>
  checkOptions("run", options, runOptions as OptionNames<RunOptions<boolean | readonly string[]>>);
