/** Lists of bars. */
import type { Timing } from "./worker.ts";

const element = <K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  text = "",
): HTMLElementTagNameMap[K] => {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
};

function bar(share: number): HTMLElement {
  const track = element("span", "track");
  const fill = element("span", "fill");
  fill.style.display = "block";
  fill.style.width = `${100 * share}%`;
  track.append(fill);
  return track;
}

/** Probabilities in the given order, the largest set off. */
export function showProbabilities(list: HTMLElement, labels: readonly string[], values: readonly number[]): void {
  const most = Math.max(...values);
  list.replaceChildren(
    ...labels.map((label, i) => {
      const row = element("li", values[i] === most ? "best" : "");
      row.append(element("span", "", label), bar(values[i]), element("span", "", `${Math.round(100 * values[i])}%`));
      return row;
    }),
  );
}

const shown = 8;
/** Milliseconds between two readings of a page's clock. */
const tick = 0.005;

export const milliseconds = (ms: number): string =>
  ms >= 100
    ? `${Math.round(ms)} ms`
    : ms >= 1
      ? `${ms.toFixed(1)} ms`
      : ms >= tick
        ? `${Math.round(1000 * ms)} µs`
        : `< ${1000 * tick} µs`;

/** Kernels by time; what is small is one row. */
export function showTimings(list: HTMLElement, timings: readonly Timing[]): void {
  const total = timings.reduce((sum, t) => sum + t.ms, 0);
  const rest = timings.slice(shown);
  const rows = timings.slice(0, shown);
  if (rest.length)
    rows.push({
      kernel: `${rest.length} others`,
      ms: rest.reduce((sum, t) => sum + t.ms, 0),
      count: rest.reduce((sum, t) => sum + t.count, 0),
    });
  const most = Math.max(...rows.map((t) => t.ms));
  list.replaceChildren(
    ...rows.map(({ kernel, ms, count }) => {
      const row = element("li");
      const name = element("span", "name", `${kernel} `);
      if (count > 1) name.append(element("small", "", `x ${count}`));
      const share = total ? (100 * ms) / total : 0;
      row.append(
        name,
        bar(most ? ms / most : 0),
        element("span", "", `${milliseconds(ms)}, ${share < 1 ? "<1" : Math.round(share)}%`),
      );
      return row;
    }),
  );
}
