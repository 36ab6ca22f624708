/** What `generate` and `chat` share: options of opening a model and of sampling. */
import type { SamplingOptions, TextGenerationOptions } from "../tasks/text-generation.ts";
import { type Arguments, type Option, UsageError, wholeNumber } from "./command.ts";

export const generationOptions = {
  temperature: { type: "string", value: "T", help: "0: always the likeliest token; default 0.8" },
  "max-tokens": { type: "string", short: "n", value: "N", help: "length of the answer; default 256" },
  seed: { type: "string", value: "N", help: "same seed, same text; a whole number" },
  "top-k": { type: "string", value: "K", help: "only the K likeliest tokens; default: all" },
  "top-p": { type: "string", value: "P", help: "only the likeliest that together have probability P; default 0.95" },
  "min-p": { type: "string", value: "P", help: "only tokens P times as likely as the likeliest; default 0" },
  "repeat-penalty": { type: "string", value: "R", help: "divides the logits of recent tokens; default 1" },
  context: { type: "string", value: "N", help: "tokens of prompt and answer; default: the model's, 8192 at most" },
  "kv-cache": { type: "string", value: "TYPE", help: "f32 (default) or f16, which halves the memory of the text" },
} as const satisfies Record<string, Option>;

function decimal(args: Arguments, name: string, min: number, max = Infinity): number | undefined {
  const text = args.options[name];
  if (text === undefined) return undefined;
  const n = Number(text);
  if (text === "" || !(n >= min && n <= max && n < Infinity))
    throw new UsageError(`--${name} takes a number from ${min}${max === Infinity ? "" : ` to ${max}`}, got "${text}"`);
  return n;
}

/** Throws UsageError for values out of range. */
export function samplingOf(args: Arguments): SamplingOptions {
  return {
    temperature: decimal(args, "temperature", 0),
    topK: wholeNumber(args, "top-k", 0),
    topP: decimal(args, "top-p", 0, 1),
    minP: decimal(args, "min-p", 0, 1),
    repetitionPenalty: decimal(args, "repeat-penalty", 1e-3),
    seed: args.options["seed"] === undefined ? undefined : wholeNumber(args, "seed", 0, Number.MIN_SAFE_INTEGER),
  };
}

/** What a language model is opened with. Throws UsageError. */
export function openingOf(args: Arguments): Pick<TextGenerationOptions, "contextLength" | "kvCache"> {
  const contextLength = args.options["context"] === undefined ? undefined : wholeNumber(args, "context", 0, 1);
  const kvCache = args.options["kv-cache"];
  if (kvCache !== undefined && kvCache !== "f32" && kvCache !== "f16")
    throw new UsageError(`--kv-cache takes f32 or f16, got "${kvCache}"`);
  return { contextLength, kvCache };
}
