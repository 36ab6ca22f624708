/**
 * Gathers, scatters and what else looks at indices. Negative indices count from the end; those outside read and write
 * somewhere inside the tensor, as the device bounds them: a shader cannot throw.
 */
import {
  cumProd,
  cumSum,
  gatherElements,
  gatherNd,
  oneHot,
  reverseSequence,
  scatterElements,
  scatterNd,
  topk,
} from "../../ops/index.ts";
import type { ScatterAttrs } from "../../ops/scatter.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { isBig, isFloat } from "../../tensor/dtype.ts";
import { normalizeAxis, sizeBetween, sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { resolved } from "./gather.ts";
import { isShort, type RowValue, rowDispatch, rowsAlong } from "./rows.ts";
import { type Dispatch, type GpuKernels, gpuKernel } from "./step.ts";
import { type Scalar, type Storage, storageOf } from "./target.ts";
import { loaded, offsets, perElement, perGroup, read, stored, wrapped, write } from "./wgsl.ts";

const copyOf = (storage: Storage, x: TensorType): Dispatch =>
  perElement(sizeOf(x.shape), {
    bindings: [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)],
    body: "  y[i] = x[i];",
  });

/** A statement that lets an update meet what is there. */
function met(
  storage: Storage,
  x: TensorType,
  { reduction = "none" }: ScatterAttrs,
  at: string,
  update: string,
): string {
  if (reduction === "none") return `y[${at}] = ${update};`;
  const old = loaded(storage, 1, `y[${at}]`);
  const value = loaded(storage, 1, update);
  const nan = storage.scalar === "f32" ? "Nan" : "";
  const combined = {
    add: `${old} + ${value}`,
    mul: `${old} * ${value}`,
    max: `max${nan}(${old}, ${value})`,
    min: `min${nan}(${old}, ${value})`,
  }[reduction];
  const result = x.dtype === "bool" ? `min(${combined}, 1u)` : wrapped(x.dtype, combined);
  return `y[${at}] = ${stored(storage, 1, result)};`;
}

export const indexingKernels: GpuKernels = (target) => {
  const storage = (t: TensorType) => storageOf(target, t.dtype);
  const indices = read("indices", { input: 1 }, "i32");
  return [
    gpuKernel(gatherElements, "webgpu/gatherElements", ([x, at], [y], { axis = 0 }) => {
      const s = storage(x);
      if (!s) return undefined;
      const a = normalizeAxis("gatherElements", axis, x.shape.length);
      const strides = stridesOf(x.shape);
      const others = offsets("i", at.shape, [strides.map((v, d) => (d === a ? 0 : v))]);
      const body = `${others.code}  let k = indices[i];
  y[i] = x[${others.at[0]} + ${resolved("k", x.shape[a])} * ${strides[a]}u];`;
      const bindings = [read("x", { input: 0 }, s.element), indices, write("y", { output: 0 }, s.element)];
      return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
    }),
    gpuKernel(gatherNd, "webgpu/gatherNd", ([x, at], [y], { batchDims = 0 }) => {
      const s = storage(x);
      if (!s) return undefined;
      const tuple = at.shape.at(-1)!;
      const inner = sizeBetween(x.shape, batchDims + tuple, x.shape.length);
      const batch = sizeBetween(x.shape, batchDims, x.shape.length);
      const perBatch = sizeOf(at.shape) / tuple / sizeBetween(x.shape, 0, batchDims);
      const body = `  let j = i / ${inner}u;
  var at = (j / ${perBatch}u) * ${batch}u;
${tupleOffset(x, tuple, batchDims)}  y[i] = x[at + i % ${inner}u];`;
      const bindings = [read("x", { input: 0 }, s.element), indices, write("y", { output: 0 }, s.element)];
      return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
    }),
    gpuKernel(oneHot, "webgpu/oneHot", ([at, , values], [y], { axis = -1 }) => {
      const [from, s] = [storage(at), storage(values)];
      if (!from || !s) return undefined;
      const a = normalizeAxis("oneHot", axis, y.shape.length);
      const depth = y.shape[a];
      const inner = sizeBetween(y.shape, a + 1, y.shape.length);
      const body = `  let v = i32(${loaded(from, 1, `at[(i / ${depth * inner}u) * ${inner}u + i % ${inner}u]`)});
  let k = select(v, v + ${depth}, v < 0);
  y[i] = select(values[0], values[1], k == i32((i / ${inner}u) % ${depth}u));`;
      const bindings = [
        read("at", { input: 0 }, from.element),
        read("values", { input: 2 }, s.element),
        write("y", { output: 0 }, s.element),
      ];
      return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
    }),
    // Updates along the axis go to one line of the result: an invocation takes them in their order.
    gpuKernel(scatterElements, "webgpu/scatterElements", ([x, at, updates], _, attrs) => {
      const s = storage(x);
      if (!s) return undefined;
      const a = normalizeAxis("scatterElements", attrs.axis ?? 0, x.shape.length);
      const others = at.shape.map((d, i) => (i === a ? 1 : d));
      const [own, there] = [stridesOf(at.shape), stridesOf(x.shape)];
      const walk = offsets("i", others, [own, there]);
      const body = `${walk.code}  for (var p = 0u; p < ${at.shape[a]}u; p++) {
    let source = ${walk.at[0]} + p * ${own[a]}u;
    let k = indices[source];
    let to = ${walk.at[1]} + ${resolved("k", x.shape[a])} * ${there[a]}u;
    ${met(s, x, attrs, "to", "updates[source]")}
  }`;
      const bindings = [indices, read("updates", { input: 2 }, s.element), write("y", { output: 0 }, s.element)];
      const run = sizeOf(updates.shape) === 0 ? [] : [perElement(sizeOf(others), { bindings, body })];
      return { run: [copyOf(s, x), ...run] };
    }),
    // All updates of one position within a slice, in their order.
    gpuKernel(scatterNd, "webgpu/scatterNd", ([x, at, updates], _, attrs) => {
      const s = storage(x);
      if (!s) return undefined;
      const tuple = at.shape.at(-1)!;
      const inner = sizeBetween(x.shape, tuple, x.shape.length);
      const body = `  for (var j = 0u; j < ${sizeOf(at.shape) / tuple}u; j++) {
    var at = i;
${tupleOffset(x, tuple, 0)}    ${met(s, x, attrs, "at", `updates[j * ${inner}u + i]`)}
  }`;
      const bindings = [indices, read("updates", { input: 2 }, s.element), write("y", { output: 0 }, s.element)];
      const run = sizeOf(updates.shape) === 0 ? [] : [perElement(inner, { bindings, body })];
      return { run: [copyOf(s, x), ...run] };
    }),
    ...([cumSum, cumProd] as const).flatMap((op) =>
      [true, false].map((short) =>
        gpuKernel(op, `webgpu/${op.op.name}/${short ? "rows" : "group"}`, ([x, axis], _, attrs) => {
          const s = storage(x);
          const line = aroundAxis(op.op.name, x.shape, toNumbers(axis.constant!)[0]);
          const adds = op.op.name === "cumSum";
          // Products of 64-bit integers soon leave 32 bits; sums stay: models number the tokens of a mask by them.
          if (!s || line.n <= scanSize !== short || (isBig(x.dtype) && !adds)) return undefined;
          return { run: [cumulative(s, x, line, adds, attrs)] };
        }),
      ),
    ),
    gpuKernel(reverseSequence, "webgpu/reverseSequence", ([x], _, { batchAxis = 1, timeAxis = 0 }) => {
      const s = storage(x);
      if (!s) return undefined;
      const [batch, time] = [batchAxis, timeAxis].map((a) => normalizeAxis("reverseSequence", a, x.shape.length));
      const strides = stridesOf(x.shape);
      const body = `  let t = i32((i / ${strides[time]}u) % ${x.shape[time]}u);
  let long = lengths[(i / ${strides[batch]}u) % ${x.shape[batch]}u];
  y[i] = x[select(i32(i), i32(i) + (long - 1 - 2 * t) * ${strides[time]}, t < long)];`;
      const bindings = [
        read("x", { input: 0 }, s.element),
        read("lengths", { input: 1 }, "i32"),
        write("y", { output: 0 }, s.element),
      ];
      return { run: [perElement(sizeOf(x.shape), { bindings, body })] };
    }),
    ...[true, false].map((short) =>
      gpuKernel(
        topk,
        `webgpu/topk/${short ? "rows" : "group"}`,
        ([x], [values, positions], { axis = -1, largest = true }) => {
          const s = storage(x);
          const a = normalizeAxis("topk", axis, x.shape.length);
          const rows = rowsAlong(x.shape, [a]);
          if (!s || isShort(rows) !== short) return undefined;
          const k = (values ?? positions).shape[a];
          const inner = sizeBetween(x.shape, a + 1, x.shape.length);
          const bindings = [read("x", { input: 0 }, s.element)];
          if (values) bindings.push(write("values", { output: 0 }, s.element));
          if (positions) bindings.push(write("positions", { output: 1 }, "i32"));
          const best: RowValue = { name: "together", type: "vec2u" as Scalar, combine: (p, q) => `first(${p}, ${q})` };
          // Elements as their bits and their position, which is past the end for none.
          const float = isFloat(x.dtype);
          const declarations = `
fn ahead(p: vec2u, q: vec2u) -> bool {
  if (p.y >= ${rows.n}u || q.y >= ${rows.n}u) { return p.y < q.y; }
  let a = bitcast<${s.scalar}>(p.x);
  let b = bitcast<${s.scalar}>(q.x);
  let aNan = ${float ? "isNan(a)" : "false"};
  let bNan = ${float ? "isNan(b)" : "false"};
  if ((aNan && bNan) || (!aNan && !bNan && a == b)) { return p.y < q.y; }
  let larger = aNan || (!bNan && a > b);
  return ${largest ? "larger" : "!larger"};
}
fn first(p: vec2u, q: vec2u) -> vec2u { return select(q, p, ahead(p, q)); }`;
          const dispatch = rowDispatch(target, rows, {
            bindings,
            values: [best],
            declarations,
            body: ({ each, all, once }) => `  var before = vec2u();
  let place = (row / ${inner}u) * ${k * inner}u + row % ${inner}u;
  for (var j = 0u; j < ${k}u; j++) {
    var own = vec2u(0u, ${rows.n}u);
${each(
  "m",
  (at) => `let candidate = vec2u(bitcast<u32>(${loaded(s, 1, `x[${at}]`)}), m);
    if (j == 0u || ahead(before, candidate)) { own = first(own, candidate); }`,
)}
    before = ${all(best, "own")};
${once(`${values ? `values[place + j * ${inner}u] = ${stored(s, 1, `bitcast<${s.scalar}>(before.x)`)};` : ""} ${positions ? `positions[place + j * ${inner}u] = i32(before.y);` : ""}`)}
  }`,
          });
          return { run: [dispatch] };
        },
      ),
    ),
  ];
};

/** Invocations that share a line. */
const scanSize = 128;

/**
 * Sums or products along lines. Short ones by an invocation each; of a long one each invocation of a workgroup takes a
 * part, first in all, then, knowing what those before it came to, element by element.
 */
function cumulative(
  s: Storage,
  x: TensorType,
  { outer, n, inner }: { outer: number; n: number; inner: number },
  add: boolean,
  { exclusive = false, reverse = false }: { exclusive?: boolean; reverse?: boolean },
): Dispatch {
  const combined = (a: string, b: string): string => wrapped(x.dtype, `(${a} ${add ? "+" : "*"} ${b})`);
  const bindings = [read("x", { input: 0 }, s.element), write("y", { output: 0 }, s.element)];
  const start = (line: string): string => `let start = (${line} / ${inner}u) * ${n * inner}u + ${line} % ${inner}u;`;
  const at = `start + ${reverse ? `(${n - 1}u - j)` : "j"} * ${inner}u`;
  const none = `${s.scalar}(${add ? 0 : 1})`;
  const walk = `let at = ${at};
    let before = total;
    total = ${combined("total", loaded(s, 1, "x[at]"))};
    y[at] = ${stored(s, 1, exclusive ? "before" : "total")};`;
  if (n <= scanSize) {
    const body = `  ${start("i")}
  var total = ${none};
  for (var j = 0u; j < ${n}u; j++) {
    ${walk}
  }`;
    return perElement(outer * inner, { bindings, body });
  }
  const part = Math.ceil(n / scanSize);
  const body = `  ${start("row")}
  let first = local * ${part}u;
  let end = min(first + ${part}u, ${n}u);
  var total = ${none};
  for (var j = first; j < end; j++) { total = ${combined("total", loaded(s, 1, `x[${at}]`))}; }
  upTo[local] = total;
  for (var back = 1u; back < ${scanSize}u; back *= 2u) {
    workgroupBarrier();
    if (local >= back) { total = ${combined("upTo[local - back]", "total")}; }
    workgroupBarrier();
    upTo[local] = total;
  }
  workgroupBarrier();
  total = ${none};
  if (local > 0u) { total = upTo[local - 1u]; }
  for (var j = first; j < end; j++) {
    ${walk}
  }`;
  const declarations = `var<workgroup> upTo: array<${s.scalar}, ${scanSize}>;`;
  return perGroup(outer * inner, scanSize, { bindings, declarations, body });
}

/** Adds to `at` where tuple `j` points. */
function tupleOffset(x: TensorType, tuple: number, first: number): string {
  const strides = stridesOf(x.shape);
  return Array.from({ length: tuple }, (_, k) => {
    const axis = first + k;
    return `  let k${k} = indices[j * ${tuple}u + ${k}u]; at += ${resolved(`k${k}`, x.shape[axis])} * ${strides[axis]}u;\n`;
  }).join("");
}
