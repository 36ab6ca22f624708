/**
 * Resizing, blocks to depth and back, and the normalisation of old networks: one invocation for each element. Where
 * samples lie and what they weigh is worked out on the host, and read from tables.
 */
import { channelsFirst } from "../../ops/batch-norm.ts";
import { depthToSpace, depthToSpaceWalk, spaceToDepth, spaceToDepthWalk } from "../../ops/depth-to-space.ts";
import { einsum, einsumPlan } from "../../ops/einsum.ts";
import { localResponseNorm } from "../../ops/local-norm.ts";
import { resize, resizedAxes, resizeTaps } from "../../ops/resize.ts";
import type { StridedWalk } from "../../ops/strided.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { coordinates, dot, literal, loaded, offsets, perElement, read, stored, wrapped, write } from "./wgsl.ts";

/** Elements of y from where a walk finds them in x. */
function walkStep(target: GpuTarget, x: TensorType, { shape, from }: StridedWalk): GpuStep | undefined {
  const storage = storageOf(target, x.dtype);
  if (!storage) return undefined;
  const { code, at } = offsets("i", shape, [from.strides]);
  const bindings = [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)];
  return { run: [perElement(sizeOf(shape), { bindings, body: `${code}  y[i] = x[${from.base}u + ${at[0]}];` })] };
}

export const imageKernels: GpuKernels = (target) => [
  gpuKernel(depthToSpace, "webgpu/depthToSpace", ([x], _, attrs) =>
    walkStep(target, x, depthToSpaceWalk(x.shape, attrs)),
  ),
  gpuKernel(spaceToDepth, "webgpu/spaceToDepth", ([x], _, attrs) =>
    walkStep(target, x, spaceToDepthWalk(x.shape, attrs)),
  ),

  gpuKernel(resize, "webgpu/resize/taps", ([x, roi, scales, sizes], [y], attrs) => {
    const storage = storageOf(target, x.dtype);
    const nearest = (attrs.mode ?? "nearest") === "nearest";
    if (!storage || (!nearest && !isFloat(x.dtype))) return undefined;
    const taps = resizeTaps(resizedAxes(x, roi?.constant, scales?.constant, sizes?.constant, attrs), attrs);
    const strides = stridesOf(x.shape);
    const moved = taps.flatMap((t, d) => (t.identity ? [] : [d]));
    // By axis: where its part of the tables begins.
    const starts: number[] = [];
    let length = 0;
    for (const d of moved) {
      starts[d] = length;
      length += taps[d].index.length;
    }
    const index = new Int32Array(Math.max(1, length));
    const weight = new Float32Array(Math.max(1, length));
    for (const d of moved) {
      index.set(taps[d].index, starts[d]);
      weight.set(taps[d].weight, starts[d]);
    }
    const fixed = dot(
      y.shape.map((_, d) => `u32(o${d})`),
      strides.map((s, d) => (taps[d].identity ? s : 0)),
    );
    const sample = moved.reduceRight(
      (inner, d) => {
        const first = `${starts[d]}u + u32(o${d}) * ${taps[d].count}u`;
        if (nearest) return `let at${d} = u32(index[${first}]) * ${strides[d]}u;\n  ${inner}`;
        return `for (var t${d} = ${first}; t${d} < ${first} + ${taps[d].count}u; t${d}++) {
    let w${d} = weight[t${d}];
    let at${d} = u32(index[t${d}]) * ${strides[d]}u;
    ${inner}
  }`;
      },
      nearest
        ? `value = ${loaded(storage, 1, `x[${[fixed, ...moved.map((d) => `at${d}`)].join(" + ")}]`)};`
        : `value += ${[...moved.map((d) => `w${d}`), loaded(storage, 1, `x[${[fixed, ...moved.map((d) => `at${d}`)].join(" + ")}]`)].join(" * ")};`,
    );
    const beyond = moved.filter((d) => taps[d].outside);
    const outside = Int32Array.from([0, ...beyond.flatMap((d) => [...taps[d].outside!])]);
    let at = 1;
    const tests = beyond.map((d) => {
      const test = `outside[${at}u + u32(o${d})] != 0`;
      at += taps[d].outside!.length;
      return test;
    });
    const fill = literal(attrs.extrapolationValue ?? 0);
    const tables: Binding[] = [];
    if (moved.length) tables.push(read("index", { table: 0 }, "i32"));
    if (moved.length && !nearest) tables.push(read("weight", { table: 1 }, "f32"));
    if (tests.length) tables.push(read("outside", { table: 2 }, "i32"));
    const body = `
  ${coordinates("o", "i", y.shape)}
  var value = ${storage.scalar}(0);
  ${sample}
  ${tests.length ? `if (${tests.join(" || ")}) { value = ${storage.scalar}(${fill}); }` : ""}
  y[i] = ${stored(storage, 1, "value")};`;
    return {
      run: [
        perElement(sizeOf(y.shape), {
          bindings: [read("x", { input: 0 }, storage.element), ...tables, write("y", { output: 0 }, storage.element)],
          body,
        }),
      ],
      tables: [index, weight, outside].map((table) => hostTensor(table)),
    };
  }),

  gpuKernel(localResponseNorm, "webgpu/localResponseNorm", ([x], _, { size, alpha = 1e-4, beta = 0.75, bias = 1 }) => {
    const storage = storageOf(target, x.dtype);
    if (!storage) return undefined;
    const { channels, inner } = channelsFirst(x);
    const body = `
  let c = i32(i / ${inner}u % ${channels}u);
  let first = max(0, c - ${Math.floor((size - 1) / 2)});
  let last = min(${channels - 1}, c + ${Math.ceil((size - 1) / 2)});
  var squares = 0.0;
  for (var k = first; k <= last; k++) {
    let v = ${loaded(storage, 1, `x[i32(i) + (k - c) * ${inner}]`)};
    squares += v * v;
  }
  let v = ${loaded(storage, 1, "x[i]")};
  y[i] = ${stored(storage, 1, `v / pow(${literal(bias)} + ${literal(alpha / size)} * squares, ${literal(beta)})`)};`;
    const bindings = [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)];
    return { run: [perElement(sizeOf(x.shape), { bindings, body })] };
  }),

  gpuKernel(einsum, "webgpu/einsum", (inputs, [y], { equation }) => {
    const storage = storageOf(target, y.dtype);
    if (!storage) return undefined;
    const { sizes, kept, strides } = einsumPlan(equation, inputs);
    const names = sizes.map((_, d) => `x${d}`);
    const product = inputs.map((_, t) => loaded(storage, 1, `a${t}[${dot(names, strides[t])}]`)).join(" * ");
    const summed = names
      .slice(kept)
      .reduceRight(
        (inner, name, d) => `for (var ${name} = 0u; ${name} < ${sizes[kept + d]}u; ${name}++) {\n  ${inner}\n  }`,
        `sum += ${product};`,
      );
    const output = sizes.slice(0, kept);
    const outer = coordinates("x", "i", output).replaceAll("i32(", "u32(");
    const body = `
  ${outer}
  var sum = ${storage.scalar}(0);
  ${summed}
  y[i] = ${stored(storage, 1, storage.scalar === "f32" ? "sum" : wrapped(y.dtype, "sum"))};`;
    const bindings = inputs.map((_, input) => read(`a${input}`, { input }, storage.element));
    if (bindings.length >= target.limits.maxStorageBuffersPerShaderStage) return undefined;
    return {
      run: [perElement(sizeOf(y.shape), { bindings: [...bindings, write("y", { output: 0 }, storage.element)], body })],
    };
  }),
];
