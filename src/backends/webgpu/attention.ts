/**
 * Attention in all its forms: `attention-tile.ts` has the kernel; here are the keys that a query sees, masks and sinks.
 *
 *   webgpu/attention/tile         q, k and v as tensors
 *   webgpu/cachedAttention/tile   keys and values in caches, whose fill is known at run time
 *   webgpu/attentionScores/rows   the matrix of scores, for those who ask to see it
 */
import {
  type AttentionAttrs,
  type AttentionGeometry,
  attention,
  attentionGeometry,
  attentionScores,
  maskGeometry,
} from "../../ops/attention.ts";
import { cachedAttention, cachedGeometry } from "../../ops/cached-attention.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { hiddenCode, type TileOptions, tiledAttention } from "./attention-tile.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { dot, literal, loaded, perElement, read, stored, write } from "./wgsl.ts";

type FloatType = TileOptions["dtype"];

const visibleCode = (body: string): string => `fn visible(b: u32, i: u32) -> vec2u {\n${body}\n}`;

/** The first key that a query sees, and one past the last: `position` is the query's among the keys. */
function windowCode({ causal, leftWindow = -1, rightWindow = -1 }: AttentionAttrs): string {
  return `
  let position = i32(i) + offset;
  ${causal ? "end = min(end, position + 1);" : ""}
  ${rightWindow >= 0 ? `end = min(end, position + ${rightWindow + 1});` : ""}
  let start = ${leftWindow >= 0 ? `max(0, position - ${leftWindow})` : "0"};
  return vec2u(u32(start), u32(max(start, end)));`;
}

interface Surroundings extends Pick<TileOptions, "bindings" | "declarations" | "sink"> {}

/** Lengths, offsets, mask and sink of `attention`, inputs 3 to 6. */
function surroundings(
  target: GpuTarget,
  g: AttentionGeometry,
  inputs: readonly (KernelInput | undefined)[],
  attrs: AttentionAttrs,
): Surroundings | undefined {
  const [, , , mask, kvLength, offset, sink] = inputs;
  const bindings: Binding[] = [];
  const bind = (name: string, input: number): void => {
    bindings.push(read(name, { input }, storageOf(target, inputs[input]!.dtype)!.element));
  };
  if ([mask, kvLength, offset, sink].some((t) => t && !storageOf(target, t.dtype))) return undefined;
  const one = (name: string, t: KernelInput): string => `i32(${name}[${sizeOf(t.shape) === 1 ? "0" : "b"}])`;
  if (kvLength) bind("kvLength", 4);
  if (offset) bind("firstPosition", 5);
  const length = kvLength ? `min(${one("kvLength", kvLength)}, ${g.total})` : `${g.total}`;
  const first = offset ? one("firstPosition", offset) : kvLength ? `${one("kvLength", kvLength)} - ${g.seq}` : "0";
  let biased = "return score;";
  if (mask) {
    bind("mask", 3);
    const { strides, columns } = maskGeometry("attention", mask, g);
    const at = `mask[${dot(["b", "h", "i", "j"], strides)}]`;
    const value = mask.dtype === "bool" ? `select(-infinity(), score, ${at} != 0u)` : `score + f32(${at})`;
    biased = `if (j >= ${columns}u) { return -infinity(); }\n  return ${value};`;
  }
  if (sink) bind("sinks", 6);
  return {
    bindings,
    declarations: `${visibleCode(`  let offset = ${first};\n  var end = ${length};${windowCode(attrs)}`)}
fn biased(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
  ${biased}
}`,
    sink: sink && "f32(sinks[h])",
  };
}

/**
 * One invocation for each score; probabilities then row by row, in place.
 */
function scoresStep(
  target: GpuTarget,
  g: AttentionGeometry,
  inputs: readonly KernelInput[],
  attrs: AttentionAttrs & { stage?: string },
): GpuStep | undefined {
  const { stage = "scaled", softcap = 0 } = attrs;
  const masked = stage === "masked" || stage === "probabilities";
  const around = surroundings(target, g, inputs, attrs);
  const storage = storageOf(target, inputs[0].dtype);
  if (!around || !storage || storage.scalar !== "f32") return undefined;
  const group = g.heads / g.kvHeads;
  const at = (s: AttentionGeometry["q"], h: string, i: string): string =>
    dot(["b", h, i], [s.batch, s.head, s.position]);
  const body = `
  let j = i % ${g.total}u;
  let query = i / ${g.total}u % ${g.seq}u;
  let h = i / ${g.total * g.seq}u % ${g.heads}u;
  let b = i / ${g.total * g.seq * g.heads}u;
  var s = 0.0;
  for (var d = 0u; d < ${g.dim}u; d++) {
    s += ${loaded(storage, 1, `q[${at(g.q, "h", "query")} + d]`)} * ${loaded(storage, 1, `k[${at(g.k, `(h / ${group}u)`, "j")} + d]`)};
  }
  s *= ${literal(g.scale)};
  ${softcap > 0 && stage !== "scaled" ? `s = ${literal(softcap)} * tanh(clamp(s / ${literal(softcap)}, -15.0, 15.0));` : ""}
  ${
    masked
      ? `let seen = visible(b, query);
  s = select(-infinity(), biased(s, b, h, query, j), j >= seen.x && j < seen.y);`
      : ""
  }
  y[i] = ${stored(storage, 1, "s")};`;
  const operands = ["q", "k"].map((name, input) => read(name, { input }, storage.element));
  const used = masked ? around.bindings.filter((b) => b.name !== "sinks") : [];
  const y = write("y", { output: 0 }, storage.element);
  const scores = perElement(g.batch * g.heads * g.seq * g.total, {
    bindings: [...operands, ...used, y],
    declarations: masked ? around.declarations : "",
    body,
  });
  if (stage !== "probabilities") return { run: [scores] };
  const sinks = around.bindings.filter((b) => b.name === "sinks");
  const rows = perElement(g.batch * g.heads * g.seq, {
    bindings: [...sinks, y],
    declarations: hiddenCode,
    body: `
  let h = i / ${g.seq}u % ${g.heads}u;
  let first = i * ${g.total}u;
  var most = ${around.sink ?? "-infinity()"};
  for (var j = 0u; j < ${g.total}u; j++) { most = max(most, f32(y[first + j])); }
  var sum = ${around.sink ? `exp(${around.sink} - most)` : "0.0"};
  for (var j = 0u; j < ${g.total}u; j++) {
    let s = f32(y[first + j]);
    sum += select(exp(s - most), 0.0, isHidden(s));
  }
  for (var j = 0u; j < ${g.total}u; j++) {
    let s = f32(y[first + j]);
    y[first + j] = ${stored(storage, 1, "select(exp(s - most) / sum, 0.0, isHidden(s))")};
  }`,
  });
  return { run: [scores, rows] };
}

export const attentionKernels: GpuKernels = (target) => [
  gpuKernel(attention, "webgpu/attention/tile", (inputs, [y], attrs) => {
    const geometry = attentionGeometry("attention", inputs[0], inputs[1], inputs[2], attrs);
    const around = surroundings(target, geometry, inputs, attrs);
    if (!around || sizeOf(y.shape) === 0 || y.dtype === "f64") return undefined;
    return tiledAttention(target, { geometry, dtype: y.dtype as FloatType, softcap: attrs.softcap ?? 0, ...around });
  }),
  gpuKernel(attentionScores, "webgpu/attentionScores/rows", (inputs, _, attrs) =>
    scoresStep(target, attentionGeometry("attention", inputs[0], inputs[1], inputs[2], attrs), inputs, attrs),
  ),
  gpuKernel(cachedAttention, "webgpu/cachedAttention/tile", ([q, k, v, position], [y], attrs) => {
    const { tokens, heads, kvHeads, dim, valueDim, scale } = cachedGeometry(q, k, v, attrs);
    if (y.dtype === "f64" || k.dtype !== q.dtype || sizeOf(position.shape) > 1 || k.shape.length > 2) return undefined;
    const row = (width: number, head: number) => ({ batch: 0, head, position: width });
    const geometry: AttentionGeometry = {
      ...{ batch: 1, heads, kvHeads, seq: tokens, total: k.shape[0], dim, valueDim, scale },
      q: row(heads * dim, dim),
      k: row(kvHeads * dim, dim),
      v: row(kvHeads * valueDim, valueDim),
      y: row(heads * valueDim, valueDim),
    };
    const { leftWindow, softcap = 0 } = attrs;
    const range = `  let offset = position0[0];\n  var end = ${k.shape[0]};${windowCode({ causal: true, leftWindow })}`;
    return tiledAttention(target, {
      geometry,
      dtype: y.dtype as FloatType,
      softcap,
      bindings: [read("position0", { input: 3 }, "i32")],
      declarations: `${visibleCode(range)}
fn biased(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return score; }`,
    });
  }),
];
