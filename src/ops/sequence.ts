/** ONNX sequences: lists of tensors that live on the host. All are pure; a list is shared, never written to. */
import { InputError } from "../tensor/errors.ts";
import { normalizeAxis } from "../tensor/shape.ts";
import { type HostTensor, type HostValue, isHostTensor } from "../tensor/tensor.ts";
import { dtypeError, shapeError } from "./check.ts";
import { HostMemory } from "./host-memory.ts";
import { expectScalar, expectSequence, expectTensor, i64Scalar } from "./host-values.ts";
import { defineOp, type Subgraph } from "./op.ts";
import { concatTensors, sliceAt, sliceRange, stackTensors } from "./slices.ts";

/** A sequence of its inputs. */
export const sequenceConstruct = /* @__PURE__ */ defineOp({
  name: "sequenceConstruct",
  inputs: ["...xs"],
  evaluate(xs) {
    const tensors = xs.map((x) => expectTensor("sequenceConstruct", x));
    for (const t of tensors)
      if (t.dtype !== tensors[0].dtype) dtypeError("sequenceConstruct", "dtypes differ", tensors[0], t);
    return [tensors];
  },
});

/** How many elements: i64[]. */
export const sequenceLength = /* @__PURE__ */ defineOp({
  name: "sequenceLength",
  inputs: ["sequence"],
  evaluate: ([sequence]) => [i64Scalar(expectSequence("sequenceLength", sequence).length)],
});

/** An index that may count from the end, within [0, size]. */
function position(op: string, v: HostValue, length: number, size: number): number {
  const index = expectScalar(op, "position", v);
  const at = index < 0 ? index + length : index;
  if (at >= 0 && at <= size) return at;
  throw new InputError(`${op}: position ${index} is outside a sequence of ${length}`, { op });
}

/** The element at `position`, which may be negative. */
export const sequenceAt = /* @__PURE__ */ defineOp({
  name: "sequenceAt",
  inputs: ["sequence", "position"],
  evaluate([sequence, at]) {
    const list = expectSequence("sequenceAt", sequence);
    return [list[position("sequenceAt", at, list.length, list.length - 1)]];
  },
});

/** The sequence with a tensor before `position`; default at the end. */
export const sequenceInsert = /* @__PURE__ */ defineOp({
  name: "sequenceInsert",
  inputs: ["sequence", "x", "position?"],
  evaluate([sequence, x, at], _, context) {
    const list = expectSequence("sequenceInsert", sequence);
    const t = expectTensor("sequenceInsert", x);
    const [first] = list;
    if (isHostTensor(first) && first.dtype !== t.dtype) dtypeError("sequenceInsert", "dtypes differ", first, t);
    const i = at === undefined ? list.length : position("sequenceInsert", at, list.length, list.length);
    return [new HostMemory("sequenceInsert", context).hold([...list.slice(0, i), t, ...list.slice(i)])];
  },
});

/** The sequence without the element at `position`; default the last. */
export const sequenceErase = /* @__PURE__ */ defineOp({
  name: "sequenceErase",
  inputs: ["sequence", "position?"],
  evaluate([sequence, at]) {
    const list = expectSequence("sequenceErase", sequence);
    const i = position("sequenceErase", at ?? i64Scalar(-1), list.length, list.length - 1);
    return [list.filter((_, k) => k !== i)];
  },
});

/** A sequence without elements. Its element type only matters to the format. */
export const sequenceEmpty = /* @__PURE__ */ defineOp({
  name: "sequenceEmpty",
  inputs: [],
  evaluate: () => [[]],
});

export interface SplitToSequenceAttrs {
  /** Default 0. */
  axis?: number;
  /** Without `split`: keep the axis, of length 1. Default true. */
  keepDims?: boolean;
}

/** Cuts along `axis`: into pieces of `split` each (the last may be shorter) if it is a scalar, else of its lengths. */
export const splitToSequence = /* @__PURE__ */ defineOp({
  name: "splitToSequence",
  inputs: ["x", "split?"],
  evaluate([input, split], { axis = 0, keepDims = true }: SplitToSequenceAttrs, context) {
    const x = expectTensor("splitToSequence", input);
    const a = normalizeAxis("splitToSequence", axis, x.shape.length);
    const size = x.shape[a];
    const memory = new HostMemory("splitToSequence", context);
    const parts: HostTensor[] = [];
    const drops = split === undefined && !keepDims;
    let at = 0;
    for (const length of pieceLengths(size, split)) {
      parts.push(memory.hold(drops ? sliceAt(x, a, at) : sliceRange(x, a, at, at + length)));
      at += length;
    }
    return [parts];
  },
});

function* pieceLengths(size: number, split: HostValue | undefined): Generator<number> {
  const t = split === undefined ? undefined : expectTensor("splitToSequence", split);
  if (t && t.shape.length > 0) {
    const lengths = Array.from(t.data as ArrayLike<number | bigint>, Number);
    if (lengths.some((n) => n < 0) || lengths.reduce((a, b) => a + b, 0) !== size)
      shapeError("splitToSequence", `[${lengths}] does not add up to ${size}`);
    yield* lengths;
    return;
  }
  const each = t ? expectScalar("splitToSequence", "split", t) : 1;
  if (!(each > 0)) shapeError("splitToSequence", `pieces of ${each} are impossible`);
  for (let at = 0; at < size; at += each) yield Math.min(each, size - at);
}

export interface ConcatFromSequenceAttrs {
  axis: number;
  /** Stack along a new axis. Default false. */
  newAxis?: boolean;
}

/** The elements of a sequence joined along an axis. */
export const concatFromSequence = /* @__PURE__ */ defineOp({
  name: "concatFromSequence",
  inputs: ["sequence"],
  evaluate([sequence], { axis, newAxis = false }: ConcatFromSequenceAttrs, context) {
    const list = expectSequence("concatFromSequence", sequence).map((v) => expectTensor("concatFromSequence", v));
    return [(newAxis ? stackTensors : concatTensors)(new HostMemory("concatFromSequence", context), list, axis)];
  },
});

export interface SequenceMapAttrs {
  /** (...elements, ...captures) -> elements of the output sequences. */
  body: Subgraph;
  /** How many of the inputs are mapped over or passed along; captures follow. */
  mapped: number;
}

/**
 * Runs `body` on each element. The first input is a sequence; further sequences are as long; tensors are passed to every
 * turn as they are.
 */
export const sequenceMap = /* @__PURE__ */ defineOp({
  name: "sequenceMap",
  inputs: ["...values"],
  outputs: ({ body }: SequenceMapAttrs) => body.outputs.length,
  *evaluate(values, { body, mapped }: SequenceMapAttrs, context): Generator<unknown, HostValue[]> {
    const { length } = expectSequence("sequenceMap", values[0]);
    const memory = new HostMemory("sequenceMap", context);
    const results: HostValue[][] = body.outputs.map(() => []);
    values.slice(0, mapped).forEach((v, k) => {
      if (!isHostTensor(v) && expectSequence("sequenceMap", v).length !== length)
        throw new InputError(`sequenceMap: sequence ${k} has not ${length} elements`, { op: "sequenceMap" });
    });
    for (let i = 0; i < length; i++) {
      const inputs = values.map((v, k) => (k < mapped && Array.isArray(v) ? (v as HostValue[])[i] : v));
      const outputs = yield* context.run(body, inputs);
      outputs.forEach((v, k) => {
        results[k].push(memory.hold(v));
      });
    }
    return results;
  },
});
