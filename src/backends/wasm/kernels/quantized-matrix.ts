/** The kernels of a matrix in blocks or 16-bit floats, and how it is laid out: one layout for products and for gathers. */
import type { BlockType } from "../../../tensor/blocks/types.ts";
import type { Prepack } from "../../backend.ts";
import type { StepEmitter } from "../step.ts";
import { blockBytes, emitQuantize } from "./quantized-activations.ts";
import { activationLayout, type DotFunction, emitDot } from "./quantized-dot.ts";
import {
  emitFloatDot,
  emitFloatPanel,
  isFloatType,
  packedFloatBytes,
  packFloats,
  unpackFloats,
} from "./quantized-floats.ts";
import { GROUP } from "./quantized-format.ts";
import { formats, packBlocks, packedBytes, storedBytes, unpackBlocks } from "./quantized-formats.ts";
import { emitPanel, type PanelFunction } from "./quantized-panel.ts";

export interface Matrix {
  readonly n: number;
  readonly k: number;
  readonly prepack: Prepack;
  /** Bytes of eight rows. */
  readonly groupBytes: number;
  /** Bytes of a row of activations, as `dot` wants them. */
  readonly activationBytes: number;
  /** From how many rows of activations on the product of floats is faster. */
  readonly manyRows: number;
  /** Prepares activations; undefined where they are taken as they are. */
  activations(e: StepEmitter): ReturnType<typeof emitQuantize> | undefined;
  dot(e: StepEmitter, rows: number): DotFunction;
  panel(e: StepEmitter): PanelFunction;
}

/** Undefined for types that have no kernels. */
export function matrixOf(type: BlockType, n: number, k: number, relaxed: boolean): Matrix | undefined {
  if (isFloatType(type)) {
    const common = { type, k, relaxed };
    return {
      n,
      k,
      prepack: {
        input: 1,
        key: `rows${GROUP}/${type}/${n}x${k}`,
        type: { dtype: "u8", shape: [packedFloatBytes(n, k)] },
        granule: { source: GROUP * k * 2, packed: packedFloatBytes(GROUP, k) },
        pack: (source, packed) => packFloats(type, k, source as Uint8Array, packed as Uint8Array),
        unpack: (packed) => unpackFloats(n, k, packed as Uint8Array),
      },
      groupBytes: packedFloatBytes(GROUP, k),
      activationBytes: 4 * k,
      manyRows: 8,
      activations: () => undefined,
      dot(e, rows) {
        const name = `floatDot/${type}/${k}/${rows}`;
        return e.shared(name, (m) => emitFloatDot(m, { ...common, name, rows }));
      },
      panel(e) {
        const name = `floatPanel/${type}/${k}`;
        return e.shared(name, (m) => emitFloatPanel(m, { ...common, name }));
      },
    };
  }
  const format = formats[type];
  if (!format) return undefined;
  const layout = activationLayout(format, relaxed);
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
    activationBytes: (k / 32) * blockBytes(layout.words !== undefined),
    manyRows: layout.words ? 16 : 48,
    activations(e) {
      const name = `quantizeActivations/${JSON.stringify(layout)}`;
      return e.shared(name, (m) => emitQuantize(m, name, layout));
    },
    dot(e, rows) {
      const name = `quantizedDot/${type}/${k}/${rows}`;
      return e.shared(name, (m) => emitDot(m, { name, format, k, rows, relaxed, table: table(e) }));
    },
    panel(e) {
      const name = `dequantizePanel/${type}/${k}`;
      return e.shared(name, (m) => emitPanel(m, { name, format, k, relaxed, table: table(e) }));
    },
  };
}
