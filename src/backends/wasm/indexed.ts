/**
 * Elements and slices by index: gatherElements and gatherNd read them, scatterElements and scatterNd write or reduce into a
 * copy of x. Gathers are divided among threads; scatters are not, as the last of two updates of one place wins.
 */
import { gatherElements } from "../../ops/gather-elements.ts";
import { gatherNd } from "../../ops/gather-nd.ts";
import type { ScatterAttrs } from "../../ops/scatter.ts";
import { scatterElements } from "../../ops/scatter-elements.ts";
import { scatterNd } from "../../ops/scatter-nd.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { normalizeAxis, sizeBetween, sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { f32, f32x4, i32, type Local, type ModuleBuilder, v128 } from "./assembler.ts";
import { loadIndex } from "./gather.ts";
import { copyBytes, copyElement, type ElementBytes } from "./kernels/vector-copy.ts";
import { addressOf, type Share, type StepEmitter, undivided, type WasmKernels, wasmKernel } from "./step.ts";

/** What is done with each place in x, a distance in bytes. */
type Visit = (place: Local<"i32">) => void;

/** Places that indices name, in order. */
interface Places {
  /** Bytes of what lies at one. */
  readonly bytes: number;
  /** Units that threads divide, and the places in one of them. */
  readonly units: number;
  readonly perUnit: number;
  each(e: StepEmitter, share: Share, visit: Visit): void;
}

/** One for each element of `indices`: x[.., indices[.., i, ..], ..]. */
function elementPlaces(x: TensorType, indices: TensorType, axis = 0): Places {
  const a = normalizeAxis("gatherElements", axis, x.shape.length);
  const bytes = bytesOf(x.dtype);
  const strides = stridesOf(x.shape).map((s) => s * bytes);
  const dims = indices.shape.map((size, d) => ({ size, stride: d === a ? 0 : strides[d] })).filter((d) => d.size > 1);
  const [{ size: units, stride }, ...inner] = dims.length ? dims : [{ size: 1, stride: 0 }];
  const perUnit = sizeOf(inner.map((d) => d.size));
  return {
    bytes,
    units,
    perUnit,
    each(e, share, visit) {
      const { f } = e;
      const wide = indices.dtype === "i64";
      const [entry, index, place] = f.locals("i32", 3);
      f.set(entry, addressOf(e.inputs[1], share.from, perUnit * bytesOf(indices.dtype)));
      /** Axes from `depth` on, `base` being where the ones before lead. */
      const walk = (depth: number, base: Local<"i32">): void => {
        if (depth === inner.length) {
          loadIndex(e, index, entry, x.shape[a], wide);
          f.set(place, i32.add(i32.mul(index, strides[a]), base));
          visit(place);
          f.increment(entry, bytesOf(indices.dtype));
          return;
        }
        const [i, at] = f.locals("i32", 2);
        f.set(at, base);
        f.forRange(i, 0, inner[depth].size, 1, () => {
          walk(depth + 1, at);
          if (inner[depth].stride) f.increment(at, inner[depth].stride);
        });
      };
      const [unit, base] = f.locals("i32", 2);
      f.forRange(unit, share.from, share.to, 1, () => {
        f.set(base, i32.mul(unit, stride));
        walk(0, base);
      });
    },
  };
}

/** One for each tuple, the last dimension of `indices`: slices of x. */
function tuplePlaces(x: TensorType, indices: TensorType, batchDims = 0): Places {
  const tuple = indices.shape.at(-1)!;
  const units = sizeBetween(indices.shape, 0, indices.shape.length - 1);
  const unit = bytesOf(x.dtype);
  const batches = sizeBetween(x.shape, 0, batchDims);
  const batchBytes = sizeBetween(x.shape, batchDims, x.shape.length) * unit;
  const strides = stridesOf(x.shape);
  return {
    bytes: sizeBetween(x.shape, batchDims + tuple, x.shape.length) * unit,
    units,
    perUnit: 1,
    each(e, share, visit) {
      const { f } = e;
      const step = bytesOf(indices.dtype);
      const [entry, index, place, i] = f.locals("i32", 4);
      f.set(entry, addressOf(e.inputs[1], share.from, tuple * step));
      f.forRange(i, share.from, share.to, 1, () => {
        f.set(place, batches === 1 ? 0 : i32.mul(i32.div_u(i, units / batches), batchBytes));
        for (let axis = batchDims; axis < batchDims + tuple; axis++) {
          loadIndex(e, index, entry, x.shape[axis], step === 8);
          f.set(place, i32.add(i32.mul(index, strides[axis] * unit), place));
          f.increment(entry, step);
        }
        visit(place);
      });
    },
  };
}

const isElement = (bytes: number): bytes is ElementBytes => bytes === 1 || bytes === 2 || bytes === 4 || bytes === 8;

function copy(e: StepEmitter, to: Local<"i32">, from: Local<"i32">, bytes: number): void {
  if (isElement(bytes)) copyElement(e.f, bytes, to, from);
  else {
    const slice = copyBytes(e);
    e.f.call(slice, { from, to, n: bytes });
  }
}

/** Whether there is something to do that kernels here can. */
const canMove = (x: TensorType, y: TensorType, { bytes }: Places): boolean =>
  x.dtype !== "string" && sizeOf(y.shape) > 0 && bytes > 0;

function gathered(places: Places) {
  const { bytes, units, perUnit } = places;
  return {
    emit(e: StepEmitter) {
      const { f } = e;
      const share = e.share(units);
      const [from, to] = f.locals("i32", 2);
      f.set(to, addressOf(e.outputs[0], share.from, perUnit * bytes));
      places.each(e, share, (place) => {
        f.set(from, i32.add(place, e.inputs[0]));
        copy(e, to, from, bytes);
        f.increment(to, bytes);
      });
    },
  };
}

const reductions = {
  add: [f32.add, f32x4.add],
  mul: [f32.mul, f32x4.mul],
  max: [f32.max, f32x4.max],
  min: [f32.min, f32x4.min],
} as const;

/** `n` floats joined to those that are there. */
const emitReduce = (m: ModuleBuilder, name: string, reduction: keyof typeof reductions) =>
  m.func({ name, params: { from: "i32", to: "i32", n: "i32" } }, (f, { from, to, n }) => {
    const [one, four] = reductions[reduction];
    const advance = (count: number): void => {
      f.increment(from, 4 * count);
      f.increment(to, 4 * count);
      f.increment(n, -count);
    };
    f.while(i32.ge_s(n, 4), () => {
      f.v128.store(to, four(v128.load(to), v128.load(from)));
      advance(4);
    });
    f.while(i32.gt_s(n, 0), () => {
      f.f32.store(to, one(f32.load(to), f32.load(from)));
      advance(1);
    });
  });

function scattered(x: TensorType, places: Places, { reduction = "none" }: ScatterAttrs) {
  const { bytes, units } = places;
  if (reduction !== "none" && x.dtype !== "f32") return undefined;
  return {
    emit(e: StepEmitter) {
      const { f } = e;
      const [from, to] = f.locals("i32", 2);
      f.memory.copy(e.outputs[0], e.inputs[0], sizeOf(x.shape) * bytesOf(x.dtype));
      f.set(from, e.inputs[2]);
      places.each(undivided(e), { from: 0, to: units }, (place) => {
        f.set(to, i32.add(place, e.outputs[0]));
        if (reduction === "none") copy(e, to, from, bytes);
        else {
          const name = `scatter/${reduction}`;
          f.call(
            e.shared(name, (m) => emitReduce(m, name, reduction)),
            { from, to, n: bytes / 4 },
          );
        }
        f.increment(from, bytes);
      });
    },
  };
}

export const indexedKernels: WasmKernels = () => [
  wasmKernel(gatherElements, "wasm/gatherElements", ([x, indices], [y], { axis }) => {
    const places = elementPlaces(x, indices, axis);
    return canMove(x, y, places) ? gathered(places) : undefined;
  }),
  wasmKernel(gatherNd, "wasm/gatherNd", ([x, indices], [y], { batchDims }) => {
    const places = tuplePlaces(x, indices, batchDims);
    return canMove(x, y, places) ? gathered(places) : undefined;
  }),
  wasmKernel(scatterElements, "wasm/scatterElements", ([x, indices], [y], attrs) => {
    const places = elementPlaces(x, indices, attrs.axis);
    return canMove(x, y, places) && sizeOf(indices.shape) > 0 ? scattered(x, places, attrs) : undefined;
  }),
  wasmKernel(scatterNd, "wasm/scatterNd", ([x, indices], [y], attrs) => {
    const places = tuplePlaces(x, indices);
    return canMove(x, y, places) && sizeOf(indices.shape) > 0 ? scattered(x, places, attrs) : undefined;
  }),
];
