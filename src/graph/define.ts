/** Graphs as users write them: a function of the public operators. */
import { checkAttributes } from "../ops/attributes.ts";
import type { DType } from "../tensor/dtype.ts";
import { InputError, ShapeError } from "../tensor/errors.ts";
import { checkOptions, type OptionNames } from "../tensor/options.ts";
import { checkDType, checkHostTensor, checkTensorType, type HostTensor, printed } from "../tensor/tensor.ts";
import { Weight } from "../tensor/weight.ts";
import { GraphBuilder, SymbolicValue } from "./builder.ts";
import type { Dim, Graph } from "./ir.ts";

export interface GraphDefinition {
  /**
   * Declares an input. Named dimensions (`"batch"`) stay free until a run.
   * @throws InputError, DTypeError, ShapeError for what is no name, no dtype and no shape
   */
  input(name: string, dtype: DType, shape: readonly Dim[]): SymbolicValue;
  /** Declares state, which lasts from run to run: see `Session.openState`. Throws as `input`. */
  state(name: string, dtype: DType, shape: readonly number[]): SymbolicValue;
  /**
   * Embeds a constant: weights, tables.
   * @throws InputError, DTypeError, ShapeError for what is no tensor, or one of `tensor()` that isn't computed yet
   */
  weight(tensor: HostTensor | { readonly host: HostTensor | undefined }): SymbolicValue;
}

function checkWeight(t: HostTensor | { readonly host: HostTensor | undefined }): HostTensor {
  // A Weight has read its type itself, and its elements are to stay where they are.
  if (t instanceof Weight) return t;
  if (typeof t !== "object" || t === null)
    throw new InputError("weight: takes a tensor, as hostTensor([1, 2]) or { dtype, shape, data }");
  if (!("host" in t)) return checkHostTensor(t, "weight");
  if (!t.host) throw new InputError("weight: this tensor isn't computed yet: give what its toHost() resolves to");
  return t.host;
}

/** @throws InputError, DTypeError, ShapeError */
function checkPort(name: string, dtype: DType, shape: readonly Dim[]): void {
  if (typeof name !== "string") throw new InputError('graph: an input has a name, as input("x", "f32", ["batch", 4])');
  const who = `graph: input "${name}"`;
  checkDType(dtype, who);
  const isDim = (d: Dim): boolean => (typeof d === "string" ? d !== "" : Number.isSafeInteger(d) && d >= 0);
  if (!Array.isArray(shape) || !shape.every(isDim))
    throw new ShapeError(
      `${who}: a shape is an array of whole numbers and names of free dimensions, as ["batch", 4]; got ${printed(shape)}`,
    );
}

export interface GraphOptions {
  /** What messages call it. */
  name?: string;
  /** Types of outputs, where they depend on free dimensions. */
  outputs?: Readonly<Record<string, { dtype: DType; shape: readonly Dim[] }>>;
}

const known: OptionNames<GraphOptions> = { name: true, outputs: true };

/**
 * Builds a graph with the public operators: the function returns the named outputs.
 * Types of outputs may be declared where they depend on free dimensions.
 * `graph(({ input, weight }) => ({ y: relu(matmul(input("x", "f32", ["batch", 4]), weight(w))) }))`
 * @throws InputError where the function is none, or gives anything but values of this graph by name; what operators throw
 */
export function graph(
  define: (g: GraphDefinition) => Record<string, SymbolicValue>,
  options: GraphOptions = {},
): Graph {
  if (typeof define !== "function")
    throw new InputError('graph: takes a function, as ({ input }) => ({ y: relu(input("x", "f32", [4])) })');
  checkOptions("graph", options, known);
  const builder = new GraphBuilder(options.name);
  builder.checkAttributes = checkAttributes;
  const outputs = define({
    input(name, dtype, shape) {
      checkPort(name, dtype, shape);
      return builder.input(name, dtype, shape);
    },
    state(name, dtype, shape) {
      checkTensorType({ dtype, shape }, `graph: state "${name}"`);
      return builder.state(name, { dtype, shape });
    },
    weight: (tensor) => builder.constant(checkWeight(tensor)),
  });
  // A promise, one value and nothing have no values by name.
  const named = Object.entries(outputs instanceof SymbolicValue ? {} : (outputs ?? {}));
  if (named.length === 0)
    throw new InputError("graph: the function returns values by name, as { y }, at once: it is not async");
  for (const [name, value] of named) {
    if (!(value instanceof SymbolicValue) || value.executor !== builder)
      throw new InputError(`graph: output "${name}" is not a value of this graph`);
    builder.output(name, value, options.outputs?.[name]);
  }
  return builder.build();
}
