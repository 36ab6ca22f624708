/** Layout operators of fewer models: see movement.ts. */
import { depthToSpace, depthToSpaceWalk, spaceToDepth, spaceToDepthWalk } from "../../ops/depth-to-space.ts";
import { pad, readPads } from "../../ops/pad.ts";
import { tile, tileWalk } from "../../ops/tile.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { emitFill } from "./kernels/vector-copy.ts";
import { copyStep, emitCopy, widthOf } from "./movement.ts";
import { type StepEmitter, undivided, type WasmKernels, wasmKernel } from "./step.ts";

/** What the walk does not reach is zero, or the value at input 2. */
function padStep(x: TensorType, y: TensorType, begin: readonly number[], end: readonly number[], value: boolean) {
  const width = widthOf(x);
  const [from, to] = [stridesOf(x.shape), stridesOf(y.shape)];
  const base = (strides: readonly number[], skip: readonly number[]): number =>
    strides.reduce((at, s, a) => at + s * Math.max(0, skip[a]), 0);
  const cropped = begin.map((b) => -b);
  const shape = x.shape.map((d, a) => Math.max(0, d + Math.min(0, begin[a]) + Math.min(0, end[a])));
  const walk = {
    shape,
    from: { strides: from, base: base(from, cropped) },
    to: { strides: to, base: base(to, begin) },
  };
  return {
    emit(e: StepEmitter) {
      const [at, , valueAt] = e.inputs;
      const n = sizeOf(y.shape) * width;
      // Two passes over one tensor can't be divided without a meeting in between.
      if (value) {
        const name = `copy/fill${width}`;
        e.f.call(
          e.shared(name, (m) => emitFill(m, name, width)),
          { from: valueAt, to: e.outputs[0], n },
        );
      } else e.f.memory.fill(e.outputs[0], 0, n);
      emitCopy(undivided(e), walk, width, at, e.outputs[0]);
    },
  };
}

export const otherMovementKernels: WasmKernels = () => [
  wasmKernel(tile, "wasm/tile/walk", ([x, repeats]) => copyStep(tileWalk(x.shape, repeats.constant!), x)),
  wasmKernel(depthToSpace, "wasm/depthToSpace/walk", ([x], _, attrs) => copyStep(depthToSpaceWalk(x.shape, attrs), x)),
  wasmKernel(spaceToDepth, "wasm/spaceToDepth/walk", ([x], _, attrs) => copyStep(spaceToDepthWalk(x.shape, attrs), x)),
  wasmKernel(pad, "wasm/pad/constant", ([x, pads, value, axes], [y], { mode = "constant" }) => {
    const { begin, end } = readPads(x, pads.constant!, axes?.constant);
    return mode === "constant" ? padStep(x, y, begin, end, value !== undefined) : undefined;
  }),
];
