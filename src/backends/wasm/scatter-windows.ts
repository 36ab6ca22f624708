/**
 * What puts elements back where windows took them from.
 * - col2im: for each tap, rows of windows are added to rows of the image; planes are divided among threads
 * - maxUnpool: each element by its index. One thread: an index may lie in any plane
 */
import { col2im } from "../../ops/col2im.ts";
import { maxUnpool, pooledShape } from "../../ops/max-unpool.ts";
import { resolveWindow } from "../../ops/window.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { sameShape, sizeOf } from "../../tensor/shape.ts";
import { type FunctionBuilder, i32, type Local, select } from "./assembler.ts";
import { isF32, volumeOf } from "./conv-shape.ts";
import type { Axis } from "./kernels/conv-stage.ts";
import { emitStridedAdd } from "./kernels/strided-add.ts";
import { addressOf, type WasmKernels, wasmKernel } from "./step.ts";

/** A tap: where it is in the first window, and the windows in which it lies inside, from `first` to before `last`. */
interface Tap {
  readonly offset: Local<"i32">;
  readonly first: Local<"i32">;
  readonly last: Local<"i32">;
}

/** Goes through the taps along an axis. */
function eachTap(f: FunctionBuilder, a: Axis, visit: (tap: Tap) => void): void {
  const [tap, offset, first, last] = f.locals("i32", 4);
  f.forRange(tap, 0, a.kernel, 1, () => {
    f.set(offset, i32.sub(i32.mul(tap, a.dilation), a.pad));
    // Divisions round towards zero, which makes windows in front of the first one none.
    f.set(first, i32.div_s(i32.sub(a.stride - 1, offset), a.stride));
    f.set(first, select(first, i32.const(0), i32.gt_s(first, 0)));
    f.set(last, i32.div_s(i32.sub(a.input + a.stride - 1, offset), a.stride));
    f.set(last, select(last, i32.const(a.output), i32.lt_s(last, a.output)));
    visit({ offset, first, last });
  });
}

const col2imRows = wasmKernel(col2im, "wasm/col2im/rows", ([x, , block], [y], attrs) => {
  if (!isF32(x) || !block.constant || sizeOf(y.shape) === 0) return undefined;
  const image = y.shape.slice(2);
  const window = resolveWindow("col2im", image, toNumbers(block.constant), attrs);
  const volume = volumeOf(window);
  if (!volume) return undefined;
  const { depth, rows, columns } = volume;
  const planes = y.shape[0] * y.shape[1];
  const taps = sizeOf(window.kernel);
  const windows = sizeOf(window.output);
  const planeBytes = 4 * sizeOf(image);
  return {
    work: planes * taps * windows * 5,
    emit(e) {
      const { f } = e;
      const name = `add/strided${columns.stride}`;
      const add = e.shared(name, (m) => emitStridedAdd(m, name, columns.stride));
      const [plane, z, r] = f.locals("i32", 3);
      const { from, to } = e.share(planes);
      f.forRange(plane, from, to, 1, () => {
        const x = f.let(i32.add(i32.mul(plane, 4 * taps * windows), e.inputs[0]));
        const y = f.let(i32.add(i32.mul(plane, planeBytes), e.outputs[0]));
        f.memory.fill(y, 0, planeBytes);
        eachTap(f, depth, (dz) =>
          eachTap(f, rows, (dy) =>
            eachTap(f, columns, (dx) => {
              const n = f.let(i32.sub(dx.last, dx.first));
              const left = f.let(i32.add(i32.mul(dx.first, columns.stride), dx.offset));
              f.forRange(z, dz.first, dz.last, 1, () =>
                f.forRange(r, dy.first, dy.last, 1, () => {
                  const window = i32.add(i32.mul(i32.add(i32.mul(z, rows.output), r), columns.output), dx.first);
                  const slice = i32.mul(i32.add(i32.mul(z, depth.stride), dz.offset), rows.input);
                  const row = i32.add(i32.add(i32.mul(r, rows.stride), dy.offset), slice);
                  f.call(add, {
                    x: addressOf(x, window, 4),
                    y: addressOf(y, i32.add(i32.mul(row, columns.input), left), 4),
                    n,
                  });
                }),
              );
              f.increment(x, 4 * windows);
            }),
          ),
        );
      });
    },
  };
});

const maxUnpoolWords = wasmKernel(maxUnpool, "wasm/maxUnpool/words", ([x], [y], attrs) => {
  const pooled = pooledShape(x, attrs);
  // In a larger output rows begin elsewhere.
  if (!isF32(x) || !sameShape(pooled, y.shape)) return undefined;
  const [size, count] = [sizeOf(y.shape), sizeOf(x.shape)];
  return {
    emit(e) {
      const { f } = e;
      const [from, indices] = e.inputs;
      const [y] = e.outputs;
      const [i, index] = f.locals("i32", 2);
      f.memory.fill(y, 0, 4 * size);
      f.forRange(i, 0, count, 1, () => {
        const at = addressOf(indices, i, 8);
        f.set(index, i32.load(at));
        f.if(i32.or(i32.load(at, 4), i32.ge_u(index, size)), () => f.unreachable());
        f.i32.store(addressOf(y, index, 4), i32.load(addressOf(from, i, 4)));
      });
    },
  };
});

export const scatterWindowKernels: WasmKernels = () => [col2imRows, maxUnpoolWords];
