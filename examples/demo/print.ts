/** Text for a terminal of 80 columns. */
import { styleText } from "node:util";

const colours = process.stdout.isTTY && !process.env["NO_COLOR"];
type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
export const style = (name: Style, text: string): string => (colours ? styleText(name, text) : text);

export const say = (line = ""): void => console.log(line);

/** Milliseconds with three digits. */
export function ms(t: number): string {
  return `${t < 10 ? t.toFixed(2) : t < 100 ? t.toFixed(1) : t.toFixed(0)} ms`;
}

export const percent = (p: number): string => `${(100 * p).toFixed(1).padStart(5)}%`;

/** Cut or filled up to `width` characters. */
export const clip = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);

/** A bar of `width` characters, filled to the fraction p. */
export function bar(p: number, width: number): string {
  const full = Math.round(p * width);
  return "█".repeat(full) + style("dim", "░".repeat(width - full));
}

/** One character for each value between 0 and 1. */
export const sparkline = (values: readonly number[]): string =>
  values.map((v) => " ▁▂▃▄▅▆▇█"[Math.max(0, Math.min(8, Math.round(v * 8)))]).join("");

export interface Column {
  title: string;
  width: number;
  right?: boolean;
}

/** Prints a header, and gives a function that prints a row. Cells may hold styles: `plain` is what they measure by. */
export function table(columns: readonly Column[]): (...cells: (string | { plain: string; shown: string })[]) => void {
  const cell = (text: string | { plain: string; shown: string }, { width, right }: Column): string => {
    const { plain, shown } = typeof text === "string" ? { plain: text, shown: text } : text;
    if (plain.length > width) return clip(plain, width);
    const gap = " ".repeat(width - plain.length);
    return right ? gap + shown : shown + gap;
  };
  say(style("dim", `  ${columns.map((c) => cell(c.title, c)).join("  ")}`.trimEnd()));
  return (...cells) => say(`  ${cells.map((c, i) => cell(c, columns[i])).join("  ")}`.trimEnd());
}

/** What a row really was, marked where the model says otherwise. */
export const truth = (fact: string, right: boolean) =>
  right ? styled("dim", fact) : styled("yellow", `${fact} <- model errs`);

export const styled = (name: Style, plain: string): { plain: string; shown: string } => ({
  plain,
  shown: style(name, plain),
});
