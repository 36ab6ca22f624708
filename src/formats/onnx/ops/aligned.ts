/** Broadcasting as it was before opset 7, where the second operand's first dimension could be put at any of the first's. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { add } from "../../../ops/binary.ts";
import { concat } from "../../../ops/concat.ts";
import { constantOfShape } from "../../../ops/constant-of-shape.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape } from "../../../ops/shape.ts";
import { slice } from "../../../ops/slice.ts";
import type { Lowering, OnnxNode } from "../node.ts";

const one = { dtype: "i64", shape: [1], data: BigInt64Array.of(1n) } as const;

/** `b` with as many dimensions of 1 at its end as it takes for its first to be `axis` of `a`. */
export function alignedAt(n: OnnxNode, a: SymbolicValue, b: SymbolicValue, axis: number): SymbolicValue {
  const own = shape(b);
  const after = slice(shape(a), add(shape(own), n.i64([axis])), n.i64([Number.MAX_SAFE_INTEGER]));
  return reshape(b, concat(own, constantOfShape(shape(after), { value: one }), { axis: 0 }));
}

/** A binary operator; its operands broadcast as NumPy's do, or by the attribute `axis` before opset 7. */
export const binary =
  (f: (a: SymbolicValue, b: SymbolicValue) => SymbolicValue): Lowering =>
  (n) => {
    const [a, b] = [n.input(0), n.input(1)];
    const axis = n.opset < 7 ? n.int("axis") : undefined;
    return f(a, axis === undefined ? b : alignedAt(n, a, b, axis));
  };
