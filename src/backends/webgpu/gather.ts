/** Gathering along an axis; what else looks at indices is in indexing.ts. */
import { gather } from "../../ops/gather.ts";
import { resolveIndex } from "../../ops/indices.ts";
import { normalizeAxis, sizeBetween, sizeOf } from "../../tensor/shape.ts";
import { type GpuKernels, gpuKernel } from "./step.ts";
import { storageOf } from "./target.ts";
import { type Lanes, perElement, read, typeName, write } from "./wgsl.ts";

/** A u32 from an i32 index into an axis of `n`. */
export const resolved = (index: string, n: number): string => `u32(select(${index}, ${index} + ${n}, ${index} < 0))`;

export const gatherKernels: GpuKernels = (target) => [
  gpuKernel(gather, "webgpu/gather", ([x, at], [y], { axis = 0 }) => {
    const s = storageOf(target, x.dtype);
    const a = normalizeAxis("gather", axis, x.shape.length);
    const [n, inner, count] = [x.shape[a], sizeBetween(x.shape, a + 1, x.shape.length), sizeOf(at.shape)];
    if (!s) return undefined;
    // Whatever the index is, which shaders could not say.
    if (n === 0) resolveIndex("gather", 0, n, a);
    const lanes: Lanes = inner % 4 === 0 ? 4 : 1;
    const width = inner / lanes;
    const type = typeName(s.element, lanes);
    const body = `  let k = indices[(i / ${width}u) % ${count}u];
  y[i] = x[((i / ${width * count}u) * ${n}u + ${resolved("k", n)}) * ${width}u + i % ${width}u];`;
    const bindings = [
      read("x", { input: 0 }, type),
      read("indices", { input: 1 }, "i32"),
      write("y", { output: 0 }, type),
    ];
    return { run: [perElement(sizeOf(y.shape) / lanes, { bindings, body })] };
  }),
];
