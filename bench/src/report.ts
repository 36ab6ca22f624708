/** Results as tables, for a terminal or for docs/benchmarks.md. */
import type { CaseResult, EngineResult } from "./measure.ts";

export interface WorkloadResult {
  readonly name: string;
  readonly title: string;
  readonly cases: readonly CaseResult[];
}

type Rows = readonly (readonly string[])[];

export function plainTable(rows: Rows): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((r) => r[i].length)));
  return rows.map((r) => r.map((c, i) => (i ? c.padStart(widths[i]) : c.padEnd(widths[i]))).join("  ")).join("\n");
}

export function markdownTable(rows: Rows): string {
  const lines = [rows[0], rows[0].map((_, i) => (i ? "---:" : "---")), ...rows.slice(1)];
  return lines.map((r) => `| ${r.join(" | ")} |`).join("\n");
}

/** One row a case, one column an engine. */
export function rowsOf({ cases }: WorkloadResult): string[][] {
  const columns = [...new Set(cases.flatMap((c) => c.engines.map((e) => e.engine)))];
  const find = (c: CaseResult, name: string): EngineResult =>
    c.engines.find((e) => e.engine === name) ?? { engine: name };
  const rows = [["", ...columns], ...cases.map((c) => [c.name, ...columns.map((name) => cell(c, find(c, name)))])];
  if (!cases.some((c) => c.twoCores)) return rows;
  const shares = cases.map(({ twoCores: t }) => (t ? `${ratio(t.median)} (${ratio(t.min)})` : "-"));
  return rows.map((row, i) => [...row, i ? shares[i - 1] : "two cores"]);
}

/** Why engines have no number, each reason once. */
export function notesOf({ cases }: WorkloadResult): string[] {
  const notes = new Map<string, string[]>();
  for (const c of cases)
    for (const { engine, note } of c.engines)
      if (note) {
        const key = `${engine}: ${note}`;
        notes.set(key, [...(notes.get(key) ?? []), c.name]);
      }
  const all = [...notes].map(([note, names]) =>
    names.length === cases.length ? note : `${note} (${names.join(", ")})`,
  );
  return [...all, ...cases.flatMap(({ name, remark }) => (remark ? [`${name}: ${remark}`] : []))];
}

/** Ours: the time and speed. Peers: how many times ours they take, by the median and by the fastest. */
function cell(c: CaseResult, e: EngineResult): string {
  if (e.wrong !== undefined) return `WRONG (off by ${e.wrong.toPrecision(2)})`;
  if (e.median === undefined) return "-";
  const base = c.engines.find((b) => b.engine === e.baseline);
  const own = amount(e.median, c.unit) + (c.flop && isOurs(e) ? ` ${speed(c.flop, e.median)}` : "");
  if (!base?.median) return own;
  const ratios = `${ratio(e.median / base.median)} (${ratio(e.min! / base.min!)})`;
  return isOurs(e) || c.unit !== "ms" || !c.flop ? `${own}, ${ratios}` : ratios;
}

const isOurs = (e: EngineResult): boolean => e.engine.startsWith("forwardpass");

const ratio = (r: number): string => (r >= 100 ? r.toFixed(0) : r.toPrecision(3));

/** Gigaflops: multiplications and additions per second. */
const speed = (flop: number, ms: number): string => `${(flop / ms / 1e6).toFixed(1)} GF/s`;

function amount(value: number, unit: CaseResult["unit"]): string {
  if (unit === "ms/token") return `${(1000 / value).toPrecision(value > 1 ? 3 : 4)} tok/s`;
  if (unit !== "ms") return `${value.toPrecision(value < 1000 ? 3 : 4)} ${unit}`;
  return value < 1 ? `${(value * 1000).toPrecision(3)} us` : `${value.toPrecision(value < 1000 ? 3 : 4)} ms`;
}
