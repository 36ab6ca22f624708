import { fromF64, toF64 } from "../tensor/convert.ts";
import { sameShape } from "../tensor/shape.ts";
import { applyActivation } from "./activation.ts";
import { expectFloat, expectRank, sameDType, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface CausalConvAttrs {
  /** Applied to the result. Default "none". */
  activation?: "none" | "silu";
}

const OP = "causalConv";

/**
 * Depthwise 1-D convolution that looks back only, with the last positions carried over (ONNX CausalConvWithState 27).
 * x [batch, channels, length], weight [channels, 1, kernel], bias [channels], state [batch, channels, kernel - 1]
 * (zeros if missing). Outputs: y like `x`, and the state for the next call.
 */
export const causalConv = /* @__PURE__ */ defineOp({
  name: OP,
  inputs: ["x", "weight", "bias?", "state?"],
  outputs: ["y", "newState"],
  infer([x, weight, bias, state], _attrs: CausalConvAttrs) {
    const dtype = sameDType(OP, x, weight, bias, state);
    expectFloat(OP, x);
    expectRank(OP, x, 3);
    expectRank(OP, weight, 3);
    const [batch, channels] = x.shape;
    const kernel = weight.shape[2];
    if (!sameShape(weight.shape, [channels, 1, kernel]) || kernel < 1)
      shapeError(OP, "weight does not match", x, weight);
    if (bias && !sameShape(bias.shape, [channels])) shapeError(OP, "bias does not match", x, bias);
    const carried = [batch, channels, kernel - 1];
    if (state && !sameShape(state.shape, carried)) shapeError(OP, `state must be [${carried}]`, state);
    return [
      { dtype, shape: x.shape },
      { dtype, shape: carried },
    ];
  },
  reference([x, weight, bias, state], { activation = "none" }, [y, newState]) {
    const [batch, channels, length] = x.shape;
    const kernel = weight.shape[2];
    const back = kernel - 1;
    const [src, w] = [toF64(x), toF64(weight)];
    const shift = bias && toF64(bias);
    const carried = state && toF64(state);
    const out = new Float64Array(src.length);
    const next = new Float64Array(batch * channels * back);
    const kind = activation === "silu" ? ({ kind: "silu" } as const) : undefined;
    for (let bc = 0; bc < batch * channels; bc++) {
      const c = bc % channels;
      // Position p counts from the oldest carried one.
      const at = (p: number): number =>
        p < back ? (carried ? carried[bc * back + p] : 0) : src[bc * length + p - back];
      for (let t = 0; t < length; t++) {
        let sum = shift ? shift[c] : 0;
        for (let k = 0; k < kernel; k++) sum += w[c * kernel + k] * at(t + k);
        out[bc * length + t] = applyActivation(kind, sum);
      }
      for (let p = 0; p < back; p++) next[bc * back + p] = at(length + p);
    }
    fromF64(out, y);
    fromF64(next, newState);
  },
});
