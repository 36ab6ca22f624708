import { stat } from "node:fs/promises";
import { type DeviceName, load, type Session } from "../../src/index.ts";
import { allowed, Check } from "./golden.ts";
import { ms, say, style } from "./print.ts";

/** A part of the demo: one task, one or two models. */
export interface Section {
  title: string;
  /** What goes in, what comes out. */
  about: string;
  run(device: DeviceName, check: Check): Promise<void>;
}

/** Loads a model and says what it is. */
export const open = (path: string, name: string, device: DeviceName): Promise<Session> =>
  announced(path, name, () => load(path, { device }));

/** What `loaded` makes of a model's file, after saying what it is. */
export async function announced<T>(path: string, name: string, loaded: () => Promise<T>): Promise<T> {
  const [model, elapsed] = await timed(loaded);
  const { size } = await stat(path);
  say(style("dim", `  ${name}: ${(size / 1e6).toFixed(2)} MB, loaded in ${ms(elapsed)}`));
  return model;
}

/** A result and the milliseconds it took. */
export async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const before = performance.now();
  const result = await work();
  return [result, performance.now() - before];
}

/** Runs a section. False where a prediction contradicts the golden output. */
export async function runSection(section: Section, device: DeviceName): Promise<boolean> {
  say();
  say(`${style("bold", section.title)}  ${style("dim", section.about)}`);
  const check = new Check();
  await section.run(device, check);
  if (check.skipped) return true;
  const worst = check.worst === 0 ? "0" : check.worst.toExponential(1);
  if (check.passed)
    say(style("green", `  ✓ ${check.predictions} predictions equal the golden outputs (largest difference ${worst})`));
  else say(style("red", `  ✗ differs from the golden outputs by ${worst}; allowed is ${allowed}`));
  return check.passed;
}
