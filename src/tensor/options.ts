/**
 * Checks of options, for what JavaScript does not tell: `{ max_tokens: 5 }` would do nothing. Small pages do without (see
 * `areUsual`).
 */
import { InputError } from "./errors.ts";

/** The names of all options of a kind. One that is left out does not compile. */
export type OptionNames<O> = Readonly<Record<keyof O, true>>;

/**
 * An option of another name would do nothing: it is refused, unless it is undefined.
 * @param who what messages begin with
 * @throws InputError, which names the option, the nearest one that there is, and all
 */
export function checkOptions<O extends object>(who: string, options: O, known: OptionNames<O>): void {
  const isObject = typeof options === "object" && options !== null;
  if (!isObject || Array.isArray(options) || options instanceof AbortSignal)
    throw new InputError(`${who}: options are an object. There are: ${Object.keys(known).join(", ")}`);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || Object.hasOwn(known, name)) continue;
    const near = nearest(name, Object.keys(known));
    throw new InputError(
      `${who}: unknown option "${name}"${near ? `; did you mean "${near}"?` : "."} There are: ${Object.keys(known).join(", ")}`,
    );
  }
  const { signal, onProgress } = options as { signal?: AbortSignal; onProgress?: unknown };
  checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw new InputError(`${who}: onProgress takes a function, got ${JSON.stringify(onProgress)}`);
}

/** @throws InputError for what is none */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function")
    throw new InputError("signal takes an AbortSignal, as new AbortController().signal");
}

/** @throws InputError unless all are whole numbers from `least` */
export function checkWhole(who: string, numbers: Readonly<Record<string, number>>, least = 0): void {
  for (const [name, n] of Object.entries(numbers))
    if (!Number.isInteger(n) || n < least)
      throw new InputError(`${who}: ${name} takes a whole number from ${least}, got ${n}`);
}

/** The name that is another in two letters of five at most, or that begins like it. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (s: string): string => s.toLowerCase().replace(/[^a-z0-9]/g, "");
  const wanted = plain(name);
  let [best, least]: [string | undefined, number] = [undefined, 0.4 * wanted.length];
  for (const n of names) {
    const d = distance(wanted, plain(n));
    if (d <= least) [best, least] = [n, d - 0.5];
  }
  const begins = (n: string): boolean => wanted.length > 2 && (n.startsWith(wanted) || wanted.startsWith(n));
  return best ?? names.find((n) => begins(plain(n)));
}

/** Letters to insert, delete or replace until `a` is `b` (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length];
}
