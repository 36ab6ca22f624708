/** The kernels of a matrix of 16-bit floats. */
import type { TypedArray } from "../../../tensor/dtype.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import type { Fma } from "./gemm-tile.ts";
import {
  emitFloatDot,
  emitFloatPanel,
  emitFloatRow,
  type FloatMatrix,
  packFloats,
  panelHalves,
  TAIL_BYTES,
  unpackFloats,
} from "./quantized-floats.ts";
import type { StoredMatrix } from "./stored-panels.ts";

/** @param input which input it is; a HalfWeight, or the bytes of one where `bytes` is set */
export function floatMatrix(matrix: FloatMatrix, fma: Fma, input: number, bytes = false): StoredMatrix {
  const { type, n, k, transposed } = matrix;
  const halves = (source: TypedArray): Uint16Array => {
    if (source instanceof Uint16Array) return source;
    const { buffer, byteOffset, byteLength } = source.byteOffset % 2 === 0 ? source : source.slice();
    return new Uint16Array(buffer, byteOffset, byteLength / 2);
  };
  return {
    n,
    k,
    prepack: {
      input,
      key: `halves/${type}/${n}x${k}/${transposed ? "t" : "n"}`,
      type: { dtype: "u16", shape: [Math.ceil(n / PANEL_COLUMNS) * panelHalves(k)] },
      stored: !bytes,
      granule: transposed ? { source: PANEL_COLUMNS * k * (bytes ? 2 : 1), packed: panelHalves(k) } : undefined,
      pack: (source, packed) => packFloats(matrix, halves(source), packed as Uint16Array),
      unpack(packed) {
        const bits = unpackFloats(matrix, packed as Uint16Array);
        return bytes ? new Uint8Array(bits.buffer) : bits;
      },
    },
    groupBytes: 2 * panelHalves(k),
    activationBytes: 4 * k,
    manyRows: 8,
    pairs: 1,
    row(e) {
      const name = `floatRow/${type}/${k}`;
      return e.shared(name, (m) => emitFloatRow(m, { name, type, k, fma }));
    },
    dot(e, rows) {
      const name = `floatDot/${type}/${k}/${rows}`;
      return e.shared(name, (m) => emitFloatDot(m, { name, type, k, fma, rows }));
    },
    panels(e) {
      const name = `floatPanel/${type}`;
      const widen = e.shared(name, (m) => emitFloatPanel(m, { name, type }));
      return { name: type, unit: 1, bytes: 2 * PANEL_COLUMNS, tail: TAIL_BYTES, widen };
    },
  };
}
