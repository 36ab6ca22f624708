/** What goes into a run: the inputs that the graph of `decoder` has. */
import type { Session } from "../../graph/session.ts";
import { sharedSizes } from "./run-sizes.ts";

export type RunInputs = Record<string, Int32Array>;

/** What runs have to know of a model: see `Decoder`. */
interface Model {
  readonly session: Session;
  readonly longFrom: number;
}

/** Where the next token of a text stands. */
interface End {
  readonly position: number;
  /** Row of the angles of the text's first token. */
  readonly firstAngle: number;
}

/** Tokens that a text goes on with in a run. */
interface TextPart extends End {
  readonly tokens: readonly number[];
  /** Whether the logits after the last of them are wanted. */
  readonly ends: boolean;
}

/** Whether positions are learned. */
const takesPositions = ({ inputs }: Session): boolean => inputs.some((p) => p.name === "positions");

/** Tokens of one text, filled up to `size`. @param rows that logits are wanted of */
export function inputsOf(
  { session, longFrom }: Model,
  tokens: readonly number[],
  size: number,
  rows: Int32Array,
  { position, firstAngle }: End,
): RunInputs {
  const ids = new Int32Array(size);
  ids.set(tokens);
  const inputs: RunInputs = { tokens: ids, position: Int32Array.of(position), sequence: Int32Array.of(0), rows };
  if (takesPositions(session)) inputs["positions"] = ids.map((_, i) => position + i);
  if (longFrom < Infinity) inputs["angles"] = Int32Array.of(firstAngle + position);
  return inputs;
}

/** The same arrays with another token: a run has read them when it returns. */
export function setToken(inputs: RunInputs, token: number, { position, firstAngle }: End): void {
  inputs["tokens"][0] = token;
  inputs["position"][0] = position;
  if (inputs["positions"]) inputs["positions"][0] = position;
  if (inputs["angles"]) inputs["angles"][0] = firstAngle + position;
}

/** Tokens of several texts, filled up with some of none. */
export function sharedInputs({ session, longFrom }: Model, parts: readonly TextPart[]): RunInputs {
  const sizeFor = (n: number): number => sharedSizes.find((size) => size >= n)!;
  const size = sizeFor(parts.reduce((n, p) => n + p.tokens.length, 0));
  const inputs: RunInputs = {
    tokens: new Int32Array(size),
    position: new Int32Array(size),
    sequence: new Int32Array(size).fill(-1),
    rows: new Int32Array(sizeFor(Math.max(1, parts.filter((p) => p.ends).length))),
  };
  const { tokens: ids, position: positions, sequence, rows } = inputs;
  let at = 0;
  let row = 0;
  parts.forEach(({ tokens, position, ends }, s) => {
    for (const [j, token] of tokens.entries()) {
      ids[at] = token;
      positions[at] = position + j;
      sequence[at++] = s;
    }
    if (ends) rows[row++] = at - 1;
  });
  if (takesPositions(session)) inputs["positions"] = positions;
  if (longFrom < Infinity) inputs["angles"] = positions.map((p, t) => p + (parts[sequence[t]]?.firstAngle ?? 0));
  return inputs;
}
