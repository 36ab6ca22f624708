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
  process.exitCode = unknown === undefined ? 0 : 2;
  return true;
}
