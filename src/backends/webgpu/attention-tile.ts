/**
 * Attention by tiles with an online softmax (https://arxiv.org/abs/2205.14135): the matrix of scores is never stored.
 * A workgroup has some rows of queries in its own memory and walks over the keys tile by tile; each row keeps its
 * maximum, its sum, and the weighted sum of values so far.
 *
 *   tile     rows are queries of all heads that share a key head, so that keys and values are read once for them
 *   splits   few queries over many keys (decoding): workgroups share the keys of a row out among themselves, and a second
 *            dispatch joins their results
 */
import type { AttentionGeometry } from "../../ops/attention.ts";
import type { Binding, Dispatch, GpuStep } from "./step.ts";
import { type GpuTarget, type Storage, storageOf } from "./target.ts";
import { type Lanes, literal, loaded, perElement, prelude, read, stored, typeName, write } from "./wgsl.ts";

export interface TileOptions {
  readonly geometry: AttentionGeometry;
  readonly dtype: "f32" | "f16" | "bf16";
  readonly softcap: number;
  /** Beyond q, k and v, which are inputs 0 to 2. */
  readonly bindings: readonly Binding[];
  /**
   * WGSL: `fn visible(b: u32, i: u32) -> vec2u`, the first key that query i of sample b sees, and one past the last; and
   * `fn biased(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32`, the score with its mask, minus infinity where hidden.
   */
  readonly declarations: string;
  /** An extra score of head `h` in every row's softmax, as an expression. */
  readonly sink?: string;
}

const invocations = 64;
/** Keys that are worth a workgroup of their own. */
const keysPerSplit = 128;

/** Rows and keys of a tile that fit in a workgroup's memory. */
function tileShape(target: GpuTarget, g: AttentionGeometry, rows: number): { rows: number; keys: number } | undefined {
  const room = target.limits.maxComputeWorkgroupStorageSize / 4;
  const width = Math.max(g.dim, g.valueDim) + 4;
  let [r, c] = [rows > 8 ? 16 : rows > 1 ? 8 : 1, 32];
  const floats = (): number => r * (g.dim + 4) + c * width + r * (c + 1) + 3 * r;
  while (floats() > room) {
    if (c > 8) c /= 2;
    else if (r > 1) r /= 2;
    else return undefined;
  }
  return { rows: r, keys: c };
}

/** Undefined where a row of queries does not fit in a workgroup's memory. */
export function tiledAttention(target: GpuTarget, o: TileOptions): GpuStep | undefined {
  const { geometry: g } = o;
  const group = g.heads / g.kvHeads;
  const rows = group * g.seq;
  const storage = storageOf(target, o.dtype);
  const tile = tileShape(target, g, rows);
  if (!storage || !tile) return undefined;
  const tiles = Math.ceil(rows / tile.rows);
  const splits = tiles * g.kvHeads * g.batch < 64 ? Math.min(16, Math.ceil(g.total / keysPerSplit)) : 1;
  const first = tileDispatch(o, storage, { ...tile, tiles, splits });
  if (splits <= 1) return { run: [first] };
  const partial = g.batch * g.heads * g.seq * splits * (g.valueDim + 2);
  return { run: [first, joinDispatch(o, storage, splits)], scratch: [4 * partial] };
}

/** Vectors of four where every row starts at a multiple of four. */
function lanesOf({ q, k, v, y, dim, valueDim }: AttentionGeometry): Lanes {
  const strides = [q, k, v, y].flatMap((s) => [s.batch, s.head, s.position]);
  return [dim, valueDim, ...strides].every((n) => n % 4 === 0) ? 4 : 1;
}

interface Tiling {
  rows: number;
  keys: number;
  tiles: number;
  splits: number;
}

function tileDispatch(o: TileOptions, storage: Storage, { rows: R, keys: C, tiles, splits }: Tiling): Dispatch {
  const { geometry: g } = o;
  const lanes = lanesOf(g);
  const group = g.heads / g.kvHeads;
  const total = group * g.seq;
  const [dim, valueDim] = [g.dim / lanes, g.valueDim / lanes];
  const element = typeName(storage.element, lanes);
  // One more than a row: neighbouring keys lie in different banks.
  const [qPitch, kvPitch] = [dim, Math.max(dim, valueDim) + 1];
  const perInvocation = Math.ceil((R * valueDim) / invocations);
  const address = (s: { batch: number; head: number; position: number }, h: string, i: string): string =>
    `b * ${s.batch / lanes}u + ${h} * ${s.head / lanes}u + ${i} * ${s.position / lanes}u`;
  const sum = lanes === 4 ? "dot(a, c)" : "a * c";
  const each = (name: string, count: number, body: string): string =>
    `for (var ${name} = local; ${name} < ${count}u; ${name} += ${invocations}u) {\n${body}\n  }`;
  const result =
    splits > 1
      ? `    let out = ((b * ${g.heads}u + h) * ${g.seq}u + i) * ${splits}u + split;
      let first = out * ${g.valueDim + 2}u;
${Array.from({ length: lanes }, (_, l) => `      partial[first + d * ${lanes}u + ${l}u] = ${lanes === 4 ? `acc[n][${l}]` : "acc[n]"};`).join("\n")}
      if (d == 0u) { partial[first + ${g.valueDim}u] = most[r]; partial[first + ${g.valueDim + 1}u] = sums[r]; }`
      : `    let scale = ${
          o.sink ? `finish(most[r], sums[r], ${o.sink})` : "select(1.0 / sums[r], 0.0, sums[r] == 0.0)"
        };
      y[${address(g.y, "h", "i")} + d] = ${stored(storage, lanes, "acc[n] * scale")};`;
  const code = `
${o.declarations}
${hiddenCode}
${o.sink ? finishCode : ""}
var<workgroup> queries: array<${typeName("f32", lanes)}, ${R * qPitch}>;
var<workgroup> tile: array<${typeName("f32", lanes)}, ${C * kvPitch}>;
var<workgroup> scores: array<f32, ${R * (C + 1)}>;
var<workgroup> most: array<f32, ${R}>;
var<workgroup> sums: array<f32, ${R}>;
var<workgroup> shrink: array<f32, ${R}>;

@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let split = id.x % ${splits}u;
  let firstRow = id.x / ${splits}u * ${R}u;
  let kv = id.y;
  let b = id.z;
  var acc: array<${typeName("f32", lanes)}, ${perInvocation}>;
  ${each(
    "e",
    R * dim,
    `    let row = min(firstRow + e / ${dim}u, ${total - 1}u);
    let i = row / ${group}u;
    let h = kv * ${group}u + row % ${group}u;
    queries[e] = ${loaded(storage, lanes, `q[${address(g.q, "h", "i")} + e % ${dim}u]`)};`,
  )}
  if (local < ${R}u) { most[local] = -infinity(); sums[local] = 0.0; }
  // Later queries see no fewer keys at either end.
  let low = visible(b, firstRow / ${group}u).x;
  let high = visible(b, min(firstRow + ${R - 1}u, ${total - 1}u) / ${group}u).y;
  let share = (max(high, low) - low + ${splits * C - 1}u) / ${splits * C}u * ${C}u;
  let begin = low + split * share;
  let end = min(high, begin + share);
  for (var key = begin; key < end; key += ${C}u) {
    workgroupBarrier();
  ${each(
    "e",
    C * dim,
    `    let j = min(key + e / ${dim}u, ${g.total - 1}u);
    tile[e / ${dim}u * ${kvPitch}u + e % ${dim}u] = ${loaded(storage, lanes, `k[${address(g.k, "kv", "j")} + e % ${dim}u]`)};`,
  )}
    workgroupBarrier();
  ${each(
    "e",
    R * C,
    `    let r = e / ${C}u;
    let at = e % ${C}u;
    let row = min(firstRow + r, ${total - 1}u);
    let i = row / ${group}u;
    let seen = visible(b, i);
    let j = key + at;
    var score = -infinity();
    if (j >= seen.x && j < min(seen.y, end)) {
      var s = 0.0;
      for (var d = 0u; d < ${dim}u; d++) {
        let a = queries[r * ${qPitch}u + d];
        let c = tile[at * ${kvPitch}u + d];
        s += ${sum};
      }
      s *= ${literal(g.scale)};
      ${o.softcap > 0 ? `s = ${literal(o.softcap)} * tanh(clamp(s / ${literal(o.softcap)}, -15.0, 15.0));` : ""}
      score = biased(s, b, kv * ${group}u + row % ${group}u, i, j);
    }
    scores[r * ${C + 1}u + at] = score;`,
  )}
    workgroupBarrier();
    if (local < ${R}u) {
      let before = most[local];
      var now = before;
      for (var c = 0u; c < ${C}u; c++) { now = max(now, scores[local * ${C + 1}u + c]); }
      most[local] = now;
      shrink[local] = select(exp(before - now), 0.0, isHidden(before));
    }
    workgroupBarrier();
  ${each(
    "e",
    R * C,
    `    let r = e / ${C}u;
    let at = r * ${C + 1}u + e % ${C}u;
    let s = scores[at];
    scores[at] = select(exp(s - most[r]), 0.0, isHidden(s));`,
  )}
  ${each(
    "e",
    C * valueDim,
    `    let j = min(key + e / ${valueDim}u, ${g.total - 1}u);
    tile[e / ${valueDim}u * ${kvPitch}u + e % ${valueDim}u] = ${loaded(storage, lanes, `v[${address(g.v, "kv", "j")} + e % ${valueDim}u]`)};`,
  )}
    workgroupBarrier();
    if (local < ${R}u) {
      var sum = sums[local] * shrink[local];
      for (var c = 0u; c < ${C}u; c++) { sum += scores[local * ${C + 1}u + c]; }
      sums[local] = sum;
    }
    for (var n = 0u; n < ${perInvocation}u; n++) {
      let e = local + n * ${invocations}u;
      let r = min(e / ${valueDim}u, ${R - 1}u);
      let d = e % ${valueDim}u;
      var sum = acc[n] * shrink[r];
      for (var c = 0u; c < ${C}u; c++) { sum += scores[r * ${C + 1}u + c] * tile[c * ${kvPitch}u + d]; }
      acc[n] = sum;
    }
  }
  workgroupBarrier();
  for (var n = 0u; n < ${perInvocation}u; n++) {
    let e = local + n * ${invocations}u;
    let r = e / ${valueDim}u;
    let row = firstRow + r;
    if (r < ${R}u && row < ${total}u) {
      let d = e % ${valueDim}u;
      let i = row / ${group}u;
      let h = kv * ${group}u + row % ${group}u;
  ${result}
    }
  }
}`;
  const sources: Binding[] = (["q", "k", "v"] as const).map((name, input) => read(name, { input }, element));
  const target: Binding = splits > 1 ? write("partial", { scratch: 0 }, "f32") : write("y", { output: 0 }, element);
  return {
    bindings: [...sources, ...o.bindings, target],
    code: prelude(code) + code,
    workgroups: [tiles * splits, g.kvHeads, g.batch],
  };
}

/** Minus infinity by its bits: compilers may take for granted that there is none. */
export const hiddenCode = "fn isHidden(score: f32) -> bool { return bitcast<u32>(score) == 0xff800000u; }";

/** What the values' sum is multiplied by, with one more score in the row. */
const finishCode = `fn finish(most: f32, sum: f32, sink: f32) -> f32 {
  if (isHidden(most)) { return 0.0; }
  let top = max(most, sink);
  return exp(most - top) / (sum * exp(most - top) + exp(sink - top));
}`;

/** Joins what workgroups found over their shares of the keys. */
function joinDispatch(o: TileOptions, storage: Storage, splits: number): Dispatch {
  const { geometry: g } = o;
  const sinks = o.bindings.filter((b) => o.sink?.includes(b.name));
  const declarations = `${hiddenCode}\n${o.sink ? finishCode : ""}`;
  const body = `
  let d = i % ${g.valueDim}u;
  let row = i / ${g.valueDim}u;
  let position = row % ${g.seq}u;
  let h = row / ${g.seq}u % ${g.heads}u;
  let b = row / ${g.seq * g.heads}u;
  var most = -infinity();
  for (var s = 0u; s < ${splits}u; s++) { most = max(most, partial[(row * ${splits}u + s) * ${g.valueDim + 2}u + ${g.valueDim}u]); }
  var sum = 0.0;
  var value = 0.0;
  for (var s = 0u; s < ${splits}u; s++) {
    let at = (row * ${splits}u + s) * ${g.valueDim + 2}u;
    let own = partial[at + ${g.valueDim}u];
    let share = select(exp(own - most), 0.0, isHidden(own));
    sum += partial[at + ${g.valueDim + 1}u] * share;
    value += partial[at + d] * share;
  }
  let scale = ${o.sink ? `finish(most, sum, ${o.sink})` : "select(1.0 / sum, 0.0, sum == 0.0)"};
  y[b * ${g.y.batch}u + h * ${g.y.head}u + position * ${g.y.position}u + d] = ${stored(storage, 1, "value * scale")};`;
  return perElement(g.batch * g.heads * g.seq * g.valueDim, {
    bindings: [read("partial", { scratch: 0 }, "f32"), ...sinks, write("y", { output: 0 }, storage.element)],
    declarations,
    body,
  });
}
