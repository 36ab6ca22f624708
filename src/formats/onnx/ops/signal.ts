/** ONNX Fourier transforms, window functions and mel filters -> ours. */
import { dft } from "../../../ops/dft.ts";
import { melWeightMatrix } from "../../../ops/mel-weight-matrix.ts";
import { stft } from "../../../ops/stft.ts";
import { blackmanWindow, hammingWindow, hannWindow } from "../../../ops/window-functions.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";

const dtypeOf = (n: OnnxNode) => n.dtype("output_datatype", "f32");

const window =
  (op: typeof hannWindow): Lowering =>
  (n) =>
    op(n.input(0), { periodic: n.flag("periodic", true), dtype: dtypeOf(n) });

export const signalLowerings: LoweringTable = {
  DFT: (n) => {
    // From opset 20 on the axis is an input.
    const axis = n.opset < 20 ? n.i64(n.int("axis", 1)) : n.optional(2);
    return dft(n.input(0), n.optional(1), axis, { inverse: n.flag("inverse"), onesided: n.flag("onesided") });
  },
  STFT: (n) => stft(n.input(0), n.input(1), n.optional(2), n.optional(3), { onesided: n.flag("onesided", true) }),
  HannWindow: window(hannWindow),
  HammingWindow: window(hammingWindow),
  BlackmanWindow: window(blackmanWindow),
  MelWeightMatrix: (n) =>
    melWeightMatrix(n.input(0), n.input(1), n.input(2), n.input(3), n.input(4), { dtype: dtypeOf(n) }),
};
