/** What the commands `bench` and `bench:gpu` have in common. */
export const commonOptions = {
  quick: { type: "boolean" },
  turns: { type: "string" },
  case: { type: "string", default: "" },
  engine: { type: "string", default: "" },
  json: { type: "boolean" },
  markdown: { type: "boolean" },
  help: { type: "boolean" },
} as const;

const mistaken = 2;

/** What `read` makes of the command line. What is wrong with that is told without a stack. */
export function fromLine<T>(read: () => T): T {
  try {
    return read();
  } catch (e) {
    console.error(`bench: ${(e as Error).message}`);
    process.exit(mistaken);
  }
}

/**
 * The peers that `--engine` asks for, by the beginnings of their names.
 * @throws Error for what begins none
 */
export function enginesOf(list: string, peers: readonly string[]): string[] {
  const wanted = list.split(",").filter(Boolean);
  const unknown = wanted.find((w) => w !== "none" && !peers.some((p) => p.startsWith(w) || w.startsWith(p)));
  if (unknown !== undefined) throw new Error(`--engine: there is no peer "${unknown}"; there are ${peers.join(",")}`);
  return wanted;
}

/** Of a run without a result, where nothing failed. */
export function saysNothing(wanted: string): void {
  console.error(`bench: nothing was measured: no case of these workloads has "${wanted}" in its name`);
  process.exitCode = mistaken;
}

/** Prints the help where somebody asks for it, or for a workload that is not there. True: that was all. */
export function printsHelp(
  help: string,
  asked: boolean | undefined,
  names: readonly string[],
  workloads: readonly { readonly name: string }[],
): boolean {
  const unknown = names.find((name) => !workloads.some((w) => w.name === name));
  if (!asked && unknown === undefined) return false;
  console.error(unknown === undefined ? help : `bench: there is no workload "${unknown}"\n\n${help}`);
  process.exitCode = unknown === undefined ? 0 : mistaken;
  return true;
}
