import { fromF64, toF64 } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { InputError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { headView } from "./attention.ts";
import { dtypeError, expectFloat, numbersOf, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface RotaryEmbeddingAttrs {
  /** Of packed (rank 3) inputs. Default: as many as make a head twice as long as a row of `cos`. */
  heads?: number;
  /** Only the first `rotaryDim` elements of a head are rotated. Default: twice a row of `cos`. */
  rotaryDim?: number;
  /** Pairs are neighbours (2i, 2i + 1) instead of (i, i + rotaryDim / 2). Default false. */
  interleaved?: boolean;
}

const OP = "rotaryEmbedding";

/** Throws InputError. */
export function refusePosition(position: number, rows: number): never {
  throw new InputError(`${OP}: position ${position} is outside a table of ${rows}`, { op: OP });
}

/** Where heads are, how much of each is rotated, and how angles are found. */
export function rotaryGeometry(
  x: TensorType,
  cos: TensorType,
  positions: TensorType | undefined,
  attrs: RotaryEmbeddingAttrs,
) {
  const half = cos.shape.at(-1) ?? 0;
  const heads = attrs.heads || (x.shape.length === 3 && half > 0 ? x.shape[2] / (2 * half) : undefined);
  const view = headView(OP, x, heads);
  const rotaryDim = attrs.rotaryDim || 2 * half;
  if (rotaryDim !== 2 * half || rotaryDim > view.dim) shapeError(OP, `rotates ${rotaryDim} elements a head`, x, cos);
  const { batches, positions: seq } = view;
  if (!positions) {
    if (cos.shape.length !== 3 || sizeOf(cos.shape) !== batches * seq * half)
      shapeError(OP, "without positions cos and sin are [batch, seq, dim / 2]", x, cos);
  } else if (cos.shape.length !== 2) shapeError(OP, "with positions cos and sin are [positions, dim / 2]", cos);
  else if (![batches * seq, batches, 1].includes(sizeOf(positions.shape)))
    shapeError(OP, "positions are [batch, seq], or the first one's as [batch] or [1]", x, positions);
  return { ...view, seq, rotaryDim };
}

/**
 * Rotary position embedding (https://arxiv.org/abs/2104.09864): x [batch, heads, seq, dim] or packed
 * [batch, seq, heads * dim]; cos and sin [maxPosition, rotaryDim / 2] with `positions`, which are [batch, seq] or the
 * position of the first token as [batch] or [1]; without positions cos and sin are [batch, seq, rotaryDim / 2].
 * Output like `x`.
 */
export const rotaryEmbedding = /* @__PURE__ */ defineOp({
  name: OP,
  inputs: ["x", "cos", "sin", "positions?"],
  infer([x, cos, sin, positions], attrs: RotaryEmbeddingAttrs) {
    expectFloat(OP, cos);
    expectFloat(OP, sin);
    if (positions && !isInteger(positions.dtype)) dtypeError(OP, "positions are integers", positions);
    if (cos.shape.join() !== sin.shape.join()) shapeError(OP, "cos and sin differ in shape", cos, sin);
    rotaryGeometry(x, cos, positions, attrs);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, cos, sin, positions], attrs, [y]) {
    const g = rotaryGeometry(x, cos, positions, attrs);
    const src = toF64(x);
    const out = src.slice();
    const [c, s] = [toF64(cos), toF64(sin)];
    const at = positions && numbersOf(positions);
    const perToken = positions !== undefined && sizeOf(positions.shape) === g.batches * g.seq;
    const half = g.rotaryDim / 2;
    const [first, second] = attrs.interleaved ? [2, 1] : [1, half];
    for (let b = 0; b < g.batches; b++)
      for (let t = 0; t < g.seq; t++) {
        const start = at && (perToken ? at[b * g.seq + t] : at[at.length === 1 ? 0 : b] + t);
        const angle = (start ?? b * g.seq + t) * half;
        if (angle < 0 || angle + half > c.length) refusePosition(angle / half, c.length / half);
        for (let h = 0; h < g.heads; h++) {
          const head = b * g.batch + h * g.head + t * g.position;
          for (let i = 0; i < half; i++) {
            const [p, q] = [head + i * first, head + i * first + second];
            out[p] = c[angle + i] * src[p] - s[angle + i] * src[q];
            out[q] = s[angle + i] * src[p] + c[angle + i] * src[q];
          }
        }
      }
    fromF64(out, y);
  },
});
