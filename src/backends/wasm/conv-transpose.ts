/**
 * Transposed convolution: a product S[channel of y and tap, element of x] = W' X with x packed once for each image, a
 * few channels of y at a time, whose sums are then added up where they belong (kernels/conv-scatter.ts).
 */
import { convTranspose, convTransposeGeometry } from "../../ops/conv-transpose.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { i32 } from "./assembler.ts";
import { productFunction } from "./conv-gemm.ts";
import { type ConvForm, type ConvShape, formKey, isF32, volumeOf, workOf } from "./conv-shape.ts";
import { activationVector } from "./kernels/activations.ts";
import { emitFinishRows } from "./kernels/conv-finish.ts";
import { addRows, joinPhases } from "./kernels/conv-scatter.ts";
import { type Axis, clearStage, extentOf } from "./kernels/conv-stage.ts";
import { SCRATCH_BYTES, tileRowsOf } from "./kernels/gemm.ts";
import { emitPackB, packedLength } from "./kernels/gemm-pack.ts";
import { packRows, tileGroup } from "./kernels/gemm-prepacked.ts";
import { splat } from "./kernels/math.ts";
import { dealRows } from "./kernels/row-deal.ts";
import { alignUp } from "./memory.ts";
import {
  addressOf,
  productWork,
  type StepEmitter,
  type WasmKernels,
  type WasmStep,
  type WasmTarget,
  wasmKernel,
} from "./step.ts";

/** Taps that are added one after the other by straight code. */
const maxTaps = 128;
/** Rows of a product: enough to use x again while it is in the cache. */
const productRows = 36;

/**
 * The convolution that is transposed reads y and gives x: an axis' `input` is y's, its `output` x's, `channelsIn` are
 * y's and `channelsOut` x's.
 */
interface Layout {
  readonly s: ConvShape;
  readonly taps: number;
  /** Elements of a channel of x, and of y. */
  readonly size: number;
  readonly resultSize: number;
  /** Channels of y in one product. */
  readonly chunk: number;
  /** The plane of sums: what taps reach, or y if that is more. */
  readonly depths: number;
  readonly rows: number;
  readonly run: number;
  readonly rowBytes: number;
}

const reach = (a: Axis): number => Math.max((a.output - 1) * a.stride + extentOf(a), a.pad + a.input);

function layoutOf(s: ConvShape): Layout {
  const { depth, rows, columns } = s;
  const taps = depth.kernel * rows.kernel * columns.kernel;
  let chunk = Math.max(1, Math.floor(productRows / taps));
  while (s.channelsIn % chunk !== 0) chunk--;
  const run = 4 * Math.ceil(reach(columns) / columns.stride / 4);
  return {
    s,
    taps,
    size: depth.output * rows.output * columns.output,
    resultSize: depth.input * rows.input * columns.input,
    chunk,
    depths: reach(depth),
    rows: reach(rows),
    run,
    rowBytes: 4 * run * columns.stride,
  };
}

function memoryOf(l: Layout) {
  const plane = alignUp(l.depths * l.rows * l.rowBytes + 64);
  const sizes = {
    scratch: SCRATCH_BYTES,
    x: alignUp(4 * packedLength(l.s.channelsOut, l.size)),
    sums: alignUp(4 * l.chunk * l.taps * l.size + 64),
    plane,
    joined: l.s.columns.stride === 1 ? 0 : plane,
  };
  return { sizes, bytes: Object.values(sizes).reduce((a, b) => a + b, 0) };
}

function transposedStep(target: WasmTarget, l: Layout, form: ConvForm): WasmStep {
  const { channelsIn, channelsOut: k, groups } = l.s;
  const tileRows = tileRowsOf(target.features.fma);
  const rows = l.chunk * l.taps;
  const memory = memoryOf(l);
  return {
    workspaceBytes: memory.bytes * target.threads,
    work: productWork(workOf(l.s)),
    prepack: [
      {
        input: 1,
        key: `transposed/${tileRows}/${groups}/${l.chunk}`,
        type: { dtype: "f32", shape: [groups * channelsIn * l.taps * k] },
        pack(source, packed) {
          const [w, out] = [source as Float32Array, packed as Float32Array];
          const width = channelsIn * l.taps;
          for (let g = 0; g < groups; g++)
            for (let first = 0; first < width; first += rows)
              packRows({ groups: 1, rows, k, tileRows }, (at, row, height) => {
                let to = (g * width + first) * k + at;
                for (let c = 0; c < k; c++)
                  for (let i = 0; i < height; i++) out[to++] = w[(g * k + c) * width + first + row + i];
              });
        },
      },
    ],
    emit: (e) => emitTransposed(e, l, form, memory),
  };
}

function emitTransposed(e: StepEmitter, l: Layout, form: ConvForm, memory: ReturnType<typeof memoryOf>): void {
  const { f } = e;
  const [x, w, bias] = e.inputs;
  const [y] = e.outputs;
  const { s, taps, size, resultSize, chunk, rowBytes } = l;
  const { depth, rows, columns, channelsIn: outs, channelsOut: k } = s;
  const { sizes } = memory;
  const product = productFunction(e, { bias: false, residual: false });
  const pack = e.shared("packB/n", (m) => emitPackB(m, { name: "packB/n" }));
  const add = addRows(e, columns.output);
  const finishKey = `finish/${columns.input}/${rowBytes}${formKey(form)}`;
  const activation = form.activation && activationVector(form.activation).make;
  const finish = e.own(finishKey, (m) =>
    emitFinishRows(m, {
      name: finishKey,
      width: columns.input,
      rowBytes,
      bias: form.bias,
      residual: false,
      activation,
    }),
  );
  const deal = dealRows(chunk * taps, tileRowsOf(e.target.features.fma));

  const scratch = f.let(i32.add(addressOf(e.workspace, e.thread, memory.bytes), 0));
  const packed = f.let(i32.add(scratch, sizes.scratch));
  const sums = f.let(i32.add(packed, sizes.x));
  const plane = f.let(i32.add(sums, sizes.sums));
  const joined = f.let(i32.add(plane, sizes.plane));
  const planeBytes = l.rows * rowBytes;
  const chunks = outs / chunk;
  const { from, to } = e.share(chunks);
  const [image, part, o, z] = f.locals("i32", 4);
  f.forRange(image, 0, s.batch * s.groups, 1, () => {
    f.call(pack, { b: i32.add(i32.mul(image, 4 * k * size), x), ldb: 4 * size, k, n: size, out: packed });
    const group = f.let(i32.rem_u(image, s.groups));
    f.forRange(part, from, to, 1, () => {
      const firstOut = f.let(i32.add(i32.mul(group, outs), i32.mul(part, chunk)));
      f.call(product, {
        a: i32.add(i32.mul(firstOut, 4 * taps * k), w),
        b: packed,
        c: sums,
        ldc: 4 * size,
        columns: size,
        k,
        bias: 0,
        residual: 0,
        ldr: 0,
        scratch,
        ...deal,
        group: tileGroup(k, deal.height + 1, size),
      });
      f.forRange(o, 0, chunk, 1, () => {
        clearStage(e, plane, l.depths * planeBytes, splat(0));
        const own = f.let(i32.add(sums, i32.mul(o, 4 * taps * size)));
        tapPlaces(l).forEach((place, tap) => {
          f.call(add, {
            from: i32.add(own, 4 * tap * size),
            to: i32.add(plane, place),
            planes: depth.output,
            rows: rows.output,
            toRow: rows.stride * rowBytes,
            toPlane: depth.stride * planeBytes,
          });
        });
        if (columns.stride > 1)
          f.call(joinPhases(e, columns.stride, l.run), { from: plane, to: joined, rows: l.depths * l.rows });
        const channel = f.let(i32.add(i32.add(i32.mul(image, outs), i32.mul(part, chunk)), o));
        f.forRange(z, 0, depth.input, 1, () =>
          f.call(finish, {
            from: i32.add(
              i32.add(columns.stride > 1 ? joined : plane, rows.pad * rowBytes + 4 * columns.pad),
              i32.mul(i32.add(z, depth.pad), planeBytes),
            ),
            to: i32.add(i32.add(i32.mul(channel, 4 * resultSize), i32.mul(z, 4 * rows.input * columns.input)), y),
            residual: 0,
            bias: form.bias ? i32.add(i32.shl(i32.add(firstOut, o), 2), bias) : 0,
            rows: rows.input,
          }),
        );
      });
    });
  });
}

/** Where the first element of x adds to, by tap. */
function tapPlaces({ s: { depth, rows, columns }, run, rowBytes, rows: height }: Layout): number[] {
  const each = (a: Axis) => Array.from({ length: a.kernel }, (_, i) => i * a.dilation);
  return each(depth).flatMap((z) =>
    each(rows).flatMap((r) =>
      each(columns).map(
        (c) => (z * height + r) * rowBytes + 4 * ((c % columns.stride) * run + Math.floor(c / columns.stride)),
      ),
    ),
  );
}

export const convTransposeKernels: WasmKernels = (target) => [
  wasmKernel(convTranspose, "wasm/convTranspose", ([x, w, bias], [y], attrs) => {
    if (!w.constant || !isF32(x, w) || sizeOf(y.shape) === 0 || sizeOf(x.shape) === 0 || sizeOf(w.shape) === 0)
      return undefined;
    const g = convTransposeGeometry(x, w, attrs);
    const volume = volumeOf(g.window);
    if (!volume || sizeOf(g.window.kernel) > maxTaps) return undefined;
    const { batch, groups } = g;
    const channels = { channelsIn: g.channelsIn / groups, channelsOut: g.channelsOut / groups };
    const layout = layoutOf({ batch, groups, ...channels, ...volume });
    return transposedStep(target, layout, { bias: bias !== undefined, residual: false, activation: attrs.activation });
  }),
];
