/** The kernels of a matrix in the blocks of GGUF files, and how it is laid out: one layout for products and for gathers. */
import type { BlockType } from "../../../tensor/blocks/types.ts";
import { isHalf } from "../../../tensor/dtype.ts";
import type { StepEmitter } from "../step.ts";
import { floatMatrix } from "./float-matrix.ts";
import type { Fma } from "./gemm-tile.ts";
import { emitQuantize, emitRound } from "./quantized-activations.ts";
import { emitDot, emitRow } from "./quantized-dot.ts";
import { GROUP } from "./quantized-format.ts";
import { formats, packBlocks, packedBytes, storedBytes, unpackBlocks } from "./quantized-formats.ts";
import { emitPanel } from "./quantized-panel.ts";
import { activationBytes, activationLayout, type DotAdd } from "./quantized-unit.ts";
import type { StoredMatrix } from "./stored-panels.ts";

/** What products are made of: see WasmFeatures. */
export interface Multiplication {
  readonly fma: Fma;
  readonly dotAdd: DotAdd;
}

/** Weights of a matrix from which they rather come from memory than from a cache. */
const manyWeights = 2 ** 18;

/** Whether `matrixOf` knows the type. */
export const hasKernels = (type: BlockType): boolean => isHalf(type) || formats[type] !== undefined;

/** For [n, k] weights at input 1. Undefined for types that have no kernels. */
export function matrixOf(type: BlockType, n: number, k: number, host: Multiplication): StoredMatrix | undefined {
  if (isHalf(type)) return floatMatrix({ type, n, k, transposed: true }, host.fma, 1, true);
  const format = formats[type];
  if (!format) return undefined;
  const { fma } = host;
  const relaxed = fma > 0;
  // Where blocks of 16 have minima, too, integers for each take longer than sums of both.
  const dotAdd = format.segments[0].blocks[0].minPairs ? undefined : host.dotAdd;
  const layout = activationLayout(format, relaxed, dotAdd);
  const name = `quantizeActivations/${JSON.stringify(layout)}`;
  const table = (e: StepEmitter): number => (format.table ? e.table(type, format.table) : 0);
  return {
    n,
    k,
    prepack: {
      input: 1,
      key: `rows${GROUP}/${type}/${n}x${k}`,
      type: { dtype: "u8", shape: [packedBytes(format, n, k)] },
      granule: { source: storedBytes(type, GROUP, k), packed: packedBytes(format, GROUP, k) },
      pack: (source, packed) => packBlocks(type, k, source as Uint8Array, packed as Uint8Array),
      unpack: (packed) => unpackBlocks(type, n, k, packed as Uint8Array),
    },
    groupBytes: packedBytes(format, GROUP, k),
    activationBytes: activationBytes({ format, k, fma, dotAdd }).row,
    // See the header of quantized-dot.ts.
    manyRows: layout.codes !== "bytes" && format.unit > 32 ? (relaxed ? 16 : 8) : Number.POSITIVE_INFINITY,
    activations: { name, emit: (e) => e.shared(name, (m) => emitQuantize(m, name, layout)) },
    // See there, too: codes of a byte are the least work for what they take from memory.
    pairs: format.unit > 32 || n * k < manyWeights ? 1 : format.largest === 255 ? 8 : 4,
    row(e) {
      const name = `quantizedRow/${type}/${k}`;
      return e.shared(name, (m) => emitRow(m, name, { format, k, fma, dotAdd, table: table(e) }));
    },
    dot(e, rows) {
      const name = `quantizedDot/${type}/${k}/${rows}`;
      return e.shared(name, (m) => emitDot(m, name, { format, k, rows, fma, dotAdd, table: table(e) }));
    },
    panels(e, exact) {
      const name = `dequantizePanel/${type}`;
      const widen = e.shared(name, (m) => emitPanel(m, { name, format, relaxed, table: table(e) }));
      const round = exact ? undefined : e.shared("roundActivations", (m) => emitRound(m, "roundActivations"));
      return { name: exact ? `${type}/exact` : type, unit: format.unit, bytes: format.bytes, widen, round };
    },
  };
}
