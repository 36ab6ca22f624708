/** ONNX sequences and optionals -> ours. */
import { optionalEmpty, optionalGetElement, optionalHasElement } from "../../../ops/optional.ts";
import {
  concatFromSequence,
  sequenceAt,
  sequenceConstruct,
  sequenceEmpty,
  sequenceErase,
  sequenceInsert,
  sequenceLength,
  splitToSequence,
} from "../../../ops/sequence.ts";
import { FormatError } from "../../../tensor/errors.ts";
import type { LoweringTable } from "../node.ts";

export const sequenceLowerings: LoweringTable = {
  SequenceConstruct: (n) => n.builder.run(sequenceConstruct.op, n.rest(), {}),
  SequenceEmpty: (n) => n.builder.run(sequenceEmpty.op, [], {}),
  SequenceLength: (n) => sequenceLength(n.input(0)),
  SequenceAt: (n) => sequenceAt(n.input(0), n.input(1)),
  SequenceInsert: (n) => sequenceInsert(n.input(0), n.input(1), n.optional(2)),
  SequenceErase: (n) => sequenceErase(n.input(0), n.optional(1)),
  SplitToSequence: (n) =>
    splitToSequence(n.input(0), n.optional(1), { axis: n.int("axis", 0), keepDims: n.flag("keepdims", true) }),
  ConcatFromSequence: (n) => {
    const axis = n.int("axis");
    if (axis === undefined) throw new FormatError("ConcatFromSequence: has no axis", { op: n.type });
    return concatFromSequence(n.input(0), { axis, newAxis: n.flag("new_axis") });
  },
  Optional: (n) => n.optional(0) ?? n.builder.run(optionalEmpty.op, [], {}),
  OptionalGetElement: (n) => optionalGetElement(n.input(0)),
  OptionalHasElement: (n) => n.builder.run(optionalHasElement.op, [n.optional(0)], {}),
};
