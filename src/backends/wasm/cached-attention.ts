/**
 * Attention over caches: kernels/cached-attention.ts, for which threads take tokens, or runs of keys.
 *
 * Prompts, too, token by token. Tiles of queries on keys that are packed some hundred at a time, as in kernels/attention.ts, were
 * tried: GMAC/s of 128 tokens on 1024 positions, 9 query and 3 key heads of 64, one core of an AMD EPYC, Node 24: f32 16.9
 * instead of 16.2, f16 16.3 instead of 12.3. A prompt of 512 tokens took 3% longer with them, one of 1536 3% less, and pages
 * with any attention 1.2 kB more.
 */
import { cachedAttention, cachedGeometry } from "../../ops/cached-attention.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Expr, i32, type Local, type Operand } from "./assembler.ts";
import { type CachedAttentionShape, partialLayout, scratchLayout } from "./kernels/cache-walk.ts";
import { emitCachedAttention, emitMerge } from "./kernels/cached-attention.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmTarget, wasmKernel } from "./step.ts";

/** Where the cache of a sequence is, and how many rows it has: state, or one of several in a tensor. */
export function cacheOf(
  e: StepEmitter,
  input: number,
  { dtype, shape }: TensorType,
  sequence: Local<"i32"> | undefined,
  at: number,
) {
  const state = e.state(input, sequence);
  if (state) return state;
  const [rows, n] = shape.slice(-2);
  if (!sequence) return { at, rows };
  const { f } = e;
  const count = shape.length === 3 ? shape[0] : 1;
  f.if(i32.ge_u(sequence, count), () => f.unreachable());
  return { at: addressOf(at, sequence, rows * n * bytesOf(dtype)), rows };
}

/** Whether tokens have their own positions, and sequences. */
export const areSeveral = (position: TensorType): boolean => sizeOf(position.shape) > 1;

const attend = (target: WasmTarget) =>
  wasmKernel(cachedAttention, "wasm/cachedAttention", ([q, k, v, positions, sequences], _, attrs) => {
    const g = cachedGeometry(q, k, v, attrs);
    const { dtype } = k;
    if (q.dtype !== "f32" || (dtype !== "f32" && dtype !== "f16") || g.dim % 4 || g.valueDim % 4) return undefined;
    const { leftWindow = -1, softcap = 0 } = attrs;
    const { heads, kvHeads, dim, valueDim, scale } = g;
    const shape: CachedAttentionShape = { heads, kvHeads, dim, valueDim, dtype, scale, softcap };
    const several = areSeveral(positions);
    const [kRow, vRow] = [dim, valueDim].map((n) => kvHeads * n * bytesOf(dtype));
    const { bytes: scratchBytes } = scratchLayout(shape);
    const { bytes: partialBytes } = partialLayout(shape);
    // Threads take tokens where there are many, or else each a part of the keys of every token.
    const byTokens = g.tokens >= 4 * target.threads;
    const partials = byTokens ? target.threads : g.tokens * target.threads;
    const partialsAt = (e: StepEmitter, index: Operand<"i32">) =>
      addressOf(addressOf(e.workspace, target.threads, scratchBytes), index, partialBytes);
    /** Runs the code for a token's sequence, or for one that is in none. */
    const forToken = (
      e: StepEmitter,
      t: Local<"i32">,
      run: (of: Local<"i32"> | undefined) => void,
      gap: () => void = () => {},
    ) => {
      const of = sequences && e.f.let(i32.load(several ? addressOf(e.inputs[4], t, 4) : e.inputs[4]));
      if (of) e.f.if(i32.eq(of, -1), gap, () => run(of));
      else run(undefined);
    };
    const outputOf = (e: StepEmitter, t: Local<"i32">) => addressOf(e.outputs[0], t, 4 * heads * valueDim);
    const merge = (e: StepEmitter, t: Local<"i32">, index: Operand<"i32">, parts: number) =>
      e.f.call(emitMerge(e, shape), { y: outputOf(e, t), partial: partialsAt(e, index), parts, step: partialBytes });
    const clear = (e: StepEmitter, t: Local<"i32">) => e.f.memory.fill(outputOf(e, t), 0, 4 * heads * valueDim);

    return {
      workspaceBytes: scratchBytes * target.threads + partialBytes * partials,
      work: sizeOf(q.shape) * 256,
      alike: true,
      emit(e) {
        const { f } = e;
        const [queries, , , position] = e.inputs;
        const { threads } = e.target;
        const [t, part, row, from, begin, end] = f.locals("i32", 6);
        /** The keys of a part of `parts`, a number of fours but for the last. */
        const attendTo = (of: Local<"i32"> | undefined, index: Operand<"i32">, parts: number) => {
          const [keys, values] = [cacheOf(e, 1, k, of, e.inputs[1]), cacheOf(e, 2, v, of, e.inputs[2])];
          f.set(row, several ? i32.load(addressOf(position, t, 4)) : i32.add(i32.load(position), t));
          f.if(i32.or(i32.lt_s(row, 0), i32.ge_s(row, keys.rows)), () => f.unreachable());
          f.set(from, 0);
          if (leftWindow >= 0) f.if(i32.gt_s(row, leftWindow), () => f.set(from, i32.sub(row, leftWindow)));
          f.set(begin, 0);
          f.set(end, i32.add(i32.sub(row, from), 1));
          if (parts > 1) {
            const count = f.let(end);
            const bound = (p: Expr<"i32">) => i32.and(i32.div_u(i32.mul(count, p), parts), -4);
            f.set(begin, bound(part));
            f.if(i32.lt_u(part, parts - 1), () => f.set(end, bound(i32.add(part, 1))));
          }
          f.increment(from, begin);
          f.call(emitCachedAttention(e, shape), {
            q: addressOf(queries, t, 4 * heads * dim),
            k: addressOf(keys.at, from, kRow),
            v: addressOf(values.at, from, vRow),
            n: i32.sub(end, begin),
            partial: partialsAt(e, index),
            scratch: addressOf(e.workspace, e.thread, scratchBytes),
          });
        };
        if (byTokens) {
          const share = e.share(g.tokens, 1, "uneven");
          f.forRange(t, share.from, share.to, 1, () =>
            forToken(
              e,
              t,
              (of) => {
                attendTo(of, e.thread, 1);
                merge(e, t, e.thread, 1);
              },
              () => clear(e, t),
            ),
          );
        } else {
          const share = e.share(threads);
          f.forRange(part, share.from, share.to, 1, () =>
            f.forRange(t, 0, g.tokens, 1, () =>
              forToken(e, t, (of) => attendTo(of, i32.add(i32.mul(t, threads), part), threads)),
            ),
          );
        }
      },
      finish(e) {
        if (byTokens) return;
        const { threads } = e.target;
        const t = e.f.local("i32");
        e.f.forRange(t, 0, g.tokens, 1, () =>
          forToken(
            e,
            t,
            () => merge(e, t, i32.mul(t, threads), threads),
            () => clear(e, t),
          ),
        );
      },
    };
  });

export const cachedAttentionKernels: WasmKernels = (target) => [attend(target)];
