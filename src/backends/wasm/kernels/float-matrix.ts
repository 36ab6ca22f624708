/** The kernels of a matrix of 16-bit floats. */
import type { TypedArray } from "../../../tensor/dtype.ts";
import { i32 } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import {
  emitFloatDot,
  emitFloatPanel,
  type FloatMatrix,
  packedHalves,
  packFloats,
  unpackFloats,
} from "./quantized-floats.ts";
import type { StoredMatrix } from "./stored-panels.ts";

/** @param input which input it is; a HalfWeight, or the bytes of one where `bytes` is set */
export function floatMatrix(matrix: FloatMatrix, relaxed: boolean, input: number, bytes = false): StoredMatrix {
  const { type, n, k, transposed } = matrix;
  const halves = (source: TypedArray): Uint16Array => {
    if (source instanceof Uint16Array) return source;
    const { buffer, byteOffset, byteLength } = source.byteOffset % 2 === 0 ? source : source.slice();
    return new Uint16Array(buffer, byteOffset, byteLength / 2);
  };
  const specialAt = type === "f16" ? 2 * packedHalves(matrix) - 4 : undefined;
  return {
    n,
    k,
    prepack: {
      input,
      key: `halves/${type}/${n}x${k}/${transposed ? "t" : "n"}`,
      type: { dtype: "u16", shape: [packedHalves(matrix)] },
      stored: !bytes,
      pack: (source, packed) => packFloats(matrix, halves(source), packed as Uint16Array),
      unpack(packed) {
        const bits = unpackFloats(matrix, packed as Uint16Array);
        return bytes ? new Uint8Array(bits.buffer) : bits;
      },
    },
    groupBytes: 2 * PANEL_COLUMNS * k,
    activationBytes: 4 * k,
    manyRows: 8,
    specialAt,
    activations: () => undefined,
    dot(e, rows, exact = false) {
      const name = `floatDot/${type}/${k}/${rows}${exact ? "/exact" : ""}`;
      return e.shared(name, (m) => emitFloatDot(m, { name, type, k, relaxed, rows, exact }));
    },
    panels(e, at) {
      const special = e.shared("floatPanel/special", (m) => m.global("i32", 0));
      if (specialAt !== undefined) e.f.setGlobal(special, i32.load(at + specialAt));
      const name = `floatPanel/${type}`;
      const widen = e.shared(name, (m) => emitFloatPanel(m, { name, type }, special));
      return { name: type, unit: 1, bytes: 2 * PANEL_COLUMNS, widen };
    },
  };
}
