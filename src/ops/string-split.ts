import { expectDType } from "./check.ts";
import { expectTensor } from "./host-values.ts";
import { i64Tensor } from "./indices.ts";
import { defineOp } from "./op.ts";

export interface StringSplitAttrs {
  /** Default "": runs of whitespace, of which leading and trailing ones count for nothing. */
  delimiter?: string;
  /** Cut at most this often; what is left is the last piece. Default: no limit. */
  maxSplit?: number;
}

/** Python's `str.split`. */
function pieces(s: string, delimiter: string, maxSplit: number): string[] {
  const out: string[] = [];
  let rest = delimiter === "" ? s.trimStart() : s;
  while (out.length < maxSplit) {
    const found = delimiter === "" ? /\s+/.exec(rest) : undefined;
    const at = found ? found.index : delimiter === "" ? -1 : rest.indexOf(delimiter);
    if (at < 0) break;
    out.push(rest.slice(0, at));
    rest = rest.slice(at + (found ? found[0].length : delimiter.length));
  }
  // Trailing whitespace was the last separator; with a limit reached, it isn't one.
  if (delimiter === "" && rest.trimEnd() === "") return out;
  out.push(rest);
  return out;
}

/**
 * Every string cut into pieces: y has one more dimension, as long as the longest list, filled up with "". `counts` are
 * the numbers of pieces, i64.
 */
export const stringSplit = /* @__PURE__ */ defineOp({
  name: "stringSplit",
  inputs: ["x"],
  outputs: ["y", "counts"],
  evaluate([value], { delimiter = "", maxSplit = Number.POSITIVE_INFINITY }: StringSplitAttrs) {
    const x = expectTensor("stringSplit", value);
    expectDType("stringSplit", x, "string");
    const lists = (x.data as string[]).map((s) => pieces(s, delimiter, maxSplit));
    const longest = lists.reduce((n, l) => Math.max(n, l.length), 0);
    const data = lists.flatMap((l) => Array.from({ length: longest }, (_, i) => l[i] ?? ""));
    return [
      { dtype: "string", shape: [...x.shape, longest], data },
      i64Tensor(
        lists.map((l) => l.length),
        x.shape,
      ),
    ];
  },
});
