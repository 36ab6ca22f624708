/**
 * Products of many rows with quantised weights, on integers: x is rounded to 8 bits by blocks of 32 first (a dispatch of
 * its own), and `dot4I8Packed` multiplies four at a time. A workgroup has a tile of 64 x 64 sums, each invocation 4 x 4 of
 * them; weights and x come into workgroup memory block by block. Error: that of rounding x, as on the other devices.
 *
 * With weights d q + m and x = s p, a block adds d s sum(q p) + m s sum(p).
 */
import type { EpilogueCode } from "./epilogue.ts";
import type { QuantizedLayout } from "./quantized-layout.ts";
import type { Binding, Dispatch, GpuStep } from "./step.ts";
import { perElement, prelude, read, write } from "./wgsl.ts";

export interface DotProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout: QuantizedLayout;
  readonly finish: EpilogueCode;
  /** `factorOf(i)`: the factors of block `i` of the weights. */
  readonly declarations: string;
  readonly weights: Binding;
}

/** Elements of a block, and words that it takes. */
const block = 32;
const words = 8;
const side = 16;
const each = 4;
const tile = side * each;

/** x as words of four signed bytes, then for each block its scale and the scaled sum of its integers. */
function roundDispatch({ m, k }: DotProduct): Dispatch {
  const lines = Array.from({ length: words }, (_, w) => {
    return `  { let q = vec4i(round(x[i * ${words}u + ${w}u] * inverse)); total += q; rounded[i * ${words}u + ${w}u] = pack4xI8(q); }`;
  });
  const body = `  var most = vec4f(0.0);
  for (var w = 0u; w < ${words}u; w++) { most = max(most, abs(x[i * ${words}u + w])); }
  let largest = max(max(most.x, most.y), max(most.z, most.w));
  let scale = largest / 127.0;
  let inverse = select(127.0 / largest, 0.0, largest == 0.0);
  var total = vec4i(0);
${lines.join("\n")}
  scales[i] = vec2f(scale, scale * f32(total.x + total.y + total.z + total.w));`;
  const bindings = [read("x", { input: 0 }, "vec4f"), write("rounded", { scratch: 0 }, "u32")];
  return perElement((m * k) / block, { bindings: [...bindings, write("scales", { scratch: 1 }, "vec2f")], body });
}

/** Four words of weights, number `c` of the block at vector `e`. */
const unpacked = (kind: QuantizedLayout["kind"], c: string): string =>
  kind === "nibbles" ? `(w[e][${c} % 4u] >> (${c} / 4u * 4u)) & 0x0f0f0f0fu` : `w[e * 2u + ${c} / 4u][${c} % 4u]`;

export function dotStep(p: DotProduct): GpuStep {
  const { m, n, k, layout, finish } = p;
  const blocks = k / block;
  const fill = (name: string, count: number, limit: number, first: string, index: string, factor: string): string => `
    for (var t = local; t < ${tile * words}u; t += ${side * side}u) {
      let r = t / ${words}u;
      let c = t % ${words}u;
      let e = min(${first} + r, ${limit - 1}u) * ${count}u + b;
      ${name}[c * ${tile}u + r] = ${index};
    }
    if (local < ${tile}u) {
      let e = min(${first} + local, ${limit - 1}u) * ${count}u + b;
      ${name}Factors[local] = ${factor};
    }`;
  const pairs = Array.from({ length: each * each }, (_, i) => [Math.floor(i / each), i % each]);
  const code = `${p.declarations}
var<workgroup> left: array<u32, ${tile * words}>;
var<workgroup> right: array<u32, ${tile * words}>;
var<workgroup> leftFactors: array<vec2f, ${tile}>;
var<workgroup> rightFactors: array<vec2f, ${tile}>;

@compute @workgroup_size(${side * side})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let firstRow = group.y * ${tile}u;
  let firstColumn = group.x * ${tile}u;
  let r0 = local / ${side}u * ${each}u;
  let c0 = local % ${side}u * ${each}u;
${pairs.map(([r, c]) => `  var sum${r}_${c} = 0.0;`).join("\n")}
  for (var b = 0u; b < ${blocks}u; b++) {
    workgroupBarrier();${fill("left", blocks, m, "firstRow", `rounded[e * ${words}u + c]`, "scales[e]")}${fill("right", blocks, n, "firstColumn", unpacked(layout.kind, "c"), "factorOf(e)")}
    workgroupBarrier();
${pairs.map(([r, c]) => `    var dot${r}_${c} = 0;`).join("\n")}
    for (var c = 0u; c < ${words}u; c++) {
      let at = c * ${tile}u;
${[0, 1, 2, 3].map((i) => `      let x${i} = left[at + r0 + ${i}u]; let w${i} = right[at + c0 + ${i}u];`).join("\n")}
${pairs.map(([r, c]) => `      dot${r}_${c} += dot4I8Packed(x${r}, w${c});`).join("\n")}
    }
${[0, 1, 2, 3].map((i) => `    let s${i} = leftFactors[r0 + ${i}u]; let d${i} = rightFactors[c0 + ${i}u];`).join("\n")}
${pairs.map(([r, c]) => `    sum${r}_${c} += d${c}.x * s${r}.x * f32(dot${r}_${c}) + d${c}.y * s${r}.y;`).join("\n")}
  }
${pairs
  .map(
    ([r, c]) => `  {
    let row = firstRow + r0 + ${r}u;
    let column = firstColumn + c0 + ${c}u;
    if (row < ${m}u && column < ${n}u) { ${finish.store(`sum${r}_${c}`, `row * ${n}u + column`, "row", "column")} }
  }`,
  )
  .join("\n")}
}`;
  const bindings = [read("rounded", { scratch: 0 }, "u32"), read("scales", { scratch: 1 }, "vec2f"), p.weights];
  const product: Dispatch = {
    bindings: [...bindings, ...finish.bindings],
    code: prelude(code) + code,
    workgroups: [Math.ceil(n / tile), Math.ceil(m / tile), 1],
  };
  return { run: [roundDispatch(p), product], scratch: [m * k, ((m * k) / block) * 8] };
}
