/** The names of what `compile` takes. */
import { checkOptions, type OptionNames } from "../tensor/options.ts";
import type { CompileOptions } from "./session.ts";

const known: OptionNames<CompileOptions> = {
  device: true,
  optimize: true,
  ownsWeights: true,
  memoryLimit: true,
  plans: true,
  verify: true,
};

/** @throws InputError */
export const checkCompileOptions = (options: CompileOptions): void => checkOptions("compile", options, known);
