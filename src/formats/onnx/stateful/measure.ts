/**
 * What a region of a graph computes, found by running it on numbers: the scale of its scores from one key that stands out,
 * then, for several lengths, whether it is causal attention with that scale. Exporters write heads that share keys, masks
 * and padding in many ways; what they compute is the same.
 */
import type { ValueId } from "../../../graph/ir.ts";
import { attention } from "../../../ops/attention.ts";
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
  readonly queryPacking: Packing;
  readonly resultPacking: Packing;
}

/** @throws Unrecognised for anything but attention to all that came before */
export function measureAttention(region: Region, probes: readonly Probe[], graphName: string): Attention {
  const { keys, values } = region;
  const last = probes.at(-1)!;
  const queryPacking = packingOf(last, region.query, keys.dim);
  const heads = sizeOf(last.typeOf(region.query).shape) / (last.setting.tokens * keys.dim);
  const resultPacking = packingOf(last, region.result, values.dim);
  const scale = scaleOf(region, probes.find((p) => p.setting.tokens === 1 && p.setting.past > 0)!, heads);
  const found = { heads, scale, queryPacking, resultPacking };
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

/** One key of which each element is 1/dim, others zero: its share of the weights tells the scale of its score. */
function scaleOf(region: Region, probe: Probe, heads: number): number {
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
    const scale = Math.log((share * (total - 1)) / (1 - share)) / score;
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
  const attrs = { heads: found.heads, kvHeads: keys.heads, scale: found.scale, causal: !keys.encoder };
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
