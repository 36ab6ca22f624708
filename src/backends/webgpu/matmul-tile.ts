/**
 * The tiled product: a workgroup of 16 x 16 invocations computes a tile of the result, walking along k. Each turn brings
 * a slice of both operands into workgroup memory; each invocation multiplies from there into its own rows and vectors of
 * four columns, which stay in registers. What the operands are is the caller's: matrices, or an image seen as one.
 */
import type { Binding, Dispatch } from "./step.ts";
import type { GpuTarget, Scalar } from "./target.ts";
import { type Lanes, prelude, typeName } from "./wgsl.ts";

/** Loads of one operand. Positions are u32 expressions inside the matrix. */
export interface Loader {
  /** The element. */
  one(row: string, column: string): string;
  /** Four that follow each other along a row, where that is one load. */
  four?(row: string, column: string): string;
  /** Whether elements that follow each other in memory are those along a row. Default true. */
  byRows?: boolean;
}

export interface TiledProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batches: number;
  readonly bindings: readonly Binding[];
  /** What operands lie in workgroup memory as, and what they are multiplied in. */
  readonly element: Scalar | "f16";
  readonly scalar: Scalar;
  /** Statements before anything else; they may read `batch`. */
  readonly begin?: string;
  readonly a: Loader;
  readonly b: Loader;
  /** Of the aliases in what `store` writes. */
  readonly lanes: Lanes;
  /** Stores a sum: of one element, or of four columns from `column` on where `lanes` is 4. */
  store(row: string, column: string, sum: string): string;
  /** Module scope. */
  readonly declarations?: string;
}

interface Tile {
  /** Rows and vectors of four columns that one invocation has. */
  readonly rows: number;
  readonly vectors: number;
  readonly depth: number;
}

const side = 16;

/** Larger tiles read less, but leave a GPU idle where there are few of them. */
export function tileFor(target: GpuTarget, { m, n, batches, element }: TiledProduct): Tile {
  const large: Tile = { rows: 8, vectors: 2, depth: 16 };
  const tiles = Math.ceil(m / 128) * Math.ceil(n / 128) * batches;
  if (m >= 96 && n >= 96 && tiles >= 16) return fits(target, large, element) ? large : { ...large, depth: 8 };
  return { rows: m <= 32 ? 2 : 4, vectors: 1, depth: 16 };
}

const fits = (target: GpuTarget, { rows, vectors, depth }: Tile, element: string): boolean =>
  depth * (side * rows + 1 + side * vectors * 4) * (element === "f16" ? 2 : 4) <=
  target.limits.maxComputeWorkgroupStorageSize;

/** Bytes that it brings in and stores: each operand once for each tile across. */
export function tiledBytes(p: TiledProduct, tile: Tile, bytes: number): number {
  const across = Math.ceil(p.n / (side * tile.vectors * 4));
  const down = Math.ceil(p.m / (side * tile.rows));
  return p.batches * bytes * (p.m * p.k * across + p.k * p.n * down + p.m * p.n);
}

export const times = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join("");

export function tiledProduct(p: TiledProduct, tile: Tile): Dispatch {
  const { m, n, k, scalar, element } = p;
  const { vectors, depth } = tile;
  const rows = side * tile.rows;
  const fours = side * vectors;
  // One more than the rows: columns of the slice then start in different banks.
  const pitch = rows + 1;
  const vector = typeName(scalar, 4);
  const slice = typeName(element, 4);
  const code = `
${p.declarations ?? ""}
var<workgroup> sliceA: array<${element}, ${depth * pitch}>;
var<workgroup> sliceB: array<${slice}, ${depth * fours}>;

@compute @workgroup_size(${side}, ${side})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let batch = group.z;
${p.begin ?? ""}
  let firstRow = group.y * ${rows}u;
  let firstColumn = group.x * ${4 * fours}u;
${times(tile.rows * vectors, (i) => `  var sum${i} = ${vector}();\n`)}
  for (var start = 0u; start < ${k}u; start += ${depth}u) {
${loadSlices(p, { rows, fours, depth, pitch }, (at) => `sliceB[${at}] = value;`)}
    workgroupBarrier();
    for (var d = 0u; d < ${depth}u; d++) {
${times(vectors, (v) => `      let b${v} = ${vector}(sliceB[d * ${fours}u + ${v * side}u + id.x]);\n`)}
${times(tile.rows, (r) => `      let a${r} = ${scalar}(sliceA[d * ${pitch}u + id.y * ${tile.rows}u + ${r}u]);\n`)}
${times(tile.rows, (r) => times(vectors, (v) => `      sum${r * vectors + v} += a${r} * b${v};\n`))}
    }
    workgroupBarrier();
  }
${stores(p, tile)}
}`;
  return {
    bindings: p.bindings,
    code: prelude(code, p.lanes) + code,
    workgroups: [Math.ceil(n / (4 * fours)), Math.ceil(m / rows), p.batches],
  };
}

/**
 * Statements that bring the slices from `start` on into workgroup memory: A with a column after the other, `pitch` apart.
 * @param storeB stores four columns, `value`, as vector number `at` of B
 */
export function loadSlices(
  { m, n, k, a, b, element }: TiledProduct,
  { rows, fours, depth, pitch }: Readonly<Record<"rows" | "fours" | "depth" | "pitch", number>>,
  storeB: (at: string) => string,
): string {
  const slice = typeName(element, 4);
  const zero = `${element}(0)`;
  const loadA =
    a.four && k % 4 === 0
      ? foursOfA(a.four, rows, depth, pitch, m, k, slice)
      : onesOfA(a, rows, depth, pitch, m, k, zero);
  return `${loadA}\n${loadB(b, fours, depth, n, k, slice, zero, storeB)}`;
}

/** Invocations take turns at `count` parts of a slice. */
function turns(count: number, body: string): string {
  return `    for (var part = local; part < ${count}u; part += ${side * side}u) {${body}}\n`;
}

function onesOfA(a: Loader, rows: number, depth: number, pitch: number, m: number, k: number, zero: string): string {
  const [d, r] = a.byRows === false ? [`/ ${rows}u`, `% ${rows}u`] : [`% ${depth}u`, `/ ${depth}u`];
  return turns(
    rows * depth,
    `
      let d = part ${d};
      let r = part ${r};
      let row = firstRow + r;
      let at = start + d;
      var value = ${zero};
      if (row < ${m}u && at < ${k}u) { value = ${a.one("row", "at")}; }
      sliceA[d * ${pitch}u + r] = value;
    `,
  );
}

function foursOfA(
  four: (row: string, column: string) => string,
  rows: number,
  depth: number,
  pitch: number,
  m: number,
  k: number,
  slice: string,
): string {
  return turns(
    (rows * depth) / 4,
    `
      let d = 4u * (part % ${depth / 4}u);
      let r = part / ${depth / 4}u;
      let row = firstRow + r;
      let at = start + d;
      var value = ${slice}();
      if (row < ${m}u && at < ${k}u) { value = ${four("row", "at")}; }
      sliceA[d * ${pitch}u + r] = value.x;
      sliceA[(d + 1u) * ${pitch}u + r] = value.y;
      sliceA[(d + 2u) * ${pitch}u + r] = value.z;
      sliceA[(d + 3u) * ${pitch}u + r] = value.w;
    `,
  );
}

function loadB(
  b: Loader,
  fours: number,
  depth: number,
  n: number,
  k: number,
  slice: string,
  zero: string,
  store: (at: string) => string,
): string {
  const [d, c] = b.byRows === false ? [`% ${depth}u`, `/ ${depth}u`] : [`/ ${fours}u`, `% ${fours}u`];
  const value =
    b.four && n % 4 === 0
      ? `      if (at < ${k}u && column < ${n}u) { value = ${b.four("at", "column")}; }`
      : times(
          4,
          (j) =>
            `      if (at < ${k}u && column + ${j}u < ${n}u) { value[${j}] = ${b.one("at", `(column + ${j}u)`)}; }\n`,
        );
  return turns(
    fours * depth,
    `
      let d = part ${d};
      let c = part ${c};
      let at = start + d;
      let column = firstColumn + 4u * c;
      var value = ${slice}(${zero});
${value}
      ${store(`d * ${fours}u + c`)}
    `,
  );
}

/** A loop: it is a small part of the work, and much of the code. */
function stores({ m, n, lanes, store, scalar }: TiledProduct, { rows, vectors }: Tile): string {
  const count = rows * vectors;
  const sums = Array.from({ length: count }, (_, i) => `sum${i}`).join(", ");
  const inside =
    lanes === 4
      ? `    if (column < ${n}u) { ${store("row", "column", "sums[i]")} }`
      : `    for (var j = 0u; j < 4u && column + j < ${n}u; j++) { ${store("row", "(column + j)", "sums[i][j]")} }`;
  return `  var sums = array<${typeName(scalar, 4)}, ${count}>(${sums});
  for (var i = 0u; i < ${count}u; i++) {
    let row = firstRow + id.y * ${rows}u + i / ${vectors}u;
    let column = firstColumn + (i % ${vectors}u) * ${4 * side}u + 4u * id.x;
    if (row >= ${m}u) { break; }
${inside}
  }
`;
}
