/** Writes the results of one Node version, with its options, into docs/benchmarks.md: the table of each workload between its markers. */
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
  const version = [machine.node.slice(1).split(".")[0], ...process.execArgv].join(" ");
  let text = readFileSync(file, "utf8");
  const head = `## Node ${version}`;
  if (!text.includes(`${head}\n`)) text = `${text.trimEnd()}\n\n${head}\n\n<!-- end of node-${version} -->\n`;
  for (const result of results) {
    const key = `node-${version} ${result.name}`;
    const [begin, end] = [`<!-- ${key} -->`, `<!-- end of ${key} -->`];
    const section = [begin, tableOf(result, [describe(machine), ...remarks]), end].join("\n\n");
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from >= 0) text = text.slice(0, from) + section + text.slice(to + end.length);
    else text = text.replace(`<!-- end of node-${version} -->`, (last) => `${section}\n\n${last}`);
  }
  writeFileSync(file, text);
  return file.pathname;
}

function tableOf(result: WorkloadResult, remarks: readonly string[]): string {
  const notes = notesOf(result).map((note) => `- ${note}`);
  const table = [`### ${result.title}`, ...remarks, markdownTable(rowsOf(result))];
  return [...table, ...(notes.length ? [notes.join("\n")] : [])].join("\n\n");
}
