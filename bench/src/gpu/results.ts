/** Results as they are shown, and kept in bench/results. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, type Machine } from "../machine.ts";
import { benchFolder } from "../paths.ts";
import { markdownTable, notesOf, rowsOf, type WorkloadResult } from "../report.ts";
import type { Ceilinged } from "./places.ts";
import { workloads } from "./workloads.ts";

export const legend = [
  "Node: through Dawn. Page: in a headless Chromium, the engines in turn in one page. Peers: their time divided by that of forwardpass in the page, as median (fastest); above 1, forwardpass is faster.",
  "Outputs are compared in the same run: WRONG where they differ. gpu.js takes its inputs from the host and gives its output back each time. decode: tokens per second.",
];

export function describeCeilings(found: Ceilinged): string[] {
  return Object.entries(found).map(([place, { adapter, ceilings }]) => {
    const { copy, f32, f16 } = ceilings!;
    const rate = (gigaflops: number): string =>
      gigaflops > 1000 ? `${(gigaflops / 1000).toPrecision(3)} TF/s` : `${gigaflops.toPrecision(3)} GF/s`;
    const half = f16 ? `f16 ${rate(f16)}` : "no f16";
    return `${place}: ${adapter.name} (${adapter.features.join(", ")}): copies ${copy.toPrecision(3)} GB/s, computes f32 ${rate(f32)}, ${half}`;
  });
}

/** A workload's results, with what they were measured on and how. */
export interface Saved extends WorkloadResult {
  readonly machine: Machine;
  readonly ceilings: Ceilinged;
  readonly effort: string;
}

/** Outputs are compared by now. */
export const json = (value: unknown): string => JSON.stringify(value, (key, v) => (key === "probe" ? undefined : v), 1);

/** Writes the adapter's file of results and its tables; of workloads that were not measured now the former ones stay. */
export function save(results: readonly Saved[]): string {
  const [{ ceilings }] = results;
  const { adapter } = (ceilings.node ?? ceilings.page)!;
  const slug = adapter.software
    ? "swiftshader"
    : adapter.name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .slice(0, 60);
  const base = fileURLToPath(new URL(`results/gpu-${slug}`, benchFolder));
  mkdirSync(dirname(base), { recursive: true });
  const former = existsSync(`${base}.json`) ? (JSON.parse(readFileSync(`${base}.json`, "utf8")) as Saved[]) : [];
  const all = workloads.flatMap(({ name }) => [...results, ...former].find((r) => r.name === name) ?? []);
  writeFileSync(`${base}.json`, `${json(all)}\n`);
  const tables = all.map((r) =>
    [
      `## ${r.title}`,
      [describe(r.machine), r.effort, ...describeCeilings(r.ceilings)].map((line) => `- ${line}`).join("\n"),
      markdownTable(rowsOf(r)),
      notesOf(r)
        .map((note) => `- ${note}`)
        .join("\n"),
    ].join("\n\n"),
  );
  const title = `# ${adapter.name}`;
  writeFileSync(`${base}.md`, `${[title, legend.join("\n"), ...tables].join("\n\n").trimEnd()}\n`);
  return `${base}.md`;
}
