/** How the rows of a product are dealt out to tiles, for convolutions that begin in the middle of them. */
import { type Expr, i32, type Operand } from "../assembler.ts";

/** How rows are dealt out to the fewest tiles: the first `taller` of them have `height` + 1 rows, the others `height`. */
export interface Deal<T> {
  readonly tiles: T;
  readonly height: T;
  readonly taller: T;
}

export function dealRows(rows: number, tileRows: number): Deal<number> {
  const tiles = Math.ceil(rows / tileRows);
  return { tiles, height: Math.floor(rows / tiles), taller: rows % tiles };
}

/** Rows of the tiles in front of tile `t`. */
export function rowsBefore({ height, taller }: Omit<Deal<number>, "tiles">, t: Operand<"i32">): Operand<"i32"> {
  if (typeof t === "number") return t * height + Math.min(t, taller);
  return i32.add(i32.mul(t, height), i32.sub(taller, positive(i32.sub(taller, t))));
}

/** How many tiles are taller from tile `t` on. */
export const tallerFrom = ({ taller }: Pick<Deal<number>, "taller">, t: Operand<"i32">): Operand<"i32"> =>
  typeof t === "number" ? Math.max(0, taller - t) : positive(i32.sub(taller, t));

/** max(x, 0) */
const positive = (x: Expr<"i32">) => i32.and(x, i32.xor(i32.shr_s(x, 31), -1));
