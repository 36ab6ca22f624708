/**
 * Attention, f32: y = softmax(scale q k^T + mask) v by tiles of queries and keys. The scores of a tile are a product on
 * the micro-kernel of gemm.ts, a row at a time becomes weights (online softmax, https://arxiv.org/abs/1805.02867), and a
 * second product adds the weighted values to y. Keys and values are packed once for all the queries of their head, some
 * hundred at a time, so that what is packed stays in the second cache and a workspace is small however many there are.
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
import { fromHalf } from "./half.ts";
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
  /** Of keys and values. f16: `dim` and `valueDim` are multiples of 4. Default: f32. */
  readonly kvDtype?: "f32" | "f16";
  /** There are as many keys as the last query sees: `offset` and `seq`. */
  readonly untilLast?: boolean;
}

/** Queries and keys of a tile: the scores take 32 KB. */
const tileQueries = 64;
const tileKeys = 128;
/** Bytes of keys and values that are packed at a time. */
const packedBytes = 2 ** 19;

/** Tiles of queries for each head, of equal height. */
export const queryTiles = (seq: number): number => Math.ceil(seq / tileQueries);

/** Where the parts of a thread's workspace start. */
function layout({ seq, total, dim, valueDim, heads, kvHeads, kvDtype }: AttentionShape) {
  const tiles = queryTiles(seq);
  const rows = Math.ceil(seq / tiles);
  const keys = Math.min(tileKeys, Math.ceil(total / PANEL_COLUMNS) * PANEL_COLUMNS);
  const atOnce = Math.max(1, Math.floor(packedBytes / (4 * (dim + valueDim) * tileKeys))) * tileKeys;
  const chunk = Math.min(total, atOnce);
  const scores = alignUp((8 * rows * tiles * heads) / kvHeads);
  const packedK = scores + alignUp(4 * rows * keys);
  const packedV = packedK + alignUp(4 * packedLength(dim, chunk));
  const widened = packedV + alignUp(4 * packedLength(chunk, valueDim));
  const gemm = widened + (kvDtype === "f16" ? alignUp(4 * tileKeys * Math.max(dim, valueDim)) : 0);
  const bytes = gemm + alignUp(gemmWorkspaceBytes(rows, Math.max(dim, keys)));
  return { rows, keys, atOnce, scores, packedK, packedV, widened, gemm, bytes };
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
  /** For f16. */
  readonly widen?: WidenFunction;
}

const widenParams = { from: "i32", stride: "i32", to: "i32", rows: "i32", n: "i32" } as const;
export type WidenFunction = Func<typeof widenParams, undefined>;

/** Rows of `n` f16, a multiple of 4 and `stride` bytes apart, as rows of f32 side by side. */
export const emitWiden = (m: ModuleBuilder, name: string): WidenFunction =>
  m.func({ name, params: widenParams }, (f, { from, stride, to, rows, n }) => {
    const [at, end] = f.locals("i32", 2);
    f.while(rows, () => {
      f.set(at, from);
      f.set(end, i32.add(from, i32.shl(n, 1)));
      f.while(i32.lt_u(at, end), () => {
        f.v128.store(to, fromHalf(f, v128.load16x4_s(at)));
        f.increment(at, 8);
        f.increment(to, 16);
      });
      f.increment(from, stride);
      f.increment(rows, -1);
    });
  });

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
    const [item, first, past, sample, head, query, rows, kv, length, offset] = f.locals("i32", 10);
    const [key, keys, end, row, at0, from, to, chunk, chunkEnd, allEnd, states] = f.locals("i32", 11);
    const part = (offset: number): Local<"i32"> => f.let(i32.add(p.workspace, offset));
    const [scores, packedK, packedV, gemmSpace] = [at.scores, at.packedK, at.packedV, at.gemm].map(part);
    const y = f.local("i32");
    const place = (base: Operand<"i32">, s: Strides, h: Operand<"i32">, position: Operand<"i32">, size = 4) =>
      i32.add(
        i32.add(base, i32.mul(sample, size * s.batch)),
        i32.add(i32.mul(h, size * s.head), i32.mul(position, size * s.position)),
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

    /** Keys and values [chunk, chunkEnd). */
    const packChunk = (): void => {
      const size = g.kvDtype === "f16" ? 2 : 4;
      const pack = (
        base: Local<"i32">,
        s: Strides,
        n: number,
        call: (b: Operand<"i32">, ldb: number) => void,
      ): void => {
        const source = place(base, s, i32.rem_u(kv, g.kvHeads), key, size);
        if (!parts.widen) {
          call(source, 4 * s.position);
          return;
        }
        const wide = f.let(i32.add(p.workspace, at.widened));
        f.call(parts.widen, { from: source, stride: size * s.position, to: wide, rows: keys, n });
        call(wide, 4 * n);
      };
      f.forRange(key, chunk, chunkEnd, tileKeys, () => {
        setTileKeys();
        pack(p.k, g.k, g.dim, (b, ldb) =>
          f.call(parts.packRows, { b, ldb, k: g.dim, n: keys, out: inChunk(packedK, 4 * g.dim) }),
        );
        pack(p.v, g.v, g.valueDim, (b, ldb) =>
          f.call(parts.packColumns, { b, ldb, k: keys, n: g.valueDim, out: inChunk(packedV, 4 * wide) }),
        );
      });
    };
    const inChunk = (packed: Operand<"i32">, keyBytes: number) =>
      i32.add(packed, i32.mul(i32.sub(key, chunk), keyBytes));

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
        b: inChunk(packedK, 4 * g.dim),
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
          state: stateOf(row),
          y: i32.add(y, i32.mul(row, ldc)),
          valueDim: g.valueDim,
        });
      });
      f.call(parts.accumulate, {
        ...products,
        a: scores,
        lda: 4 * at.keys,
        b: inChunk(packedV, 4 * wide),
        c: y,
        ldc,
        residual: y,
        ldr: ldc,
        n: g.valueDim,
        k: keys,
      });
    };

    const stateOf = (row: Local<"i32">) => i32.add(states, i32.shl(row, 3));
    /** Items of the run, from `first` on, one after the other. */
    const forItems = (body: () => void): void =>
      f.forRange(item, first, past, 1, () => {
        f.set(head, i32.rem_u(i32.div_u(item, tiles), g.heads));
        f.set(query, i32.mul(i32.rem_u(item, tiles), at.rows));
        f.set(rows, i32.sub(g.seq, query));
        clamp(rows, 0, at.rows);
        f.set(y, place(p.y, g.y, head, query));
        f.set(states, i32.add(p.workspace, i32.mul(i32.sub(item, first), 8 * at.rows)));
        body();
      });
    const toTile = (key: Local<"i32">): void => f.set(key, i32.mul(i32.div_u(key, tileKeys), tileKeys));

    f.set(first, p.from);
    // Runs of items whose keys are the same.
    f.while(i32.lt_s(first, p.to), () => {
      f.set(kv, i32.div_u(first, tiles * group));
      f.set(past, i32.mul(i32.add(kv, 1), tiles * group));
      f.if(i32.gt_s(past, p.to), () => f.set(past, p.to));
      f.set(sample, i32.div_u(kv, g.kvHeads));
      f.set(length, g.columns);
      f.set(offset, 0);
      if (g.lengthStep !== undefined) {
        const given = f.let(i32.load(i32.add(p.length, i32.mul(sample, g.lengthStep))));
        f.if(i32.lt_s(given, length), () => f.set(length, given));
        f.set(offset, i32.sub(given, g.seq));
      }
      if (g.offsetStep !== undefined) f.set(offset, i32.load(i32.add(p.offset, i32.mul(sample, g.offsetStep))));
      if (g.untilLast) f.set(length, i32.add(offset, g.seq));
      forItems(() =>
        f.forRange(row, 0, rows, 1, () => {
          const state = f.let(stateOf(row));
          f.f32.store(state, g.sink ? f32.load(i32.add(p.sink, i32.shl(head, 2))) : Number.NEGATIVE_INFINITY);
          f.f32.store(state, g.sink ? 1 : 0, 4);
          f.memory.fill(i32.add(y, i32.mul(row, 4 * g.y.position)), 0, 4 * g.valueDim);
        }),
      );
      f.set(chunk, 0);
      if (g.leftWindow >= 0) {
        f.set(chunk, firstKey(i32.const(0)));
        clamp(chunk, 0, g.total);
        toTile(chunk);
      }
      setEnd(allEnd, i32.const(g.seq - 1));
      f.while(i32.lt_s(chunk, allEnd), () => {
        f.set(chunkEnd, i32.add(chunk, at.atOnce));
        f.if(i32.gt_s(chunkEnd, allEnd), () => f.set(chunkEnd, allEnd));
        packChunk();
        // The tiles that some query of these sees.
        forItems(() => {
          f.set(key, chunk);
          if (g.leftWindow >= 0) {
            f.set(key, firstKey(query));
            clamp(key, 0, g.total);
            toTile(key);
            f.if(i32.lt_s(key, chunk), () => f.set(key, chunk));
          }
          setEnd(end, i32.add(query, i32.sub(rows, 1)));
          f.if(i32.gt_s(end, chunkEnd), () => f.set(end, chunkEnd));
          f.while(i32.lt_s(key, end), () => {
            setTileKeys();
            attendTile();
            f.increment(key, tileKeys);
          });
        });
        f.increment(chunk, at.atOnce);
      });
      forItems(() =>
        f.forRange(row, 0, rows, 1, () => {
          const sum = f.let(f32.load(stateOf(row), 4));
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
        }),
      );
      f.set(first, past);
    });
  });
}
