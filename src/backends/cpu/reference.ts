/** What runs where there is no kernel. */
import type { Attrs, OpDef } from "../../ops/op.ts";
import { isBig, type TypedArray } from "../../tensor/dtype.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import type { HostStep } from "../backend.ts";

/** A step from an operator's reference: right for every dtype, slow. */
export function referenceStep(
  op: OpDef,
  inputs: readonly (TensorType | undefined)[],
  outputs: readonly TensorType[],
  attrs: Attrs,
): HostStep | undefined {
  const { reference } = op;
  if (!reference) return undefined;
  const wrap = (t: TensorType | undefined, data: TypedArray): HostTensor => ({
    dtype: t!.dtype,
    shape: t!.shape,
    data,
  });
  return {
    run(ins, outs) {
      // References rely on zeroed outputs.
      outs.forEach((o, i) => {
        // What it changes, it is given.
        if (op.mutates && i === 0) return;
        if (isBig(outputs[i].dtype)) (o as BigInt64Array).fill(0n);
        else (o as Float32Array).fill(0);
      });
      reference(
        ins.map((data, i) => data && wrap(inputs[i], data)),
        attrs,
        outs.map((data, i) => wrap(outputs[i], data)),
      );
    },
  };
}
