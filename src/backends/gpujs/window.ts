/** Sliding windows over the spatial axes: convolution and pooling, any number of axes. */
import { conv, convGeometry } from "../../ops/conv.ts";
import { averagePool, globalAveragePool, globalMaxPool, maxPool, poolWindow } from "../../ops/pool.ts";
import type { Window } from "../../ops/window.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import { activationCode, gpuKernel, quotient, remainder } from "./code.ts";

/**
 * Loops over the taps of window i: `body` runs for those that lie on elements, and finds the element's offset in its
 * plane as `at` and the tap's number as `tap`.
 */
function overTaps({ input, kernel, strides, dilations, padBegin, output }: Window, body: string): string {
  const inputStrides = stridesOf(input);
  const outputStrides = stridesOf(output);
  const tapStrides = stridesOf(kernel);
  const starts = input.map((_, d) => {
    const position = remainder(quotient("i", outputStrides[d]), output[d]);
    return `const start${d} = ${position} * ${strides[d]} - ${padBegin[d]};`;
  });
  const sum = (of: (d: number) => string): string => input.map((_, d) => of(d)).join(" + ");
  let code = `
    const at = ${sum((d) => `p${d} * ${inputStrides[d]}`)};
    const tap = ${sum((d) => `t${d} * ${tapStrides[d]}`)};
    ${body}`;
  for (let d = input.length - 1; d >= 0; d--)
    code = `for (let t${d} = 0; t${d} < ${kernel[d]}; t${d}++) {
      const p${d} = start${d} + t${d} * ${dilations[d]};
      if (p${d} >= 0 && p${d} < ${input[d]}) { ${code} }
    }`;
  return starts.join("\n") + code;
}

export const windowKernels = [
  gpuKernel(conv, "direct", ([x, w, bias, residual], _, attrs) => {
    const { window, channelsIn, channelsOut, groups } = convGeometry("conv", x, w, attrs);
    const [plane, inputPlane, taps] = [window.output, window.input, window.kernel].map(sizeOf);
    const perGroup = channelsIn / groups;
    return `
      const i = this.thread.x;
      const channel = ${remainder(quotient("i", plane), channelsOut)};
      const first = ${quotient("i", plane * channelsOut)} * ${channelsIn}
        + ${quotient("channel", channelsOut / groups)} * ${perGroup};
      let sum = 0;
      ${overTaps(
        window,
        `for (let c = 0; c < ${perGroup}; c++) {
          sum += x[(first + c) * ${inputPlane} + at] * w[(channel * ${perGroup} + c) * ${taps} + tap];
        }`,
      )}
      const v = sum${bias ? " + bias[channel]" : ""}${residual ? " + residual[i]" : ""};
      return ${activationCode(attrs.activation, "v")};`;
  }),
  gpuKernel(maxPool, "window", ([x], _, attrs) => {
    const window = poolWindow("maxPool", x, attrs);
    // Where a window may lie on padding alone, its maximum is no number that this code could write.
    if (window.kernel.some((k, d) => window.padBegin[d] >= k || window.padEnd[d] >= k)) return undefined;
    return `
      const i = this.thread.x;
      const plane = ${quotient("i", sizeOf(window.output))} * ${sizeOf(window.input)};
      let best = 0;
      let found = 0;
      ${overTaps(
        window,
        `const v = x[plane + at];
        if (found === 0 || v > best || v !== v) { best = v; }
        found = 1;`,
      )}
      return best;`;
  }),
  gpuKernel(averagePool, "window", ([x], _, attrs) => {
    const window = poolWindow("averagePool", x, attrs);
    // Padding that counts is not the same as what rounding up adds.
    if (attrs.countIncludePad && attrs.ceilMode) return undefined;
    const count = attrs.countIncludePad ? `${sizeOf(window.kernel)}` : "found";
    return `
      const i = this.thread.x;
      const plane = ${quotient("i", sizeOf(window.output))} * ${sizeOf(window.input)};
      let sum = 0;
      let found = 0;
      ${overTaps(window, "sum += x[plane + at]; found += 1;")}
      return sum / ${count};`;
  }),
  gpuKernel(globalAveragePool, "plane", ([x]) => {
    const size = sizeOf(x.shape.slice(2));
    return `
      const plane = this.thread.x * ${size};
      let sum = 0;
      for (let p = 0; p < ${size}; p++) { sum += x[plane + p]; }
      return sum / ${size};`;
  }),
  gpuKernel(globalMaxPool, "plane", ([x]) => {
    const size = sizeOf(x.shape.slice(2));
    return `
      const plane = this.thread.x * ${size};
      let best = x[plane];
      for (let p = 0; p < ${size}; p++) {
        const v = x[plane + p];
        if (v > best || v !== v) { best = v; }
      }
      return best;`;
  }),
];
