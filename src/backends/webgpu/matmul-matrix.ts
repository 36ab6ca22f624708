/**
 * The tiled product by matrix units: each subgroup multiplies small matrices from the slices in workgroup memory into
 * matrices that its invocations hold together (chromium-experimental-subgroup-matrix).
 */
import { loadSlices, type TiledProduct, times } from "./matmul-tile.ts";
import type { Dispatch } from "./step.ts";
import type { GpuTarget, MatrixUnit } from "./target.ts";
import { prelude } from "./wgsl.ts";

const size = 256;
/** Rows and columns of a workgroup's tile, and how far it goes along k at a time. */
const side = 64;
const depth = 16;
/** The same in the tiled product's terms. */
export const matrixTile = { rows: side / 16, vectors: side / 64, depth };
/** Matrices are loaded from multiples of 16 bytes. */
const pitch = side + 8;

/** How a tile is parted among subgroups, each of which has neighbours in one row. */
interface Parting {
  readonly unit: MatrixUnit;
  /** Matrices of a subgroup, and in a row of the tile. */
  readonly each: number;
  readonly across: number;
}

function partingOf(unit: MatrixUnit, width: number): Parting | undefined {
  const { m, n, k } = unit;
  const across = side / n;
  const each = (across * (side / m)) / (size / width);
  const whole = [side / m, across, depth / k, each, across / each];
  return whole.every((v) => Number.isInteger(v) && v > 0) ? { unit, each, across } : undefined;
}

/** Undefined where the device has no units for these elements. `store` takes single elements. */
export function matrixProduct(target: GpuTarget, p: TiledProduct): Dispatch | undefined {
  const width = target.subgroups?.max;
  if (!width || p.scalar !== "f32") return undefined;
  const partings = target.matrixUnits
    ?.filter((u) => u.component === p.element)
    .map((u) => partingOf(u, width))
    .filter((parting) => parting !== undefined);
  if (!partings?.length) return undefined;
  const { unit, each, across } = partings[0];
  const { m, n, k, component } = unit;
  const memory = component === "f16" ? 2 : 4;
  if (depth * (pitch + side) * memory + (size / width) * m * n * 4 > target.limits.maxComputeWorkgroupStorageSize)
    return undefined;
  const slices = loadSlices(p, { rows: side, fours: side / 4, depth, pitch }, (at) =>
    [0, 1, 2, 3].map((j) => `sliceB[4u * (${at}) + ${j}u] = value[${j}];`).join(" "),
  );
  const left = `subgroupMatrixLoad<subgroup_matrix_left<${component}, ${k}, ${m}>, col_major>`;
  const right = `subgroupMatrixLoad<subgroup_matrix_right<${component}, ${n}, ${k}>, row_major>`;
  const multiply = (d: number): string => `    {
      let a = ${left}(&sliceA, ${d * pitch}u + rowOfBlock * ${m}u, ${pitch}u);
${times(
  each,
  (j) => `      let b${j} = ${right}(&sliceB, ${d * side}u + (columnOfBlock + ${j}u) * ${n}u, ${side}u);
      sum${j} = subgroupMatrixMultiplyAccumulate(a, b${j}, sum${j});\n`,
)}    }\n`;
  const finish = (j: number): string => `
  subgroupMatrixStore<row_major>(&blocks, number * ${m * n}u, sum${j}, ${n}u);
  workgroupBarrier();
  for (var e = lane; e < ${m * n}u; e += ${width}u) {
    let row = firstRow + rowOfBlock * ${m}u + e / ${n}u;
    let column = firstColumn + (columnOfBlock + ${j}u) * ${n}u + e % ${n}u;
    if (row < ${p.m}u && column < ${p.n}u) { ${p.store("row", "column", `blocks[number * ${m * n}u + e]`)} }
  }
  workgroupBarrier();
`;
  const code = `
${p.declarations ?? ""}
var<workgroup> sliceA: array<${component}, ${depth * pitch}>;
var<workgroup> sliceB: array<${component}, ${depth * side}>;
var<workgroup> blocks: array<f32, ${(size / width) * m * n}>;

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32, @builtin(subgroup_id) number: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let batch = group.z;
${p.begin ?? ""}
  let firstRow = group.y * ${side}u;
  let firstColumn = group.x * ${side}u;
  let rowOfBlock = number * ${each}u / ${across}u;
  let columnOfBlock = number * ${each}u % ${across}u;
${times(each, (j) => `  var sum${j} = subgroup_matrix_result<f32, ${n}, ${m}>();\n`)}
  for (var start = 0u; start < ${p.k}u; start += ${depth}u) {
${slices}
    workgroupBarrier();
${times(depth / k, (d) => multiply(d * k))}
    workgroupBarrier();
  }
${times(each, finish)}
}`;
  return {
    bindings: p.bindings,
    code: prelude(code, p.lanes) + code,
    workgroups: [Math.ceil(p.n / side), Math.ceil(p.m / side), p.batches],
  };
}
