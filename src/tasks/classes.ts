/** Scores of classes, and their names. */
import type { Json, ModelFolder } from "../formats/folder.ts";
import type { Node, ValueId } from "../graph/ir.ts";
import type { Session } from "../graph/session.ts";
import { toF64 } from "../tensor/convert.ts";
import { isFloat } from "../tensor/dtype.ts";
import { InputError, UnsupportedOpError } from "../tensor/errors.ts";
import type { HostTensor } from "../tensor/tensor.ts";

/** How sure a model is of a class. */
export interface LabelScore {
  readonly label: string;
  /** Number of the class. */
  readonly index: number;
  /** 0 to 1, but where `scoring` is "none". */
  readonly score: number;
  /** What the model gave. */
  readonly logit: number;
}

/** How outputs become scores: classes exclude each other (they add up to 1), each stands alone, or they are what is asked for already. */
export type Scoring = "softmax" | "sigmoid" | "none";
const scorings: readonly unknown[] = ["softmax", "sigmoid", "none"] satisfies Scoring[];

/**
 * Of a task's options, when it is loaded.
 * @throws InputError for labels that are no list of names, and a scoring that there is not
 */
export function checkClassOptions(task: string, { labels, scoring }: { labels?: unknown; scoring?: unknown }): void {
  if (labels !== undefined && !(Array.isArray(labels) && labels.every((label) => typeof label === "string")))
    throw new InputError(`${task}: labels takes a list of names, got ${JSON.stringify(labels)}`);
  if (scoring !== undefined) checkScoring(`${task}: scoring`, scoring);
}

function checkScoring(what: string, scoring: unknown): void {
  if (!scorings.includes(scoring))
    throw new InputError(`${what} is one of ${scorings.join(", ")}; got ${JSON.stringify(scoring)}`);
}

/** What leaves the values of its first input as they are, but for rounding. */
const carriers = new Set(
  "cast castLike dequantizeLinear flatten identity quantizeLinear reshape squeeze unsqueeze".split(" "),
);

/**
 * By `problem_type` of `config.json`: numbers are as they are, several labels stand alone. Where nothing is said, classes
 * exclude each other; one alone is a yes or no.
 */
export function scoringIn(config: Json | undefined, classes: number): Scoring {
  const problem = config?.["problem_type"];
  if (problem === "regression") return "none";
  return problem === "multi_label_classification" || classes === 1 ? "sigmoid" : "softmax";
}

/**
 * What a graph's output needs: nothing where it comes from a softmax or sigmoid, if in another shape or dtype, else what
 * `config.json` says.
 */
export function scoringOf({ graph }: Session, output: string, classes: number, config: Json | undefined): Scoring {
  const id = graph.outputs.find((p) => p.name === output)?.id;
  const makerOf = (value: ValueId | undefined): Node | undefined =>
    graph.nodes.find((n) => n.outputs.some((o) => o === value));
  let last = makerOf(id);
  while (last && carriers.has(last.op.name)) last = makerOf(last.inputs[0]);
  return last?.op.name === "softmax" || last?.op.name === "sigmoid" ? "none" : scoringIn(config, classes);
}

/**
 * What a model gave for its classes, as numbers.
 * @throws UnsupportedOpError for integers and the like, an answer already, without scores; and for more than one row of classes
 */
export function logitsOf(output: string, t: HostTensor): Float64Array {
  if (!isFloat(t.dtype))
    throw new UnsupportedOpError(
      `a classifier gives a floating-point score for each class; output "${output}" is ${t.dtype}[${t.shape}]. Export the model up to its logits`,
    );
  if (t.shape.filter((d) => d !== 1).length > 1)
    throw new UnsupportedOpError(
      `a classifier gives one score for each class, [1, classes]; output "${output}" is ${t.dtype}[${t.shape}]`,
    );
  return toF64(t);
}

/**
 * All classes, the likeliest first.
 * @throws InputError for another number of labels than of outputs, and a scoring that there is not
 */
export function ranked(logits: ArrayLike<number>, labels: readonly string[], scoring: Scoring): LabelScore[] {
  if (labels.length !== logits.length)
    throw new InputError(`there are ${labels.length} labels for ${logits.length} classes: pass { labels }`);
  const values = Array.from(logits);
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = values.reduce((sum, v) => sum + Math.exp(v - most), 0);
  checkScoring("scoring", scoring);
  const scores: Readonly<Record<Scoring, (v: number) => number>> = {
    softmax: (v) => Math.exp(v - most) / total,
    sigmoid: (v) => 1 / (1 + Math.exp(-v)),
    none: (v) => v,
  };
  const score = scores[scoring];
  return values
    .map((logit, i) => ({ label: labels[i], index: i, score: score(logit), logit }))
    .sort((a, b) => b.score - a.score);
}

/** `id2label` of `config.json`, by number or as a list. */
export function labelsIn(config: Json | undefined): string[] | undefined {
  const names = config?.["id2label"];
  if (typeof names !== "object" || names === null) return undefined;
  const entries = Object.entries(names).sort(([a], [b]) => Number(a) - Number(b));
  return entries.length > 0 ? entries.map(([, name]) => String(name)) : undefined;
}

/** Names of classes beside a model: in its `config.json`, else the list in `labels.json`. */
export async function labelsBeside(folder: ModelFolder, config: Json | undefined): Promise<string[] | undefined> {
  const known = labelsIn(config);
  if (known) return known;
  const list: unknown = await folder.optionalJson("labels.json");
  return Array.isArray(list) ? list.map(String) : undefined;
}

/** Names for classes that have none. */
export const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `class ${i}`);
