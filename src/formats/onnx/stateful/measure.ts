/**
 * What a region of a graph computes, found by running it on numbers: the scale of its scores from one key that stands out,
 * then, for several lengths, whether it is causal attention with that scale. Exporters write heads that share keys, masks
 * and padding in many ways; what they compute is the same.
 */
import type { Node, ValueId } from "../../../graph/ir.ts";
import { type AttentionAttrs, attention } from "../../../ops/attention.ts";
import { fromF64, toF64 } from "../../../tensor/convert.ts";
import { isHalf } from "../../../tensor/dtype.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import { emptyTensor, type HostTensor, type TensorType } from "../../../tensor/tensor.ts";
import { evaluate, type Probe } from "./probe.ts";
import type { Cache, Region } from "./regions.ts";
import { Unrecognised } from "./unrecognised.ts";

/** Where heads are: [..., heads, tokens, dim], or packed as [1, tokens, heads * dim]. */
export type Packing = "apart" | "packed";

export interface Attention {
  readonly heads: number;
  readonly scale: number;
  readonly softcap?: number;
  /** Tokens before it that a token sees. Default: all. */
  readonly leftWindow?: number;
  readonly queryPacking: Packing;
  readonly resultPacking: Packing;
}

export interface Probes {
  /** With and without a past. */
  readonly short: readonly Probe[];
  /** A token after a past as long as the context. */
  readonly long: Probe;
  /** With so many tokens before. */
  after(past: number): Probe;
}

/** @throws Unrecognised for anything but attention to what came before, all of it or as far as a window goes */
export function measureAttention(region: Region, given: Probes, graphName: string): Attention {
  const { keys, values } = region;
  const leftWindow = windowOf(region, given.long);
  // Where a window hides something, too.
  const probes = leftWindow === undefined ? given.short : [...given.short, given.after(leftWindow + 2)];
  const last = given.short.at(-1)!;
  const softcap = capOf(region, last);
  const queryPacking = packingOf(last, region.query, keys.dim);
  const heads = sizeOf(last.typeOf(region.query).shape) / (last.setting.tokens * keys.dim);
  const resultPacking = packingOf(last, region.result, values.dim);
  const shows = ({ setting: { past, tokens } }: Probe): boolean =>
    tokens === 1 && past > 0 && past <= (leftWindow ?? Number.POSITIVE_INFINITY);
  const one = given.short.find(shows);
  if (!one) throw new Unrecognised(`a window of ${leftWindow} tokens is too short to measure`);
  const found = {
    heads,
    scale: scaleOf(region, one, heads, softcap),
    softcap,
    leftWindow,
    queryPacking,
    resultPacking,
  };
  for (const probe of probes) verify(region, probe, found, graphName);
  return found;
}

function packingOf(probe: Probe, id: ValueId, dim: number): Packing {
  const { shape } = probe.typeOf(id);
  const { tokens } = probe.setting;
  if (shape.length === 3 && shape[0] === 1 && shape[1] === tokens && shape[2] !== dim) return "packed";
  if (shape.length >= 3 && shape.at(-2) === tokens && shape.at(-1) === dim) return "apart";
  throw new Unrecognised(`attention reads or gives [${shape}]`);
}

/** Of a region in which one operator is all of attention: GroupQueryAttention becomes that. */
const wholeOf = ({ nodes }: Region): AttentionAttrs | undefined =>
  nodes.find((n) => n.op === attention.op)?.attrs as AttentionAttrs | undefined;

/** How many keys an operator weighs, if it is one that does. */
function keysOf({ op, inputs }: Node, probe: Probe, otherwise: number): number {
  if (op === attention.op) return probe.typeOf(inputs[1]!).shape.at(-2)!;
  return op.name === "softmax" ? probe.typeOf(inputs[0]!).shape.at(-1)! : otherwise;
}

/**
 * How many tokens before it a token sees, where others are hidden from one after a past as long as the context: by a mask, or by
 * an operator itself.
 * @throws Unrecognised where keys are weighed otherwise by their distance, or left out
 */
function windowOf(region: Region, probe: Probe): number | undefined {
  const { nodes, keys } = region;
  const total = probe.typeOf(keys.id).shape[2];
  const { leftWindow = -1 } = wholeOf(region) ?? {};
  let window = leftWindow >= 0 && leftWindow < total - 1 ? leftWindow : undefined;
  for (const node of nodes) {
    if (keysOf(node, probe, total) !== total) throw new Unrecognised(`"${node.name}" leaves keys out`);
    for (const id of node.inputs) {
      const value = id === undefined ? undefined : probe.valueOf(id);
      if (value?.shape.at(-1) !== total || total === 1) continue;
      const data = value.data as readonly unknown[] | Float32Array;
      const seen = data.findIndex((v: unknown) => !Object.is(v, data[0]));
      if (seen < 0) continue;
      const isMask = Array.from(data).every((v, i) => Object.is(v, data[i % total < seen ? 0 : total - 1]));
      if (!isMask || (window ?? total - 1 - seen) !== total - 1 - seen)
        throw new Unrecognised(`"${node.name}" masks or weighs keys by their distance`);
      window = total - 1 - seen;
    }
  }
  return window;
}

/** Of scores that go through cap tanh(score / cap): what they are multiplied by in the end. */
function capOf(region: Region, probe: Probe): number | undefined {
  const { nodes } = region;
  const { softcap } = wholeOf(region) ?? {};
  if (softcap) return softcap;
  const tanh = nodes.find((n) => n.op.name === "tanh")?.outputs[0];
  const product = nodes.find((n) => n.op.name === "mul" && tanh !== undefined && n.inputs.includes(tanh));
  const cap = product && probe.valueOf(product.inputs.find((id) => id !== tanh)!);
  return cap?.data.length === 1 ? toF64(cap)[0] : undefined;
}

/** One key of which each element is 1/dim, others zero: its share of the weights tells the scale of its score. */
function scaleOf(region: Region, probe: Probe, heads: number, cap: number | undefined): number {
  const { keys } = region;
  const total = probe.typeOf(keys.id).shape[2];
  const standsOut = (cache: Cache, x: number): HostTensor =>
    filled(probe.typeOf(cache.id), (i) => (Math.floor(i / cache.dim) % total === 1 ? x : 0));
  for (const score of [2 * Math.sqrt(keys.dim), 2]) {
    const y = run(
      region,
      probe,
      filled(probe.typeOf(region.query), () => 1),
      standsOut(keys, score / keys.dim),
      standsOut(region.values, 1),
    );
    const share = toF64(y)[0];
    const measured = Math.log((share * (total - 1)) / (1 - share));
    const scale = (cap ? cap * Math.atanh(measured / cap) : measured) / score;
    if (!(share < 0.99)) continue;
    const usual = [1 / Math.sqrt(keys.dim), 1].find((s) => Math.abs(scale / s - 1) < (isHalf(y.dtype) ? 2e-2 : 1e-4));
    return usual ?? scale;
  }
  throw new Unrecognised(`the scale of attention with ${heads} heads can't be measured`);
}

function verify(region: Region, probe: Probe, found: Attention, name: string): void {
  const { keys, values } = region;
  const { past, tokens } = probe.setting;
  let seed = 1;
  const noise = (type: TensorType): HostTensor =>
    filled(type, () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed / 2 ** 31 - 1;
    });
  const [q, k, v] = [region.query, keys.id, values.id].map((id) => noise(probe.typeOf(id)));
  const got = toF64(run(region, probe, q, k, v));
  const head = (t: HostTensor, packing: Packing): HostTensor => ({
    ...wide(t),
    shape: packing === "packed" ? t.shape : [1, found.heads, tokens, keys.dim],
  });
  const packed = found.queryPacking === "packed";
  const want = emptyTensor({
    dtype: "f64",
    shape: packed ? [1, tokens, found.heads * values.dim] : [1, found.heads, tokens, values.dim],
  });
  const offset: HostTensor = { dtype: "i32", shape: [1], data: Int32Array.of(past) };
  const { heads, scale, softcap, leftWindow } = found;
  const attrs = { heads, kvHeads: keys.heads, scale, softcap, leftWindow, causal: !keys.encoder };
  attention.op.reference!(
    [head(q, found.queryPacking), wide(k), wide(v), undefined, undefined, keys.encoder ? undefined : offset],
    attrs,
    [want],
  );
  const expected =
    found.queryPacking === found.resultPacking
      ? toF64(want)
      : turned(toF64(want), packed, tokens, found.heads, values.dim);
  const tolerance = isHalf(q.dtype) ? 1e-2 : 1e-4;
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(got[i] - expected[i]) <= tolerance))
      throw new Unrecognised(
        `${name}: the attention to "${keys.port.name}" is not that of tokens to all before them (${past} + ${tokens} tokens)`,
      );
}

/** Heads apart to packed and back. */
function turned(x: Float64Array, packed: boolean, tokens: number, heads: number, dim: number): Float64Array {
  return x.map((_, i) => {
    const d = i % dim;
    const [a, b] = [Math.floor(i / dim), packed ? tokens : heads];
    const [outer, inner] = [Math.floor(a / b), a % b];
    // The result goes over (outer, inner); the source has the other first.
    return x[(inner * (packed ? heads : tokens) + outer) * dim + d];
  });
}

function run(region: Region, probe: Probe, q: HostTensor, k: HostTensor, v: HostTensor): HostTensor {
  const given = new Map([
    [region.query, q],
    [region.keys.id, k],
    [region.values.id, v],
  ]);
  const valueFor = (id: ValueId): HostTensor | undefined => given.get(id) ?? probe.valueOf(id);
  return evaluate(region.nodes, valueFor).get(region.result)!;
}

function filled(type: TensorType, value: (i: number) => number): HostTensor {
  const t = emptyTensor({ dtype: type.dtype, shape: type.shape });
  fromF64(
    Float64Array.from({ length: t.data.length }, (_, i) => value(i)),
    t,
  );
  return t;
}

const wide = (t: HostTensor): HostTensor => ({ dtype: "f64", shape: t.shape, data: toF64(t) });
