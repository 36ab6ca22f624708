/** Values of `const` and `enum`: what JSON can write, which are of a type, which are the same. */

/** Lists and objects inside of one another. */
const deepest = 500;

/** Of an object what it says that it is: "Object" of plain ones, "Array", "Map". */
export const tagOf = (v: unknown): string => Object.prototype.toString.call(v).slice(8, -1);

export const kindOf = (v: unknown): string => (v === null ? "null" : Array.isArray(v) ? "array" : typeof v);

/** @param type a name or several; undefined for any */
export function isOfType(v: unknown, type: unknown): boolean {
  if (type === undefined) return true;
  const own = kindOf(v);
  return [type].flat().some((t) => t === own || (t === "integer" && Number.isInteger(v)));
}

/** As JSON. @param fail throws, with why there is none */
export function textOf(v: unknown, fail: (message: string) => never): string {
  check(v, fail, 0);
  return JSON.stringify(v);
}

function check(v: unknown, fail: (message: string) => never, depth: number): void {
  if (v === null || typeof v === "string" || typeof v === "boolean" || Number.isFinite(v)) return;
  const name = typeof v === "object" ? tagOf(v) : typeof v;
  if (depth > deepest) fail(`has a value of more than ${deepest} lists and objects inside of one another`);
  if (typeof v === "number") fail(`has the value ${v}: JSON writes numbers that are finite`);
  if ((name !== "Object" && name !== "Array") || typeof (v as { toJSON?: unknown }).toJSON === "function")
    fail(`has a value that JSON can't write: ${name}. Give null, texts, numbers, true, false, lists and plain objects`);
  // `values` also gives what a list with holes leaves out.
  for (const part of Array.isArray(v) ? v.values() : Object.values(v as object)) check(part, fail, depth + 1);
}

/** Whether two are the same for JSON, whose names come in any order. Very deep ones are not compared, and differ. */
export function equal(a: unknown, b: unknown, depth = 0): boolean {
  if (a === b) return true;
  if (depth > deepest || Object(a) !== a || Object(b) !== b || Array.isArray(a) !== Array.isArray(b))
    return Object.is(a, b);
  const [own, theirs] = [a, b].map((v) => Object.entries(v as object));
  return (
    own.length === theirs.length &&
    own.every(([k, v]) => Object.hasOwn(b as object, k) && equal(v, (b as never)[k], depth + 1))
  );
}
