import { DTypeError } from "../tensor/errors.ts";
import { emptyTensor, type HostTensor, type HostValue, isHostTensor, type TensorType } from "../tensor/tensor.ts";
import { HostMemory } from "./host-memory.ts";
import { boolScalar, expectScalar, expectTensor, i64Scalar } from "./host-values.ts";
import { defineOp, type EvaluateContext, type Subgraph } from "./op.ts";
import { stackTensors } from "./slices.ts";

/** Types of one element of each scanned output, where a loop takes no turn. @param values what the body would be given */
export type TypesWithoutTurns = (
  body: Subgraph,
  values: readonly HostValue[],
  context: EvaluateContext,
) => Generator<unknown, readonly TensorType[]>;

export interface LoopAttrs {
  /** (iteration i64, condition bool, ...carried, ...captures) -> (condition, ...carried, ...scanned). */
  body: Subgraph;
  /** How many of `values` the body returns for its next turn. */
  carried: number;
  scanned: TypesWithoutTurns;
}

/**
 * Runs `body` while `condition` (default true) holds, at most `trips` times (default: no limit). Returns the carried
 * values, then each scanned output stacked along a new axis 0. Carried values may change shape, and be sequences. ONNX Loop.
 */
export const loop = /* @__PURE__ */ defineOp({
  name: "loop",
  inputs: ["trips?", "condition?", "...values"],
  outputs: ({ body }: LoopAttrs) => body.outputs.length - 1,
  *evaluate(
    [trips, condition, ...values],
    { body, carried, scanned }: LoopAttrs,
    context,
  ): Generator<unknown, HostValue[]> {
    const limit = trips === undefined ? Infinity : expectScalar("loop", "trip count", trips);
    let state: readonly HostValue[] = values.slice(0, carried);
    const captures = values.slice(carried);
    const memory = new HostMemory("loop", context);
    const turns: HostTensor[][] = body.outputs.slice(1 + carried).map(() => []);
    let go = condition === undefined || expectScalar("loop", "condition", condition) !== 0;
    for (let i = 0; i < limit && go; i++) {
      const results = yield* context.run(body, [i64Scalar(i), boolScalar(true), ...state, ...captures]);
      // The standard's text ignores the body's condition where there is no condition input. Runtimes honour it, and a
      // loop without a count would have no other end.
      go = expectScalar("loop", "condition", results[0]) !== 0;
      state = nextState("loop", state, results.slice(1, 1 + carried));
      turns.forEach((list, k) => {
        list.push(memory.hold(expectTensor("loop", results[1 + carried + k])));
      });
    }
    if (turns.some((list) => list.length)) return [...state, ...turns.map((list) => stackTensors(memory, list, 0))];
    const types = yield* scanned(body, [i64Scalar(0), boolScalar(true), ...values], context);
    return [...state, ...types.map((type) => emptyStack(type, 0))];
  },
});

/** @throws DTypeError where a turn gives another dtype than it took */
export function nextState<T extends HostValue>(
  op: string,
  before: readonly HostValue[],
  after: readonly T[],
): readonly T[] {
  after.forEach((v, k) => {
    const was = before[k];
    if (!isHostTensor(v) || !isHostTensor(was) || v.dtype === was.dtype) return;
    throw new DTypeError(`${op}: carried value ${k} was ${was.dtype} and is ${v.dtype} after a turn`, {
      op,
      types: [was.dtype, v.dtype],
    });
  });
  return after;
}

/** What no turns give along a new axis: a dimension of 0. */
export function emptyStack({ dtype, shape }: TensorType, axis: number): HostTensor {
  const a = axis < 0 ? axis + shape.length + 1 : axis;
  return emptyTensor({ dtype, shape: [...shape.slice(0, a), 0, ...shape.slice(a)] });
}
