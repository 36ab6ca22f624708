/**
 * matmul and gemm.
 *
 *   element   an invocation for each element of the result: small products
 *   gemv      few rows, one product, and B lies along k in fours: see gemv.ts
 *   dot       few rows, and B lies along k: a workgroup for each column, whose invocations walk along k together
 *   columns   few rows, and B lies along n: an invocation for four columns and a part of k
 *   matrix    many rows and columns, where there are matrix units: see matmul-matrix.ts
 *   tile      many rows: tiles in workgroup memory and registers, see matmul-tile.ts
 */
import { type GemmAttrs, gemm } from "../../ops/gemm.ts";
import { biasStrides, type MatmulAttrs, type MatmulGeometry, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { isInteger } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Epilogue, type EpilogueCode, epilogueCode } from "./epilogue.ts";
import { fewRows, type Gemv } from "./gemv.ts";
import { matrixProduct, matrixTile } from "./matmul-matrix.ts";
import { type Loader, type TiledProduct, tiledBytes, tiledProduct, tileFor } from "./matmul-tile.ts";
import { absorbingGemv } from "./prologue.ts";
import { addition, groupReduction } from "./reduction.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, type Storage, storageOf } from "./target.ts";
import { grid, type Lanes, loaded, offsets, perElement, perGroup, prelude, read, typeName } from "./wgsl.ts";

/** One product to plan. */
interface Product {
  readonly g: MatmulGeometry;
  readonly a: TensorType;
  readonly b: TensorType;
  readonly y: TensorType;
  readonly storage: Storage;
  readonly epilogue: Epilogue;
  readonly batches: number;
}

type Planner = (target: GpuTarget, p: Product) => GpuStep | undefined;

/** Offsets of the matrices of `batch`, as statements that declare `aStart` and `bStart`. */
function batchStarts({ g }: Product, batch: string): string {
  const { code, at } = offsets(
    batch,
    g.batch,
    [g.aBatch.map((s) => s * g.m * g.k), g.bBatch.map((s) => s * g.k * g.n)],
    "outer",
  );
  return `${code}  let aStart = ${at[0]};\n  let bStart = ${at[1]};\n`;
}

const operands = ({ storage }: Product, aLanes: Lanes, bLanes: Lanes): Binding[] => [
  read("a", { input: 0 }, typeName(storage.element, aLanes)),
  read("b", { input: 1 }, typeName(storage.element, bLanes)),
];

const elementOf = (start: string, strides: { row: number; column: number }, row: string, column: string): string =>
  `${start} + ${row} * ${strides.row}u + ${column} * ${strides.column}u`;

const planElement: Planner = (target, p) => {
  const { g, storage } = p;
  const finish = epilogueCode(target, p.y, p.epilogue, 1);
  if (!finish) return undefined;
  const product = `a[${elementOf("aStart", g.aStrides, "row", "k")}]`;
  const other = `b[${elementOf("bStart", g.bStrides, "k", "column")}]`;
  const body = `  let column = i % ${g.n}u;
  let row = (i / ${g.n}u) % ${g.m}u;
${batchStarts(p, `(i / ${g.m * g.n}u)`)}
  var sum = ${storage.scalar}();
  for (var k = 0u; k < ${g.k}u; k++) { sum += ${loaded(storage, 1, product)} * ${loaded(storage, 1, other)}; }
  ${finish.store("sum", "i", "row", "column")}`;
  return { run: [perElement(sizeOf(p.y.shape), { bindings: [...operands(p, 1, 1), ...finish.bindings], body })] };
};

const rowsOf = (m: number, line: (r: number) => string): string =>
  Array.from({ length: m }, (_, r) => line(r)).join("");

const planDot: Planner = (target, p) => {
  const { g, storage, batches } = p;
  const { m, n, k } = g;
  if (m > fewRows || k < 64 || g.bStrides.row !== 1 || (n > 1 && g.bStrides.column !== k)) return undefined;
  // Rows of A need to lie along k as well, to be read in fours.
  const lanes: Lanes = k % 4 === 0 && (m === 1 || g.aStrides.column === 1) ? 4 : 1;
  const finish = epilogueCode(target, p.y, p.epilogue, 1);
  if (!finish) return undefined;
  const size = 64;
  const type = typeName(storage.scalar, lanes);
  const aAt = (r: number) =>
    lanes === 4 ? `(aStart + ${r * k}u) / 4u + d` : elementOf("aStart", g.aStrides, `${r}u`, "d");
  const total = (r: number) => (lanes === 4 ? `sum${r}.x + sum${r}.y + sum${r}.z + sum${r}.w` : `sum${r}`);
  const body = `  let column = row % ${n}u;
  let batch = row / ${n}u;
${batchStarts(p, "batch")}
${rowsOf(m, (r) => `  var sum${r} = ${type}();\n`)}
  for (var d = local; d < ${k / lanes}u; d += ${size}u) {
    let other = ${loaded(storage, lanes, `b[${lanes === 4 ? `(bStart + column * ${k}u) / 4u` : `bStart + column * ${k}u`} + d]`)};
${rowsOf(m, (r) => `    sum${r} += ${loaded(storage, lanes, `a[${aAt(r)}]`)} * other;\n`)}
  }
${rowsOf(m, (r) => `  let all${r} = together(${total(r)}, local, width);\n`)}
${rowsOf(m, (r) => `  if (local == ${r}u) { ${finish.store(`all${r}`, `(batch * ${m}u + ${r}u) * ${n}u + column`, `${r}u`, "column")} }\n`)}`;
  const declarations = groupReduction(target, "together", storage.scalar, size, addition);
  const bindings = [...operands(p, lanes, lanes), ...finish.bindings];
  return { run: [perGroup(n * batches, size, { bindings, declarations, body })] };
};

const planColumns: Planner = (target, p) => {
  const { g, storage, batches } = p;
  const { m, n, k } = g;
  if (m > fewRows || k < 64 || n < 16 || g.bStrides.column !== 1) return undefined;
  const lanes: Lanes = n % 4 === 0 ? 4 : 1;
  const finish = epilogueCode(target, p.y, p.epilogue, lanes);
  if (!finish) return undefined;
  const [across, parts] = [32, 8];
  const vectors = Math.ceil(n / lanes / across);
  const type = typeName(storage.scalar, lanes);
  const { workgroups, index } = grid(vectors * batches);
  // All sums of a part lie together, then those of the next.
  const code = `
var<workgroup> partial: array<${type}, ${across * parts * m}>;
@compute @workgroup_size(${across}, ${parts})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
  let number = ${index};
  if (number >= ${vectors * batches}u) { return; }
  let batch = number / ${vectors}u;
  let vector = (number % ${vectors}u) * ${across}u + id.x;
  let column = vector * ${lanes}u;
${batchStarts(p, "batch")}
${rowsOf(m, (r) => `  var sum${r} = ${type}();\n`)}
  if (column < ${n}u) {
    for (var d = id.y; d < ${k}u; d += ${parts}u) {
      let other = ${loaded(storage, lanes, `b[(bStart + d * ${n}u) / ${lanes}u + vector]`)};
${rowsOf(m, (r) => `      sum${r} += ${loaded(storage, 1, `a[${elementOf("aStart", g.aStrides, `${r}u`, "d")}]`)} * other;\n`)}
    }
  }
${rowsOf(m, (r) => `  partial[(id.y * ${m}u + ${r}u) * ${across}u + id.x] = sum${r};\n`)}
  workgroupBarrier();
  for (var r = id.y; r < ${m}u; r += ${parts}u) {
    var sum = partial[r * ${across}u + id.x];
    for (var part = 1u; part < ${parts}u; part++) { sum += partial[(part * ${m}u + r) * ${across}u + id.x]; }
    if (column < ${n}u) { ${finish.store("sum", `(batch * ${m}u + r) * ${n}u + column`, "r", "column")} }
  }
}`;
  const bindings = [...operands(p, 1, lanes), ...finish.bindings];
  return { run: [{ bindings, code: prelude(code, lanes) + code, workgroups }] };
};

/** Where four elements of a row that begin at a multiple of four are one load. */
const inFours = (strides: { row: number; column: number }, rows: number, columns: number): boolean =>
  strides.column === 1 && columns % 4 === 0 && (rows === 1 || strides.row % 4 === 0);

function loader(name: "a" | "b", strides: { row: number; column: number }, fours: boolean): Loader {
  const at = (row: string, column: string) => elementOf(`${name}Start`, strides, row, column);
  return {
    one: (row, column) =>
      fours ? `${name}[(${at(row, column)}) / 4u][(${at(row, column)}) % 4u]` : `${name}[${at(row, column)}]`,
    four: fours ? (row, column) => `${name}[(${at(row, column)}) / 4u]` : undefined,
    byRows: strides.column === 1,
  };
}

/** The product for tiles, whose results are stored in fours or one by one. */
function tiled(target: GpuTarget, p: Product, lanes: Lanes): TiledProduct | undefined {
  const { g, storage, batches } = p;
  const { m, n, k } = g;
  const finish: EpilogueCode | undefined = epilogueCode(target, p.y, p.epilogue, lanes);
  if (!finish || batches > 65535) return undefined;
  const aFours = inFours(g.aStrides, m, k);
  const bFours = inFours(g.bStrides, k, n);
  return {
    m,
    n,
    k,
    batches,
    bindings: [...operands(p, aFours ? 4 : 1, bFours ? 4 : 1), ...finish.bindings],
    element: storage.element,
    scalar: storage.scalar,
    begin: batchStarts(p, "batch"),
    a: loader("a", g.aStrides, aFours),
    b: loader("b", g.bStrides, bFours),
    lanes,
    store: (row, column, sum) => finish.store(sum, `(batch * ${m}u + ${row}) * ${n}u + ${column}`, row, column),
  };
}

const planTile: Planner = (target, p) => {
  const { m, n, k } = p.g;
  if (m * n < 64 || k < 4) return undefined;
  const product = tiled(target, p, n % 4 === 0 ? 4 : 1);
  if (!product) return undefined;
  const tile = tileFor(target, product);
  return { run: [tiledProduct(product, tile)], bytes: tiledBytes(product, tile, p.storage.bytes) };
};

/** Even a quarter of a tile takes the units less time than invocations of their own. */
const planMatrix: Planner = (target, p) => {
  const { m, n, k } = p.g;
  if (m < 16 || n < 16 || k < 16) return undefined;
  const product = tiled(target, p, 1);
  const dispatch = product && matrixProduct(target, product);
  return dispatch && { run: [dispatch], bytes: tiledBytes(product, matrixTile, p.storage.bytes) };
};

const planGemv: Planner = (target, p) => {
  const { g, storage, batches } = p;
  const { m, n, k } = g;
  const along = g.bStrides.row === 1 && (n === 1 || g.bStrides.column === k);
  if (m > fewRows || k % 4 !== 0 || k < 64 || batches !== 1 || storage.scalar !== "f32" || !along) return undefined;
  if (m > 1 && (g.aStrides.column !== 1 || g.aStrides.row !== k)) return undefined;
  const finish = epilogueCode(target, p.y, p.epilogue, 1);
  if (!finish) return undefined;
  const type = typeName(storage.element, 4) as Gemv["xType"];
  return absorbingGemv(target, {
    ...{ m, n, k },
    xType: type,
    width: 4,
    bindings: [read("b", { input: 1 }, type), ...finish.bindings],
    part: `dot(${loaded(storage, 4, "b[e]")}, inputAt(at))`,
    store: (sum, row, column) => finish.store(sum, `${row} * ${n}u + ${column}`, row, column),
  });
};

/** In order of preference. */
const variantsFor = (target: GpuTarget): readonly (readonly [string, Planner])[] => [
  ["gemv", planGemv],
  ["dot", planDot],
  ["columns", planColumns],
  ...(target.matrixUnits ? [["matrix", planMatrix] as const] : []),
  ["tile", planTile],
  ["element", planElement],
];

function productOf(
  target: GpuTarget,
  a: TensorType,
  b: TensorType,
  y: TensorType,
  attrs: MatmulAttrs,
  epilogue: Epilogue,
): Product | undefined {
  const storage = storageOf(target, y.dtype);
  const { alpha = 1, beta = 1 } = epilogue;
  if (!storage || (isInteger(y.dtype) && !(Number.isInteger(alpha) && Number.isInteger(beta)))) return undefined;
  const g = matmulGeometry("matmul", a, b, attrs);
  return { g, a, b, y, storage, epilogue, batches: sizeOf(g.batch) };
}

export const matmulKernels: GpuKernels = (target) =>
  variantsFor(target).flatMap(([name, plan]) => [
    gpuKernel(matmul, `webgpu/matmul/${name}`, ([a, b, bias, residual], [y], attrs) => {
      const { alpha, activation } = attrs;
      const epilogue = { alpha, activation, residual, bias: bias && { type: bias, row: 0, column: 1 } };
      const p = productOf(target, a, b, y, attrs, epilogue);
      return p && plan(target, p);
    }),
    gpuKernel(gemm, `webgpu/gemm/${name}`, ([a, b, bias, residual], [y], attrs: GemmAttrs) => {
      const { alpha, beta, activation } = attrs;
      const strides = bias && { type: bias, ...biasStrides(bias, y.shape) };
      const p = productOf(target, a, b, y, attrs, { alpha, beta, activation, residual, bias: strides });
      return p && plan(target, p);
    }),
  ]);
