/** What a command is. Each lives in a file of its own and is loaded when it is asked for. */
import type { ParseArgsConfig } from "node:util";

export interface Option {
  type: "string" | "boolean";
  short?: string;
  multiple?: boolean;
  /** `FILE`, `N`: shown in help for options that take a value. */
  value?: string;
  help: string;
}

export interface Arguments {
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
}

export interface Command {
  name: string;
  /** One line for the list of commands. */
  summary: string;
  /** After the command's name: `MODEL --input name=FILE ...`. */
  usage: string;
  /** How many arguments besides options it takes. Default 1. */
  positionals?: number;
  options: Readonly<Record<string, Option>>;
  /** A command line that works, for the end of the help text. */
  examples?: readonly string[];
  /** Returns the exit code; undefined is 0. */
  run(args: Arguments, io: CliIO): Promise<number | undefined>;
}

/** Where a command reads and writes: the process's streams, or a test's. */
export interface CliIO {
  stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  stdin: NodeJS.ReadableStream & { isTTY?: boolean };
}

/** The command line is wrong: exit code 2 and a hint at the help. */
export class UsageError extends Error {}

export const parseOptions = (command: Command): ParseArgsConfig["options"] =>
  Object.fromEntries(
    Object.entries<Option>({ ...command.options, ...commonOptions }).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) },
    ]),
  );

const commonOptions = {
  help: { type: "boolean", short: "h", help: "show this text" },
} as const satisfies Record<string, Option>;

/** Options of every command that loads a model. */
export const deviceOptions = {
  device: {
    type: "string",
    value: "NAME",
    help: "cpu, wasm, or webgpu with the package webgpu; default: cpu or wasm, the fastest that is there",
  },
  threads: { type: "string", value: "N", help: "threads of the wasm device; default: the cores, 8 at most" },
  offline: { type: "boolean", help: "use downloads that were kept, and fetch nothing" },
} as const satisfies Record<string, Option>;

export function helpText(command: Command): string {
  const rows = Object.entries({ ...command.options, ...commonOptions }).map(([name, o]: [string, Option]) => {
    const left = `${o.short ? `-${o.short}, ` : ""}--${name}${o.value ? ` ${o.value}` : ""}`;
    return [left, o.help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    `Usage: forwardpass ${command.name} ${command.usage}`,
    "",
    command.summary,
    "",
    "Options:",
    ...rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`),
    ...(command.examples?.length ? ["", "Examples:", ...command.examples.map((e) => `  ${e}`)] : []),
    "",
  ].join("\n");
}

/** A whole number from an option, or the fallback. Throws UsageError. */
export function wholeNumber(args: Arguments, name: string, fallback: number, min = 0): number {
  const text = args.options[name];
  if (text === undefined) return fallback;
  const n = Number(text);
  if (text === "" || !Number.isInteger(n) || n < min)
    throw new UsageError(`--${name} takes a whole number from ${min}, got "${text}"`);
  if (n > Number.MAX_SAFE_INTEGER)
    throw new UsageError(`--${name} takes a whole number up to ${Number.MAX_SAFE_INTEGER}, got "${text}"`);
  return n;
}

/** The one positional argument that a command needs. Throws UsageError. */
export function positional(args: Arguments, i: number, what: string): string {
  const value = args.positionals[i];
  if (value === undefined) throw new UsageError(`${what} is missing`);
  return value;
}

/**
 * A message of the library, which names options as it calls them, as the command line does.
 * @param instead what helps there where the model has no chat template for the messages
 */
export const onCommandLine = (
  message: string,
  instead = "without --chat, the prompt is a text that the model continues",
): string =>
  message
    .replace("{ contextLength }", "--context")
    .replace("{ pooling }", "--pooling")
    .replace("offline: true uses", "--offline uses")
    .replace("pass { token }, or set HF_TOKEN", "set HF_TOKEN")
    .replace(
      "; pass { tokenizer } when loading, or tokens as prompt",
      ": there is no vocabulary in its files. Take a model that has one, or give tokens to forwardpass run",
    )
    .replace("; pass { tokenizer }", "; take a file that has one")
    .replace(/[.;] pass [a-z, ]+, or \{ chatTemplate \} when loading/i, `; ${instead}`);
