/**
 * Attention, f32: y = softmax(scale q k^T + mask) v by tiles of queries and keys. The scores of a tile are a product on
 * the micro-kernel of gemm.ts, a row at a time becomes weights (online softmax, https://arxiv.org/abs/1805.02867), and a
 * second product adds the weighted values to y. Keys and values of a head are packed once for all of its queries.
 */
import {
  type Expr,
  type Func,
  f32,
  f32x4,
  i32,
  type Local,
  type ModuleBuilder,
  type Operand,
  v128,
} from "../assembler.ts";
import { alignUp } from "../memory.ts";
import type { ScoreRowFunction } from "./attention-row.ts";
import type { GemmFunction } from "./gemm.ts";
import { gemmWorkspaceBytes } from "./gemm.ts";
import { PANEL_COLUMNS, type PackBFunction, packedLength } from "./gemm-pack.ts";
import { storeUpTo } from "./vector.ts";

export interface Strides {
  readonly batch: number;
  readonly head: number;
  readonly position: number;
}

/** Sizes and strides in elements; see attentionGeometry. */
export interface AttentionShape {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly seq: number;
  readonly total: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly q: Strides;
  readonly k: Strides;
  readonly v: Strides;
  readonly y: Strides;
  /** Of the mask, if there is one: bytes along [batch, heads, seq, keys]. */
  readonly maskSteps?: readonly number[];
  /** Keys that the mask covers, or all. */
  readonly columns: number;
  readonly causal: boolean;
  readonly leftWindow: number;
  readonly rightWindow: number;
  /** Bytes from one sample's length or offset to the next: undefined where there is none. */
  readonly lengthStep?: number;
  readonly offsetStep?: number;
  readonly sink: boolean;
}

/** Queries and keys of a tile: the scores take 32 KB. */
const tileQueries = 64;
const tileKeys = 128;

/** Tiles of queries for each head, of equal height. */
export const queryTiles = (seq: number): number => Math.ceil(seq / tileQueries);

/** Where the parts of a thread's workspace start. */
function layout({ seq, total, dim, valueDim }: AttentionShape) {
  const rows = Math.ceil(seq / queryTiles(seq));
  const keys = Math.min(tileKeys, Math.ceil(total / PANEL_COLUMNS) * PANEL_COLUMNS);
  const scores = alignUp(8 * rows);
  const packedK = scores + alignUp(4 * rows * keys);
  const packedV = packedK + alignUp(4 * packedLength(dim, total));
  const gemm = packedV + alignUp(4 * packedLength(total, valueDim));
  const bytes = gemm + alignUp(gemmWorkspaceBytes(rows, Math.max(dim, keys)));
  return { rows, keys, scores, packedK, packedV, gemm, bytes };
}

/** Bytes that each thread needs. */
export const attentionWorkspaceBytes = (shape: AttentionShape): number => layout(shape).bytes;

const params = {
  q: "i32",
  k: "i32",
  v: "i32",
  mask: "i32",
  length: "i32",
  offset: "i32",
  sink: "i32",
  y: "i32",
  from: "i32",
  to: "i32",
  workspace: "i32",
} as const;
export type AttentionFunction = Func<typeof params, undefined>;

export interface AttentionParts {
  /** C = A B, and C = A B + residual. */
  readonly product: GemmFunction;
  readonly accumulate: GemmFunction;
  readonly packRows: PackBFunction;
  readonly packColumns: PackBFunction;
  readonly scoreRow: ScoreRowFunction;
}

/** Works on items [from, to) of batch x heads x tiles of queries. */
export function emitAttention(
  m: ModuleBuilder,
  name: string,
  g: AttentionShape,
  parts: AttentionParts,
): AttentionFunction {
  const at = layout(g);
  const tiles = queryTiles(g.seq);
  const group = g.heads / g.kvHeads;
  const wide = Math.ceil(g.valueDim / PANEL_COLUMNS) * PANEL_COLUMNS;
  return m.func({ name, params }, (f, p) => {
    const [item, sample, head, query, rows, kv, packed, length, offset] = f.locals("i32", 9);
    const [key, keys, end, row, at0, from, to] = f.locals("i32", 7);
    const part = (offset: number): Local<"i32"> => f.let(i32.add(p.workspace, offset));
    const [scores, packedK, packedV, gemmSpace] = [at.scores, at.packedK, at.packedV, at.gemm].map(part);
    const y = f.local("i32");
    const place = (base: Operand<"i32">, s: Strides, h: Operand<"i32">, position: Operand<"i32">) =>
      i32.add(
        i32.add(base, i32.mul(sample, 4 * s.batch)),
        i32.add(i32.mul(h, 4 * s.head), i32.mul(position, 4 * s.position)),
      );
    const clamp = (x: Local<"i32">, low: Operand<"i32">, high: Operand<"i32">): void => {
      f.if(i32.gt_s(x, high), () => f.set(x, high));
      f.if(i32.lt_s(x, low), () => f.set(x, low));
    };
    /** First visible key, or one past the last, of a query: a bound on both sides of it. */
    const firstKey = (i: Expr<"i32">) => i32.sub(i32.add(i, offset), g.leftWindow);
    const pastKeys = [
      ...(g.causal ? [(i: Expr<"i32">) => i32.add(i32.add(i, offset), 1)] : []),
      ...(g.rightWindow >= 0 ? [(i: Expr<"i32">) => i32.add(i32.add(i, offset), g.rightWindow + 1)] : []),
    ];
    const setEnd = (target: Local<"i32">, i: Expr<"i32">): void => {
      f.set(target, length);
      for (const past of pastKeys) f.if(i32.gt_s(target, past(i)), () => f.set(target, past(i)));
    };

    /** What lies past `length` may be anything, NaN too: it must not even be multiplied by zero. */
    const setTileKeys = (): void => {
      f.set(keys, i32.sub(length, key));
      f.if(i32.gt_s(keys, tileKeys), () => f.set(keys, tileKeys));
    };

    const packHead = (): void => {
      const firstOf = (base: Local<"i32">, s: Strides) => place(base, s, i32.rem_u(kv, g.kvHeads), 0);
      f.call(parts.packRows, { b: firstOf(p.k, g.k), ldb: 4 * g.k.position, k: g.dim, n: length, out: packedK });
      f.forRange(key, 0, length, tileKeys, () => {
        setTileKeys();
        f.call(parts.packColumns, {
          b: i32.add(firstOf(p.v, g.v), i32.mul(key, 4 * g.v.position)),
          ldb: 4 * g.v.position,
          k: keys,
          n: g.valueDim,
          out: i32.add(packedV, i32.mul(key, 4 * wide)),
        });
      });
    };

    const attendTile = (): void => {
      const ldc = 4 * g.y.position;
      const products = {
        a: 0,
        lda: 0,
        b: 0,
        c: 0,
        ldc: 0,
        bias: 0,
        residual: 0,
        ldr: 0,
        m: rows,
        workspace: gemmSpace,
      };
      f.call(parts.product, {
        ...products,
        a: place(p.q, g.q, head, query),
        lda: 4 * g.q.position,
        b: i32.add(packedK, i32.mul(key, 4 * g.dim)),
        c: scores,
        ldc: 4 * at.keys,
        n: keys,
        k: g.dim,
      });
      f.forRange(row, 0, rows, 1, () => {
        f.set(at0, i32.add(query, row));
        if (g.leftWindow >= 0) f.set(from, i32.sub(firstKey(at0), key));
        setEnd(to, at0);
        f.set(to, i32.sub(to, key));
        clamp(to, 0, keys);
        const steps = g.maskSteps ?? [0, 0, 0, 0];
        const mask = [sample, head, at0, key].reduce<Expr<"i32">>(
          (sum, index, i) => i32.add(sum, i32.mul(index, steps[i])),
          p.mask,
        );
        f.call(parts.scoreRow, {
          s: i32.add(scores, i32.mul(row, 4 * at.keys)),
          n: i32.and(i32.add(keys, 3), -4),
          from,
          to,
          mask: g.maskSteps ? mask : 0,
          state: i32.add(p.workspace, i32.shl(row, 3)),
          y: i32.add(y, i32.mul(row, ldc)),
          valueDim: g.valueDim,
        });
      });
      f.call(parts.accumulate, {
        ...products,
        a: scores,
        lda: 4 * at.keys,
        b: i32.add(packedV, i32.mul(key, 4 * wide)),
        c: y,
        ldc,
        residual: y,
        ldr: ldc,
        n: g.valueDim,
        k: keys,
      });
    };

    f.set(packed, -1);
    f.forRange(item, p.from, p.to, 1, () => {
      const cell = f.let(i32.div_u(item, tiles));
      f.set(head, i32.rem_u(cell, g.heads));
      f.set(sample, i32.div_u(cell, g.heads));
      f.set(query, i32.mul(i32.rem_u(item, tiles), at.rows));
      f.set(rows, i32.sub(g.seq, query));
      clamp(rows, 0, at.rows);
      f.set(length, g.columns);
      f.set(offset, 0);
      if (g.lengthStep !== undefined) {
        const given = f.let(i32.load(i32.add(p.length, i32.mul(sample, g.lengthStep))));
        f.if(i32.lt_s(given, length), () => f.set(length, given));
        f.set(offset, i32.sub(given, g.seq));
      }
      if (g.offsetStep !== undefined) f.set(offset, i32.load(i32.add(p.offset, i32.mul(sample, g.offsetStep))));
      f.set(kv, i32.div_u(cell, group));
      f.if(i32.ne(kv, packed), () => {
        packHead();
        f.set(packed, kv);
      });
      f.set(y, place(p.y, g.y, head, query));
      f.forRange(row, 0, rows, 1, () => {
        const state = f.let(i32.add(p.workspace, i32.shl(row, 3)));
        f.f32.store(state, g.sink ? f32.load(i32.add(p.sink, i32.shl(head, 2))) : Number.NEGATIVE_INFINITY);
        f.f32.store(state, g.sink ? 1 : 0, 4);
        f.memory.fill(i32.add(y, i32.mul(row, 4 * g.y.position)), 0, 4 * g.valueDim);
      });
      // The tiles that some query of these sees.
      f.set(key, 0);
      if (g.leftWindow >= 0) {
        f.set(key, firstKey(query));
        clamp(key, 0, g.total);
        f.set(key, i32.mul(i32.div_u(key, tileKeys), tileKeys));
      }
      setEnd(end, i32.add(query, i32.sub(rows, 1)));
      f.while(i32.lt_s(key, end), () => {
        setTileKeys();
        attendTile();
        f.increment(key, tileKeys);
      });
      f.forRange(row, 0, rows, 1, () => {
        const sum = f.let(f32.load(i32.add(p.workspace, i32.shl(row, 3)), 4));
        // Nothing was visible: the zeros stay.
        f.if(f32.ne(sum, 0), () => {
          const share = f.let(f32x4.splat(f32.div(1, sum)));
          const to = f.let(i32.add(y, i32.mul(row, 4 * g.y.position)));
          const left = f.let(i32.const(g.valueDim));
          f.while(i32.gt_s(left, 0), () => {
            storeUpTo(f, "f32", to, f32x4.mul(v128.load(to), share), left);
            f.increment(to, 16);
            f.increment(left, -4);
          });
        });
      });
    });
  });
}
