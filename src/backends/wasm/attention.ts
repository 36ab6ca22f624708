/** The attention operator on kernels/attention.ts: heads and tiles of queries are dealt out to the threads. */
import { attention, attentionGeometry, maskGeometry } from "../../ops/attention.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { i32 } from "./assembler.ts";
import { type AttentionShape, attentionWorkspaceBytes, emitAttention, queryTiles } from "./kernels/attention.ts";
import { emitScoreRow, type ScoreOptions } from "./kernels/attention-row.ts";
import { emitPackB, type PackBFunction } from "./kernels/gemm-pack.ts";
import { gemmFunction } from "./matmul.ts";
import { addressOf, partsOf, type StepEmitter, type WasmKernels, wasmKernel } from "./step.ts";

const packFunction = (e: StepEmitter, transposed: boolean): PackBFunction => {
  const name = `packB/${transposed ? "t" : "n"}`;
  return e.shared(name, (m) => emitPackB(m, { name, transposed }));
};

/** Bytes between the integers of two samples; their low words count. */
const integerStep = (t: TensorType | undefined): number | undefined =>
  t && (sizeOf(t.shape) === 1 ? 0 : bytesOf(t.dtype));

const isWord = (t: TensorType | undefined): boolean => !t || t.dtype === "i32" || t.dtype === "i64";

export const attentionKernels: WasmKernels = (target) => [
  wasmKernel(attention, "wasm/attention/tiles", (inputs, _, attrs) => {
    const [q, k, v, mask, lengths, offsets, sink] = inputs as readonly (TensorType | undefined)[];
    if ([q, k, v, sink].some((t) => t && t.dtype !== "f32") || !isWord(lengths) || !isWord(offsets)) return undefined;
    if (mask && mask.dtype !== "f32" && mask.dtype !== "bool") return undefined;
    const g = attentionGeometry("attention", q!, k!, v!, attrs);
    if (sizeOf(q!.shape) * sizeOf(k!.shape) * sizeOf(v!.shape) === 0) return undefined;
    const reading = mask && maskGeometry("attention", mask, g);
    const shape: AttentionShape = {
      ...g,
      maskSteps: reading?.strides.map((s) => s * bytesOf(mask!.dtype)),
      columns: reading?.columns ?? g.total,
      causal: attrs.causal ?? false,
      leftWindow: attrs.leftWindow ?? -1,
      rightWindow: attrs.rightWindow ?? -1,
      lengthStep: integerStep(lengths),
      offsetStep: integerStep(offsets),
      sink: sink !== undefined,
    };
    const scores: ScoreOptions = {
      scale: g.scale,
      softcap: attrs.softcap ?? 0,
      mask: mask && { dtype: mask.dtype as "bool" | "f32", repeated: reading!.strides[3] === 0 },
    };
    const own = attentionWorkspaceBytes(shape);
    const tiles = queryTiles(g.seq);
    const all = g.batch * g.heads;
    const items = all * tiles;
    // Whole heads, where there are enough: each packs its keys and values.
    const wholeHeads = all >= target.threads;
    return {
      workspaceBytes: own * target.threads,
      work: g.batch * g.heads * g.seq * g.total * (g.dim + g.valueDim),
      alike: true,
      emit(e) {
        const rowName = `attention/row${JSON.stringify(scores)}`;
        const scoreRow = e.shared(rowName, (m) => emitScoreRow(m, rowName, scores));
        const parts = {
          product: gemmFunction(e, { bias: "none", residual: false }),
          accumulate: gemmFunction(e, { bias: "none", residual: true }),
          packRows: packFunction(e, true),
          packColumns: packFunction(e, false),
          scoreRow,
        };
        const name = `attention${JSON.stringify([shape, scores])}`;
        const fn = e.own(name, (m) => emitAttention(m, name, shape, parts));
        const [qAt, kAt, vAt, maskAt, length, offset, sinkAt] = e.inputs;
        const { from, to } = e.share(items, wholeHeads ? tiles : 1, partsOf(all, 1, target));
        const workspace = addressOf(e.workspace, e.thread, own);
        const at = { q: qAt, k: kAt, v: vAt, mask: maskAt, length, offset, sink: sinkAt, y: e.outputs[0] };
        const run = () => e.f.call(fn, { ...at, from, to, workspace });
        if (typeof from === "number") run();
        else e.f.if(i32.lt_s(from, to), run);
      },
    };
  }),
];
