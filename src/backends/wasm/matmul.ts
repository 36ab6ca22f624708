/**
 * matmul and gemm on the packed product of kernels/gemm.ts.
 *
 *   packed   B is constant: its panels are made at compile. Batches of A are more rows.
 *   dynamic  B is made by the model (attention): each thread packs the columns or the batches that it works on. An A that
 *            is scaled is copied first, matrix by matrix.
 *
 * Up to 128 rows times such a B that is not transposed or scaled: matmul-stream.ts.
 */
import type { Activation } from "../../ops/activation.ts";
import { type GemmAttrs, gemm } from "../../ops/gemm.ts";
import { type MatmulAttrs, type MatmulGeometry, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput, Prepack } from "../backend.ts";
import { type Func, type FunctionBuilder, f32, i32, type Operand } from "./assembler.ts";
import { activationKey, hasActivation, productActivation } from "./kernels/activations.ts";
import { BLOCK_ROWS, emitGemm, type GemmFunction, gemmWorkspaceBytes } from "./kernels/gemm.ts";
import { emitPackB, PANEL_COLUMNS, packB, packedLength } from "./kernels/gemm-pack.ts";
import type { StoredPanels } from "./kernels/stored-panels.ts";
import { alignUp } from "./memory.ts";
import {
  addressOf,
  type Parts,
  partsOf,
  productWork,
  type StepEmitter,
  type WasmKernels,
  type WasmStep,
  type WasmTarget,
  wasmKernel,
} from "./step.ts";

/** What the product function of a step is specialised for. */
export interface Form {
  readonly bias: "none" | "row" | "column";
  readonly residual: boolean;
  readonly activation?: Activation;
  /** A lies as [k, m]. */
  readonly transposedA?: boolean;
}

/** The product function for this form, made once. `oneRow`: for m = 1 only. */
export function gemmFunction(
  e: StepEmitter,
  { bias, residual, activation, transposedA = false }: Form,
  oneRow = false,
  stored?: StoredPanels,
): GemmFunction {
  const kind = oneRow ? "1" : stored ? `/${stored.name}` : "";
  const name = `gemm${kind}${transposedA ? "T" : ""}/${bias}${residual ? "+residual" : ""}/${activationKey(activation)}`;
  const then = productActivation(e, activation);
  return e.shared(name, (m) =>
    emitGemm(m, { name, fma: e.target.features.fma, oneRow, stored, transposedA, bias, residual, ...then }),
  );
}

/** Constant B in panels, with `alpha` folded in. */
export function prepackB(
  input: number,
  g: Pick<MatmulGeometry, "k" | "n"> & { transposed: boolean; alpha?: number },
): Prepack {
  const { k, n, transposed, alpha = 1 } = g;
  return {
    input,
    key: `panels/${transposed ? "t" : "n"}/${alpha}`,
    type: { dtype: "f32", shape: [packedLength(k, n)] },
    moves: alpha === 1,
    // Panels are of some columns, one after the other.
    granule: transposed ? { source: PANEL_COLUMNS * k, packed: PANEL_COLUMNS * k } : undefined,
    pack(source, packed) {
      const columns = k === 0 ? n : source.length / k;
      packB(source as Float32Array, packed as Float32Array, { k, n: columns, transposed });
      if (alpha !== 1) for (let i = 0; i < packed.length; i++) (packed as Float32Array)[i] *= alpha;
    },
  };
}

/** Rows one thread takes at a time, so that tiles stay whole. */
const rowGranule = 4;
/** With fewer rows than this for each thread, threads split the columns. */
const fewRows = 24;
/** Columns that a part takes at least: all of A is packed for each. A single row needs no packing. */
const partColumns = (m: number): number => (m === 1 ? 128 : 768);

/** How often a product of so many rows reads B. */
const blocksOf = (rows: number): number => Math.ceil(rows / BLOCK_ROWS);

/**
 * A product's parts. By rows, each part reads all of B, and steps that follow find their rows where they were made; by
 * columns, each packs all of A. Rows, then, unless B is large and would be read more often than in blocks of rows.
 */
function productParts(m: number, n: number, target: WasmTarget): { byRows: boolean; parts: Parts } {
  const { threads } = target;
  const blocks = threads * blocksOf(m / threads);
  const byRows = m >= fewRows * threads && (2 * m >= n || blocks <= blocksOf(m));
  return { byRows, parts: byRows ? blocks : partsOf(n, partColumns(m), target) };
}

interface Operands {
  readonly a: Operand<"i32">;
  readonly b: Operand<"i32">;
  readonly c: Operand<"i32">;
  readonly bias: number;
  readonly residual: Operand<"i32">;
}

/** One m x n x k product with packed B, divided among the threads. @param stored B is in fewer bits */
export function emitProduct(
  e: StepEmitter,
  form: Form,
  { m, n, k }: { m: number; n: number; k: number },
  at: Operands,
  stored?: StoredPanels,
): void {
  const fn = gemmFunction(e, form, m === 1 && !stored, stored);
  const [lda, rowBytes] = form.transposedA ? [4 * m, 4] : [4 * k, 4 * k];
  const ldc = 4 * n;
  const { unit, bytes, tail = 0 } = stored ?? { unit: 1, bytes: 4 * PANEL_COLUMNS };
  const workspace = addressOf(e.workspace, e.thread, gemmWorkspaceBytes(m, k, stored !== undefined));
  const { byRows, parts } = productParts(m, n, e.target);
  const { from, to } = byRows ? e.share(m, rowGranule, parts) : e.share(n, PANEL_COLUMNS, parts);
  const count = typeof from === "number" ? (to as number) - from : i32.sub(to, from);
  const rowOffset = byRows ? from : 0;
  const columnOffset = byRows ? 0 : from;
  const move = (base: Operand<"i32">, rowBytes: number, columnBytes: number) =>
    addressOf(addressOf(base, rowOffset, rowBytes), columnOffset, columnBytes);
  const run = () =>
    e.f.call(fn, {
      a: move(at.a, rowBytes, 0),
      lda,
      b: move(at.b, 0, ((k / unit) * bytes + tail) / PANEL_COLUMNS),
      c: move(at.c, ldc, 4),
      ldc,
      m: byRows ? count : m,
      n: byRows ? n : count,
      k,
      bias: form.bias === "column" ? move(at.bias, 0, 4) : form.bias === "row" ? move(at.bias, 4, 0) : 0,
      residual: form.residual ? move(at.residual, ldc, 4) : 0,
      ldr: ldc,
      workspace,
    });
  if (typeof count === "number") run();
  else e.f.if(i32.gt_s(count, 0), run);
}

function packedStep(target: WasmTarget, form: Form, g: MatmulGeometry & { rows: number }, prepack: Prepack): WasmStep {
  const size = { m: g.rows, n: g.n, k: g.k };
  return {
    workspaceBytes: gemmWorkspaceBytes(g.rows, g.k) * target.threads,
    work: productWork(g.rows * g.n * g.k, g.rows === 1),
    alike: true,
    prepack: [prepack],
    emit(e) {
      const [a, b, bias, residual] = e.inputs;
      emitProduct(e, form, size, { a, b, c: e.outputs[0], bias, residual });
    },
  };
}

/** How the operands of a product lie. */
interface Layout {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly alpha: number;
}

/** B is made at run time. Batches are divided among the threads, or the columns where there is one batch. */
function dynamicStep(target: WasmTarget, form: Form, g: MatmulGeometry, layout: Layout): WasmStep {
  const { m, n, k } = g;
  const { transposeB: transposed } = layout;
  const batches = sizeOf(g.batch);
  const copies = layout.alpha !== 1;
  const transposedA = layout.transposeA && !copies;
  const packedBytes = alignUp(4 * packedLength(k, n));
  const productBytes = gemmWorkspaceBytes(m, k);
  const own = packedBytes + productBytes + (copies ? alignUp(4 * m * k) : 0);
  return {
    workspaceBytes: own * target.threads,
    work: productWork(batches * m * n * k, m === 1),
    alike: true,
    emit(e) {
      const { f } = e;
      const [a, b, bias, residual] = e.inputs;
      const [c] = e.outputs;
      const fn = gemmFunction(e, { ...form, transposedA }, m === 1);
      const packName = `packB/${transposed ? "t" : "n"}`;
      const pack = e.shared(packName, (module) => emitPackB(module, { name: packName, transposed }));
      const packed = addressOf(e.workspace, e.thread, own);
      const workspace = addressOf(packed, 1, packedBytes);
      const copy = addressOf(workspace, 1, productBytes);
      const product = (batch: Operand<"i32">, from: Operand<"i32">, count: Operand<"i32">) => {
        const bAt = addressOf(
          addressOf(b, matrixOf(f, batch, g.batch, g.bBatch), 4 * k * n),
          from,
          transposed ? 4 * k : 4,
        );
        const aAt = addressOf(a, matrixOf(f, batch, g.batch, g.aBatch), 4 * m * k);
        if (copies) f.call(copyFunction(e, layout), { from: aAt, m, k, to: copy });
        f.call(pack, { b: bAt, ldb: 4 * (transposed ? k : n), k, n: count, out: packed });
        f.call(fn, {
          a: copies ? copy : aAt,
          lda: transposedA ? 4 * m : 4 * k,
          b: packed,
          c: addressOf(addressOf(c, batch, 4 * m * n), from, 4),
          ldc: 4 * n,
          m,
          n: count,
          k,
          bias: form.bias === "column" ? addressOf(bias, from, 4) : bias,
          residual: form.residual ? addressOf(addressOf(residual, batch, 4 * m * n), from, 4) : 0,
          ldr: 4 * n,
          workspace,
        });
      };
      forShares(e, batches, n, product);
    },
  };
}

/** Calls `product` for a batch and some of its columns: one batch is divided by columns, several are dealt out. */
export function forShares(
  e: StepEmitter,
  batches: number,
  n: number,
  product: (batch: Operand<"i32">, from: Operand<"i32">, count: Operand<"i32">) => void,
): void {
  const { f } = e;
  if (batches === 1) {
    const { from, to } = e.share(n, PANEL_COLUMNS);
    if (typeof from === "number") product(0, from, (to as number) - from);
    else f.if(i32.lt_s(from, to), () => product(0, from, i32.sub(to, from)));
    return;
  }
  const { from, to } = e.share(batches, 1, partsOf(batches, 1, e.target));
  const batch = f.local("i32");
  f.forRange(batch, from, to, 1, () => product(batch, 0, n));
}

/** Matrices from one batch to the next if that is the same everywhere: 1 for dense batches, 0 for a repeated matrix. */
function uniformStep(batch: readonly number[], strides: readonly number[]): number | undefined {
  if (strides.every((s, i) => s === 0 || batch[i] === 1)) return 0;
  let dense = 1;
  for (let i = batch.length - 1; i >= 0; i--) {
    if (batch[i] !== 1 && strides[i] !== dense) return undefined;
    dense *= batch[i];
  }
  return 1;
}

/** Which matrix of an operand a batch takes. */
export function matrixOf(
  f: FunctionBuilder,
  batch: Operand<"i32">,
  dims: readonly number[],
  strides: readonly number[],
): Operand<"i32"> {
  if (typeof batch === "number") return 0;
  const step = uniformStep(dims, strides);
  if (step !== undefined) return step === 0 ? 0 : batch;
  const rest = f.let(batch);
  const matrix = f.let(i32.const(0));
  for (let i = dims.length - 1; i >= 0; i--) {
    f.set(matrix, i32.add(matrix, i32.mul(i32.rem_u(rest, dims[i]), strides[i])));
    f.set(rest, i32.div_u(rest, dims[i]));
  }
  return matrix;
}

const copyParams = { from: "i32", m: "i32", k: "i32", to: "i32" } as const;

/** Copies A, which lies as [k, m] where it is transposed, to [m, k], scaled. */
function copyFunction(e: StepEmitter, { transposeA, alpha }: Layout): Func<typeof copyParams, undefined> {
  const name = `matmul/copyA/${transposeA ? "t" : "n"}/${alpha}`;
  return e.shared(name, (module) =>
    module.func({ name, params: copyParams }, (f, { from, m, k, to }) => {
      const [row, at] = f.locals("i32", 2);
      const step = f.let(transposeA ? i32.shl(m, 2) : i32.const(4));
      const end = f.let(i32.shl(k, 2));
      f.forRange(row, 0, m, 1, () => {
        f.set(at, transposeA ? i32.add(from, i32.shl(row, 2)) : i32.add(from, i32.mul(row, end)));
        const last = f.let(i32.add(to, end));
        f.while(i32.lt_u(to, last), () => {
          f.f32.store(to, f32.mul(f32.load(at), alpha));
          f.increment(to, 4);
          f.increment(at, step);
        });
      });
    }),
  );
}

export const isF32 = (...types: (TensorType | undefined)[]): boolean => types.every((t) => !t || t.dtype === "f32");

function planProduct(
  target: WasmTarget,
  [a, b, , residual]: readonly KernelInput[],
  attrs: MatmulAttrs,
  bias: Form["bias"],
  hasResidual = residual !== undefined,
): WasmStep | undefined {
  const { alpha = 1, transposeA = false, transposeB = false, activation } = attrs;
  const g = matmulGeometry("matmul", a, b, attrs);
  if (!isF32(a, b) || !hasActivation(activation) || g.m * g.n * g.k === 0 || sizeOf(g.batch) === 0) return undefined;
  const form: Form = { bias, residual: hasResidual, activation };
  const flips = transposeA && a.shape.length > 1 && Math.min(g.m, g.k) > 1;
  const transposed = transposeB && b.shape.length > 1;
  const rows = g.m * sizeOf(g.batch);
  // A broadcast over batches would have to be repeated.
  const isWhole = sizeOf(b.shape) === g.k * g.n && sizeOf(a.shape) === rows * g.k && (bias !== "row" || rows === g.m);
  // Rows of matrices that are transposed one by one do not follow each other.
  if (b.constant && isWhole && !(flips && rows > g.m))
    return packedStep(
      target,
      { ...form, transposedA: flips },
      { ...g, rows },
      prepackB(1, { k: g.k, n: g.n, transposed, alpha }),
    );
  return dynamicStep(target, form, g, { transposeA: flips, transposeB: transposed, alpha });
}

/** Where a gemm's C lies relative to the product, if one of the forms covers it. */
function gemmBias(bias: TensorType | undefined, m: number, n: number): Form["bias"] | "residual" | undefined {
  if (!bias) return "none";
  const [rows, columns] = [...Array<number>(2 - bias.shape.length).fill(1), ...bias.shape];
  if (rows === 1 && columns === n) return "column";
  if (rows === m && columns === 1) return "row";
  return rows === m && columns === n ? "residual" : undefined;
}

export const matmulKernels: WasmKernels = (target) => [
  wasmKernel(matmul, "wasm/matmul", (inputs, _, attrs) =>
    planProduct(target, inputs, attrs, inputs[2] ? "column" : "none"),
  ),
  wasmKernel(gemm, "wasm/gemm", (inputs, [y], attrs: GemmAttrs) => {
    const [a, b, c, residual] = inputs;
    const form = gemmBias(c, y.shape[0], y.shape[1]);
    if (form === undefined || (c && (attrs.beta ?? 1) !== 1) || (form === "residual" && residual)) return undefined;
    if (form !== "residual") return planProduct(target, inputs, attrs, form);
    const step = planProduct(target, [a, b], attrs, "none", true);
    // C is added as a residual: it stands at input 2 instead of 3.
    return step && { ...step, emit: (e) => step.emit({ ...e, inputs: [e.inputs[0], e.inputs[1], 0, e.inputs[2]] }) };
  }),
];
