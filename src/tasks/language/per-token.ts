/** Graphs that should say something of each token: whether they do. */
import type { Session } from "../../graph/session.ts";
import { InputError } from "../../tensor/errors.ts";
import type { TextRunner } from "./text-runner.ts";

/**
 * A model whose graph gives something else for each token, as far as it says so, is freed.
 * @param least numbers of a token
 * @throws InputError that says what the model looks like
 */
export function checkPerToken(task: string, { session }: TextRunner, least = 1): void {
  const kind = kindOf(session, least);
  if (kind === undefined) return;
  session.dispose();
  const given = session.outputs.map(({ name, shape }) => (shape ? `${name} [${shape.join(", ")}]` : name));
  throw new InputError(`${task}: the model gives ${given.join(" and ")}; it looks like ${kind}`);
}

function kindOf({ outputs }: Session, least: number): string | undefined {
  const [{ name, shape }] = outputs;
  if (outputs.some((p) => /^start_/.test(p.name)) && outputs.some((p) => /^end_/.test(p.name)))
    return "one that answers questions (questionAnswering)";
  if (/^(last_hidden_state|token_embeddings|sentence_embedding)$/.test(name))
    return "one that makes vectors (embeddings)";
  if (shape?.length === 2) return "a classifier of whole texts (textClassification)";
  const width = shape?.at(-1);
  if (typeof width === "number" && width < least) return "a classifier of tokens (tokenClassification)";
  return undefined;
}

/**
 * How many numbers a model gave for each of a text's tokens.
 * @throws InputError where it gave none, or less than `least`
 */
export function widthOf(task: string, logits: Float32Array, tokens: number, least = 1): number {
  const width = logits.length / tokens;
  const isWhole = Number.isInteger(width) && width > 0;
  if (isWhole && !(width < least)) return width;
  const told = `the model gives ${logits.length} numbers for a text of ${tokens} tokens`;
  throw new InputError(
    isWhole
      ? `${task}: ${told}; it looks like a classifier of tokens (tokenClassification)`
      : `${task}: ${told}; it looks like a classifier of whole texts (textClassification)`,
  );
}
