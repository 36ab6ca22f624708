/** The models of the demo, and the outputs that the framework which trained them gave: every prediction is compared. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { LabelScore } from "../../src/tasks/index.ts";

/** Largest difference that still counts as the same answer. */
export const allowed = 1e-4;

const models = new URL("../models/", import.meta.url);

export const modelPath = (path: string): string => fileURLToPath(new URL(path, models));
export const demoPath = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
export const readText = (path: string): Promise<string> => readFile(path, "utf8");
export const readJson = async <T>(path: string): Promise<T> => JSON.parse(await readText(path)) as T;

export interface GoldenCase {
  /** Row of the test data. */
  readonly row: number;
  readonly label: number;
  readonly risk?: readonly number[];
  readonly logits?: readonly number[];
  readonly text?: string;
}

/** The golden cases of a model, by row of its test data. */
export async function readGolden(model: string): Promise<Map<number, GoldenCase>> {
  const { cases } = await readJson<{ cases: (Omit<GoldenCase, "row"> & { row: number | number[] })[] }>(
    modelPath(`${model}/golden.json`),
  );
  return new Map(cases.flatMap((c) => (typeof c.row === "number" ? [[c.row, { ...c, row: c.row }] as const] : [])));
}

/** What the model gave, class by class. */
export const logitsOf = (scores: readonly LabelScore[]): number[] =>
  [...scores].sort((a, b) => a.index - b.index).map((s) => s.logit);

/** Counts predictions and keeps the largest difference from what was expected. */
export class Check {
  predictions = 0;
  worst = 0;
  /** What the section needs can't be had here. */
  skipped = false;

  compare(got: ArrayLike<number>, want: ArrayLike<number> | undefined): void {
    this.predictions++;
    if (!want || want.length !== got.length) this.worst = Number.POSITIVE_INFINITY;
    // Written so that NaN counts as different.
    else
      for (let i = 0; i < want.length; i++) {
        const d = Math.abs(got[i] - want[i]);
        if (!(d <= this.worst)) this.worst = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
      }
  }

  get passed(): boolean {
    return this.predictions > 0 && this.worst <= allowed;
  }
}
