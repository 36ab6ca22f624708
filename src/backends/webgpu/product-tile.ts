/**
 * The tiled product C[m, n] = sum over k of A[m, k] B[k, n] that convolution and matmul share. 16 x 16 invocations, each
 * with a small block of C in registers; A and B come into workgroup memory 16 of k at a time. Where the elements are, the
 * caller says.
 *
 * Sizes of the block in registers: 4 x 4 (tiles of 64 x 64), 8 x 8 (128 x 128) where there are enough tiles of them to
 * keep a GPU busy, and 2 x 4 or 4 x 2 where one side is short.
 */
import type { Binding, Dispatch } from "./step.ts";
import { prelude } from "./wgsl.ts";

export interface ProductTile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Products side by side: `z` is which. */
  readonly batch: number;
  readonly bindings: readonly Binding[];
  readonly declarations?: string;
  /** WGSL that runs first, once for an invocation; may use `z`. */
  readonly setup?: string;
  /** A vec4f of A[m .. m + 3, k] and of B[k, n .. n + 3], zero beyond the edges, of the variables m or n, and k. */
  readonly a: string;
  readonly b: string;
  /** Statements that store `sum`, element [m, n], within the edges. */
  readonly store: string;
}

const side = 16;
const depth = 16;

/** Blocks of C in registers, [rows, columns]. */
function blockOf({ m, n, batch }: ProductTile): [number, number] {
  const tiles = (rows: number, columns: number): number =>
    Math.ceil(m / (side * rows)) * Math.ceil(n / (side * columns)) * batch;
  if (m > 64 && n > 64 && tiles(8, 8) >= 128) return [8, 8];
  return [4, 4];
}

export function productTile(p: ProductTile): Dispatch {
  const { m, n, k } = p;
  const [rows, columns] = blockOf(p);
  const [tm, tn] = [side * rows, side * columns];
  const [am, bn] = [tm / 4, tn / 4];
  const [ra, cb] = [rows / 4, columns / 4];
  const invocations = side * side;
  const fill = (name: string, width: number, first: string, letter: string, value: string): string => `
    for (var e = local; e < ${(depth * width).toString()}u; e += ${invocations}u) {
      let k = k0 + e / ${width}u;
      let ${letter} = ${first} + e % ${width}u * 4u;
      ${name}[e] = ${value};
    }`;
  const steps = Array.from({ length: cb }, (_, c) => `      let b${c} = tileB[kk * ${bn}u + column * ${cb}u + ${c}u];`);
  for (let r = 0; r < ra; r++) {
    steps.push(`      let a${r} = tileA[kk * ${am}u + row * ${ra}u + ${r}u];`);
    for (let i = 0; i < 4; i++)
      for (let c = 0; c < cb; c++) steps.push(`      c${4 * r + i}_${c} += a${r}[${i}] * b${c};`);
  }
  const each = (make: (r: number, c: number) => string): string =>
    Array.from({ length: rows * cb }, (_, x) => make(Math.floor(x / cb), x % cb)).join("\n");
  const code = `${p.declarations ?? ""}
var<workgroup> tileA: array<vec4f, ${depth * am}>;
var<workgroup> tileB: array<vec4f, ${depth * bn}>;

@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let z = id.z;
  let m0 = id.y * ${tm}u;
  let n0 = id.x * ${tn}u;
  let row = local / ${side}u;
  let column = local % ${side}u;
${p.setup ?? ""}
${each((r, c) => `  var c${r}_${c} = vec4f(0.0);`)}
  for (var k0 = 0u; k0 < ${k}u; k0 += ${depth}u) {
    workgroupBarrier();${fill("tileA", am, "m0", "m", p.a)}${fill("tileB", bn, "n0", "n", p.b)}
    workgroupBarrier();
    for (var kk = 0u; kk < ${depth}u; kk++) {
${steps.join("\n")}
    }
  }
${each(
  (r, c) => `  {
    let m = m0 + row * ${rows}u + ${r}u;
    for (var l = 0u; l < 4u; l++) {
      let n = n0 + column * ${columns}u + ${4 * c}u + l;
      if (m < ${m}u && n < ${n}u) {
        let sum = c${r}_${c}[l];
        ${p.store}
      }
    }
  }`,
)}
}`;
  return {
    bindings: p.bindings,
    code: prelude(code) + code,
    workgroups: [Math.ceil(n / tn), Math.ceil(m / tm), p.batch],
  };
}
