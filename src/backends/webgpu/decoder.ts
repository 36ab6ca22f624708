/**
 * What decoders do with tokens and their caches.
 *
 *   kvAppend          rows behind those that are there, in place where the cache is state
 *   appendCache       the same for caches that come in and go out as tensors
 *   rotaryEmbedding   one invocation for each pair, and for each element that is not rotated
 */
import { headView } from "../../ops/attention.ts";
import { numbersOf } from "../../ops/check.ts";
import { kvAppend } from "../../ops/kv-append.ts";
import { appendCache, cacheStart, keyPaddingMask } from "../../ops/kv-cache.ts";
import { type RotaryEmbeddingAttrs, rotaryEmbedding, rotaryGeometry } from "../../ops/rotary-embedding.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
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

export const decoderKernels: GpuKernels = (target) => [
  gpuKernel(kvAppend, "webgpu/kvAppend/rows", ([cache, x, position]) => {
    const storage = storageOf(target, cache.dtype);
    if (!storage || cache.dtype !== x.dtype || sizeOf(position.shape) > 1 || cache.shape.length > 2) return undefined;
    const y = write("y", { output: 0 }, storage.element);
    const copy = perElement(sizeOf(cache.shape), {
      bindings: [read("cache", { input: 0 }, storage.element), y],
      body: "  y[i] = cache[i];",
    });
    const append = perElement(sizeOf(x.shape), {
      bindings: [read("x", { input: 1 }, storage.element), read("position", { input: 2 }, "i32"), y],
      // Beyond the cache nothing is written: the sequence that holds it checks its length.
      body: `  y[u32(position[0]) * ${cache.shape[1]}u + i] = x[i];`,
    });
    return { run: [{ ...copy, unlessState: true }, append], joins: true };
  }),

  gpuKernel(rotaryEmbedding, "webgpu/rotaryEmbedding/pairs", (inputs, _, attrs) => rotationStep(target, inputs, attrs)),

  gpuKernel(appendCache, "webgpu/appendCache/rows", ([x, lengths, total, past], [y], { heads }) => {
    const storage = storageOf(target, x.dtype);
    const ls = storageOf(target, lengths.dtype);
    if (!storage || !ls || !total.constant) return undefined;
    const view = headView("appendCache", x, heads);
    const [t] = numbersOf(total.constant);
    const [room, cached, seq] = [y.shape[2], past ? past.shape[2] : 0, view.positions];
    const start = seq === t ? "0" : `i32(lengths[b]) - ${seq}`;
    const old = past ? `p < ${cached} && p < start` : "false";
    const body = `
  let d = i % ${view.dim}u;
  let p = i32(i / ${view.dim}u % ${room}u);
  let h = i / ${view.dim * room}u % ${view.heads}u;
  let b = i / ${view.dim * room * view.heads}u;
  let start = ${start};
  var value = ${storage.element}(0);
  if (p >= start && p < start + ${seq}) { value = x[b * ${view.batch}u + h * ${view.head}u + u32(p - start) * ${view.position}u + d]; }
  ${past ? `if (${old}) { value = past[((b * ${view.heads}u + h) * ${cached}u + u32(p)) * ${view.dim}u + d]; }` : ""}
  y[i] = value;`;
    const bindings = [read("x", { input: 0 }, storage.element)];
    if (seq !== t) bindings.push(read("lengths", { input: 1 }, ls.element));
    if (past) bindings.push(read("past", { input: 3 }, storage.element));
    bindings.push(write("y", { output: 0 }, storage.element));
    return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
  }),

  gpuKernel(cacheStart, "webgpu/cacheStart", ([x, lengths, total], [y]) => {
    const ls = storageOf(target, lengths.dtype);
    if (!ls || !total.constant) return undefined;
    const seq = x.shape[x.shape.length - 2];
    const all = numbersOf(total.constant)[0] === seq;
    const source = read("lengths", { input: 1 }, ls.element);
    const body = `  y[i] = ${all ? "i32(lengths[i]) * 0" : `i32(lengths[i]) - ${seq}`};`;
    return { run: [perElement(sizeOf(y.shape), { bindings: [source, write("y", { output: 0 }, "i32")], body })] };
  }),

  gpuKernel(keyPaddingMask, "webgpu/keyPaddingMask", ([mask], [y]) => {
    const storage = storageOf(target, mask.dtype);
    if (!storage) return undefined;
    const keys = y.shape[3];
    const test = mask.shape.length > 1 ? "mask[i] != 0" : `i32(i % ${keys}u) < i32(mask[i / ${keys}u])`;
    const bindings = [read("mask", { input: 0 }, storage.element), write("y", { output: 0 }, "u32")];
    return { run: [perElement(sizeOf(y.shape), { bindings, body: `  y[i] = select(0u, 1u, ${test});` })] };
  }),
];
