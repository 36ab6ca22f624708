/** A progress bar on a terminal for what takes longer than a second. Silent in a pipe. */
import { environment } from "../formats/source.ts";
import type { LoadProgress } from "../load.ts";
import type { CliIO } from "./command.ts";

const showAfter = 1000;
const barWidth = 24;

export interface ProgressBar {
  update(progress: LoadProgress): void;
  done(): void;
}

export function progressBar(io: CliIO, label: string): ProgressBar {
  const started = performance.now();
  let shown = false;
  return {
    update({ phase, loaded, total }) {
      if (!obeys(io.stderr) || performance.now() - started < showAfter) return;
      shown = true;
      const share = total > 0 ? Math.min(1, loaded / total) : 0;
      const amount = phase === "read" ? `${formatBytes(loaded)}${total ? ` of ${formatBytes(total)}` : ""}` : phase;
      // One row, which is all that is cleared.
      const room = (io.stderr.columns || 80) - 1;
      const width = Math.min(barWidth, room - `${label} [] ${amount}`.length);
      const bar = width < 4 ? "" : `[${"#".repeat(Math.round(share * width)).padEnd(width, ".")}] `;
      io.stderr.write(`\r\x1b[K${`${label} ${bar}${amount}`.slice(0, room)}`);
    },
    done() {
      if (shown) io.stderr.write("\r\x1b[K");
    },
  };
}

export function formatBytes(n: number): string {
  if (n < 1000) return `${n} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let i = -1;
  do {
    n /= 1000;
    i++;
  } while (n >= 999.5 && i < units.length - 1);
  return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export function formatCount(n: number): string {
  return n.toLocaleString("en-US");
}

export const counted = (n: number, what: string): string => `${formatCount(n)} ${what}${n === 1 ? "" : "s"}`;

/** Without the control characters by which a text could take over a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is meant
export const printable = (text: string): string => text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, "\ufffd");

/** The same in one line. */
export const printableLine = (text: string): string => printable(text.replace(/\r?\n|[\r\t]/g, " "));

export function formatMs(ms: number): string {
  if (ms < 1) return `${(ms * 1000).toFixed(ms < 0.01 ? 1 : 0)} us`;
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 2 : 1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** Columns that line up; numbers (given as `right`) to the right. Nothing of no rows. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const lines = rows.map((r) => r.map(printableLine));
  const widths = (lines[0] ?? []).map((_, c) => Math.max(...lines.map((r) => r[c].length)));
  return lines
    .map((r) =>
      r
        .map((cell, c) => (right.includes(c) ? cell.padStart(widths[c]) : cell.padEnd(widths[c])))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Whether it is a terminal that knows escape sequences. */
export const obeys = ({ isTTY }: { isTTY?: boolean }): boolean => isTTY === true && environment("TERM") !== "dumb";

/** Less important, where the terminal can show it. */
export const dim = (io: CliIO, text: string): string =>
  obeys(io.stderr) && !environment("NO_COLOR") ? `\x1b[2m${text}\x1b[0m` : text;
