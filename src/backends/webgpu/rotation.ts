/** Rotary embeddings: one invocation for each pair, and for two elements that are not rotated. */
import { type RotaryEmbeddingAttrs, rotaryEmbedding, rotaryGeometry } from "../../ops/rotary-embedding.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { Absorb, GpuStep } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { loaded, perElement, read, stored, write } from "./wgsl.ts";

/**
 * Rotates x; with `into`, each token as a row of a cache, output 0, from the row on that input `position` holds.
 */
export function rotationStep(
  target: GpuTarget,
  [x, cos, sin, positions]: readonly TensorType[],
  attrs: RotaryEmbeddingAttrs,
  into?: { readonly cache: TensorType; readonly position: number },
): GpuStep | undefined {
  const g = rotaryGeometry(x, cos, positions, attrs);
  const [xs, cs, ss] = [x, cos, sin].map((t) => storageOf(target, t.dtype));
  const ps = positions && storageOf(target, positions.dtype);
  if (!xs || !cs || !ss || (positions && !ps)) return undefined;
  const half = g.rotaryDim / 2;
  // What is left of a head is copied, two elements by each invocation.
  const work = half + Math.ceil((g.dim - g.rotaryDim) / 2);
  const [first, second] = attrs.interleaved ? [2, 1] : [1, half];
  const count = positions ? sizeOf(positions.shape) : 0;
  const token = `b * ${g.seq}u + t`;
  const start = !positions
    ? token
    : count === g.batches * g.seq
      ? `u32(positions[${token}])`
      : `u32(positions[${count === 1 ? "0" : "b"}]) + t`;
  const element = (at: string): string => loaded(xs, 1, `x[${at}]`);
  const to = into ? `u32(firstRow[0]) * ${into.cache.shape[1]}u + ` : "";
  const body = `
  let p = i % ${work}u;
  let h = i / ${work}u % ${g.heads}u;
  let t = i / ${work * g.heads}u % ${g.seq}u;
  let b = i / ${work * g.heads * g.seq}u;
  let head = b * ${g.batch}u + h * ${g.head}u + t * ${g.position}u;
  if (p >= ${half}u) {
    let d = ${g.rotaryDim}u + (p - ${half}u) * 2u;
    y[${to}head + d] = x[head + d];
    if (d + 1u < ${g.dim}u) { y[${to}head + d + 1u] = x[head + d + 1u]; }
    return;
  }
  let angle = (${start}) * ${half}u + p;
  let c = ${loaded(cs, 1, "cosines[angle]")};
  let s = ${loaded(ss, 1, "sines[angle]")};
  let at = head + p * ${first}u;
  let re = ${element("at")};
  let im = ${element(`at + ${second}u`)};
  y[${to}at] = ${stored(xs, 1, "c * re - s * im")};
  y[${to}at + ${second}u] = ${stored(xs, 1, "s * re + c * im")};`;
  const bindings = [
    read("x", { input: 0 }, xs.element),
    read("cosines", { input: 1 }, cs.element),
    read("sines", { input: 2 }, ss.element),
  ];
  if (ps) bindings.push(read("positions", { input: 3 }, ps.element));
  if (into) bindings.push(read("firstRow", { input: into.position }, "i32"));
  bindings.push(write("y", { output: 0 }, xs.element));
  return { run: [perElement(work * g.heads * g.seq * g.batches, { bindings, body })], joins: true };
}

/** The step of kvAppend that rotates rows on their way into the cache. */
export const rotateInto =
  (target: GpuTarget): Absorb =>
  (before, after) => {
    const [cache, , position] = after.inputs;
    if (before.op.name !== rotaryEmbedding.op.name || after.outputs[0]?.state === undefined) return undefined;
    const into = { cache: cache!, position: before.inputs.length };
    const step = rotationStep(target, before.inputs as TensorType[], before.attrs, into);
    return step && { step: { dispatches: 1, ...step }, inputs: [...before.inputs, position] };
  };
