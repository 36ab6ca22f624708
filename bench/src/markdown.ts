/** Writes the results of one Node version into docs/benchmarks.md, between its markers. */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, type Machine } from "./machine.ts";
import { rootFolder } from "./paths.ts";
import { markdownTable, notesOf, rowsOf, type WorkloadResult } from "./report.ts";

export function writeMarkdown(
  results: readonly WorkloadResult[],
  machine: Machine,
  remarks: readonly string[],
): string {
  const file = new URL("docs/benchmarks.md", rootFolder);
  const key = `node-${machine.node.slice(1).split(".")[0]}`;
  const [begin, end] = [`<!-- results of ${key} -->`, `<!-- end of ${key} -->`];
  const text = readFileSync(file, "utf8");
  const section = [begin, `## Node ${key.slice(5)}`, describe(machine), ...remarks, ...results.map(tableOf), end].join(
    "\n\n",
  );
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  const whole =
    from < 0 ? `${text.trimEnd()}\n\n${section}\n` : text.slice(0, from) + section + text.slice(to + end.length);
  writeFileSync(file, whole);
  return file.pathname;
}

function tableOf(result: WorkloadResult): string {
  const notes = notesOf(result).map((note) => `- ${note}`);
  return [`### ${result.title}`, markdownTable(rowsOf(result)), ...(notes.length ? [notes.join("\n")] : [])].join(
    "\n\n",
  );
}
