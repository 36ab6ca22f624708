/**
 * The command line. Exit codes: 0 done, 1 the model or its input is at fault, 2 the command line is, 129 hung up,
 * 130 interrupted, 143 terminated.
 */
import { parseArgs } from "node:util";
import { ForwardpassError } from "../tensor/errors.ts";
import {
  type Arguments,
  type CliIO,
  type Command,
  helpText,
  onCommandLine,
  parseOptions,
  UsageError,
} from "./command.ts";

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import("./run.ts")).run,
  inspect: async () => (await import("./inspect.ts")).inspect,
  bench: async () => (await import("./bench.ts")).bench,
  generate: async () => (await import("./generate.ts")).generate,
  chat: async () => (await import("./chat.ts")).chat,
  compile: async () => (await import("./compile.ts")).compile,
  convert: async () => (await import("./convert.ts")).convert,
  classify: async () => (await import("./classify.ts")).classify,
  answer: async () => (await import("./answer.ts")).answer,
  rank: async () => (await import("./rank.ts")).rank,
  embed: async () => (await import("./embed.ts")).embed,
  transcribe: async () => (await import("./transcribe.ts")).transcribe,
};

const overview = async (): Promise<string> => {
  const list = await Promise.all(Object.values(commands).map((load) => load()));
  const width = Math.max(...list.map((c) => c.name.length));
  return [
    "forwardpass: run trained models",
    "",
    "Usage: forwardpass COMMAND MODEL [options]",
    "",
    "Commands:",
    ...list.map((c) => `  ${c.name.padEnd(width)}  ${c.summary}`),
    "",
    "MODEL is a file, a folder, a URL, npm:NAME@VERSION/path or hf:org/name. `forwardpass COMMAND --help` explains a command.",
    "",
  ].join("\n");
};

/** Runs one command line. Returns the exit code. */
export async function main(argv: readonly string[], io: CliIO): Promise<number> {
  const [name, ...rest] = argv;
  // `help run` is `run --help`.
  if (name === "help" && rest[0] !== undefined && !rest[0].startsWith("-")) return main([rest[0], "--help"], io);
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    io.stdout.write(await overview());
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-v") {
    io.stdout.write(`${await version()}\n`);
    return 0;
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    io.stderr.write(`forwardpass: there is no command "${name}"\n\n${await overview()}`);
    return 2;
  }
  const command = await load();
  try {
    const args = parse(command, rest);
    if (args.options["help"]) {
      io.stdout.write(helpText(command));
      return 0;
    }
    return (await command.run(args, io)) ?? 0;
  } catch (e) {
    return report(e, command, io);
  }
}

function parse(command: Command, argv: string[]): Arguments {
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: argv, options: parseOptions(command), allowPositionals: true });
  } catch (e) {
    // Its first sentence; what follows is about an unusual way out.
    throw new UsageError((e as Error).message.split(". ")[0]);
  }
  const { values, positionals } = parsed;
  const extra = positionals[command.positionals ?? 1];
  if (extra !== undefined && !values["help"])
    throw new UsageError(`"${extra}" is one argument too many; texts with spaces stand in quotes`);
  return { options: values as Arguments["options"], positionals };
}

/** One line for what users can mend; the stack only for our own mistakes. */
function report(e: unknown, command: Command, io: CliIO): number {
  if (e instanceof UsageError) {
    io.stderr.write(`forwardpass ${command.name}: ${e.message}\nTry: forwardpass ${command.name} --help\n`);
    return 2;
  }
  if (e instanceof Error && e.name === "AbortError") {
    io.stderr.write("interrupted\n");
    return 130;
  }
  io.stderr.write(`${told(e)}\n`);
  return 1;
}

function told(e: unknown): unknown {
  if (e instanceof ForwardpassError) return `${e.name}: ${onCommandLine(e.message)}`;
  if (!(e instanceof Error)) return e;
  // Of the system: a standard input that is a folder.
  return "syscall" in e ? e.message : (e.stack ?? e.message);
}

async function version(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const manifest = await readFile(new URL("../package.json", import.meta.url), "utf8").catch(() =>
    readFile(new URL("../../package.json", import.meta.url), "utf8"),
  );
  return (JSON.parse(manifest) as { version: string }).version;
}
