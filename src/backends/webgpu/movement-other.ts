/** Kernels of fewer models that move elements without looking at them: see movement.ts. */
import { dropout, eyeLike, pad, tile, trilu } from "../../ops/index.ts";
import { readPads } from "../../ops/pad.ts";
import { tileWalk } from "../../ops/tile.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { filled, walkStep } from "./movement.ts";
import { type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type Storage, storageOf } from "./target.ts";
import { perElement, read, write } from "./wgsl.ts";

/** Where position `c` along an axis comes from in the input: statements that set `k`, and clear `inside`. */
function padAxis(c: string, d: number, begin: number, end: number, mode: string): string {
  const first = Math.max(0, -begin);
  const n = d - first - Math.max(0, -end);
  const p = `i32(${c}) - ${Math.max(0, begin)}`;
  if (mode === "edge") return `k = clamp(${p}, 0, ${n - 1}) + ${first};`;
  if (mode === "wrap") return `k = ((${p}) % ${n} + ${n}) % ${n} + ${first};`;
  if (mode === "reflect") {
    const period = 2 * (n - 1);
    if (period === 0) return `k = ${first};`;
    return `k = ((${p}) % ${period} + ${period}) % ${period}; k = select(${period} - k, k, k < ${n}) + ${first};`;
  }
  return `k = ${p}; inside = inside && k >= 0 && k < ${n}; k += ${first};`;
}

function padStep(
  storage: Storage,
  x: TensorType,
  y: TensorType,
  pads: ReturnType<typeof readPads>,
  mode: string,
  valued: boolean,
): GpuStep {
  const strides = stridesOf(x.shape);
  const outer = stridesOf(y.shape);
  const lines = y.shape.map((d, a) => {
    const c = `((i / ${outer[a]}u) % ${d}u)`;
    return `  ${padAxis(c, x.shape[a], pads.begin[a], pads.end[a], mode)} at += k * ${strides[a]};\n`;
  });
  const bindings = [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)];
  if (valued) bindings.push(read("value", { input: 2 }, storage.element));
  const body = `  var inside = true;
  var k = 0;
  var at = 0;
${lines.join("")}  var result = ${valued ? "value[0]" : `${storage.element}(0)`};
  if (inside) { result = x[at]; }
  y[i] = result;`;
  return { run: [perElement(sizeOf(y.shape), { bindings, body })] };
}

export const otherMovementKernels: GpuKernels = (target) => {
  const storage = (t: TensorType) => storageOf(target, t.dtype);
  return [
    gpuKernel(tile, "webgpu/tile", ([x, repeats]) => {
      const s = storage(x);
      return s && walkStep(s, tileWalk(x.shape, repeats.constant!));
    }),
    gpuKernel(pad, "webgpu/pad", ([x, pads, value, axes], [y], { mode = "constant" }) => {
      const s = storage(x);
      return (
        s &&
        padStep(s, x, y, readPads(x, pads.constant!, axes?.constant), mode, value !== undefined && mode === "constant")
      );
    }),
    gpuKernel(trilu, "webgpu/trilu", ([x, k], _, { upper = true }) => {
      const s = storage(x);
      if (!s) return undefined;
      const [rows, columns] = x.shape.slice(-2);
      const diagonal = k ? toNumbers(k.constant!)[0] : 0;
      const bindings = [read("x", { input: 0 }, s.element), write("y", { output: 0 }, s.element)];
      const body = `  let above = i32(i % ${columns}u) - i32((i / ${columns}u) % ${rows}u);
  y[i] = select(${s.element}(0), x[i], above ${upper ? ">=" : "<="} ${Math.max(-(2 ** 31) + 1, Math.min(diagonal, 2 ** 31 - 1))});`;
      return { run: [perElement(sizeOf(x.shape), { bindings, body })] };
    }),
    gpuKernel(eyeLike, "webgpu/eyeLike", (_, [y], { k = 0 }) => {
      const s = storage(y);
      if (!s) return undefined;
      const columns = y.shape[1];
      const on = `i32(i % ${columns}u) - i32(i / ${columns}u) == ${k}`;
      return filled(s, y, `select(${s.element}(0), ${s.element}(1), ${on})`);
    }),
    gpuKernel(dropout, "webgpu/dropout", ([x, , training], [y, mask]) => {
      const s = storage(x);
      if (!s || (training && (!training.constant || Number(training.constant.data[0]) !== 0))) return undefined;
      const bindings = [read("x", { input: 0 }, s.element)];
      if (y) bindings.push(write("y", { output: 0 }, s.element));
      if (mask) bindings.push(write("mask", { output: 1 }, "u32"));
      const body = `  let v = x[i];\n${y ? "  y[i] = v;\n" : ""}${mask ? "  mask[i] = 1u;\n" : ""}`;
      return { run: [perElement(sizeOf(x.shape), { bindings, body })] };
    }),
  ];
};
