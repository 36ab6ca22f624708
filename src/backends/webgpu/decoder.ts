/**
 * What decoders do with tokens and their caches.
 *
 *   kvAppend          rows behind those that are there, in place where the cache is state
 *   appendCache       the same for caches that come in and go out as tensors
 *   rotaryEmbedding   rotation.ts
 */
import { headView } from "../../ops/attention.ts";
import { numbersOf } from "../../ops/check.ts";
import { kvAppend } from "../../ops/kv-append.ts";
import { appendCache, cacheStart, isDummy, keyPaddingMask } from "../../ops/kv-cache.ts";
import { rotaryEmbedding } from "../../ops/rotary-embedding.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { rotateInto, rotationStep } from "./rotation.ts";
import { type GpuKernels, gpuKernel } from "./step.ts";
import { storageOf } from "./target.ts";
import { perElement, read, write } from "./wgsl.ts";

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
    return { run: [{ ...copy, unlessState: true }, append], joins: true, absorb: rotateInto(target) };
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

  gpuKernel(keyPaddingMask, "webgpu/keyPaddingMask", ([mask, k], [y]) => {
    const storage = storageOf(target, mask.dtype);
    if (!storage) return undefined;
    const [batch, , , keys] = y.shape;
    const key = `i32(i % ${keys}u)`;
    const at = `i / ${keys}u`;
    const ends = `${key} < i32(mask[${at}])`;
    const starts = mask.shape[0] === 2 * batch ? ` && ${key} >= i32(mask[${at} + ${batch}u])` : "";
    const flags = isDummy(mask, k) ? "true" : "mask[i] != 0";
    const test = mask.shape.length === 1 ? ends + starts : flags;
    const bindings = [read("mask", { input: 0 }, storage.element), write("y", { output: 0 }, "u32")];
    return { run: [perElement(sizeOf(y.shape), { bindings, body: `  y[i] = select(0u, 1u, ${test});` })] };
  }),
];
