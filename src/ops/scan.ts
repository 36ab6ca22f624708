import { normalizeAxis } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, type HostValue } from "../tensor/tensor.ts";
import { shapeError } from "./check.ts";
import { HostMemory } from "./host-memory.ts";
import { expectTensor } from "./host-values.ts";
import { emptyStack, nextState, type TypesWithoutTurns } from "./loop.ts";
import { defineOp, type EvaluateContext, type Subgraph } from "./op.ts";
import { sliceAt, stackTensors } from "./slices.ts";

/** The axis that a tensor is scanned along, and whether from its end. */
export interface ScanAxis {
  axis: number;
  reverse: boolean;
}

export interface ScanAttrs {
  /** (...states, ...elements, ...captures) -> (...states, ...elements of the outputs). */
  body: Subgraph;
  /** How many of `values` are states. */
  states: number;
  /** One for each scanned input, which follow the states. */
  inputs: readonly ScanAxis[];
  /** One for each scanned output. `reverse` puts later elements first. */
  outputs: readonly ScanAxis[];
  scanned: TypesWithoutTurns;
  /** States and scanned tensors have a batch axis 0 in front; `lengths` holds the length of each sequence. */
  batched?: boolean;
}

/**
 * Runs `body` once for each position along the scanned inputs. Returns the last states, then the scanned outputs.
 * ONNX Scan; the batched form is that of opset 8, where what is past a sequence's length is zero.
 */
export const scan = /* @__PURE__ */ defineOp({
  name: "scan",
  inputs: ["lengths?", "...values"],
  outputs: ({ body }: ScanAttrs) => body.outputs.length,
  *evaluate([lengths, ...values], attrs: ScanAttrs, context): Generator<unknown, HostValue[]> {
    const count = attrs.states + attrs.inputs.length;
    const tensors = values.slice(0, count).map((v) => expectTensor("scan", v));
    const captures = values.slice(count);
    const memory = new HostMemory("scan", context);
    if (!attrs.batched) return yield* scanOnce(tensors, captures, attrs, context, memory);
    const [first] = tensors.slice(attrs.states);
    const batch = first?.shape[0] ?? 0;
    const longest = first?.shape[1] ?? 0;
    for (const t of tensors) if (t.shape[0] !== batch) shapeError("scan", "batch sizes differ", first, t);
    const each: HostTensor[][] = [];
    for (let b = 0; b < batch; b++) {
      const length = lengths === undefined ? longest : Number(expectTensor("scan", lengths).data[b]);
      if (!(length >= 0 && length <= longest))
        shapeError("scan", `length ${length} of sequence ${b} is impossible`, first);
      const items = tensors.map((t) => sliceAt(t, 0, b));
      const results = yield* scanOnce(items, captures, attrs, context, memory, length);
      each.push(results.map((t, k) => (k < attrs.states ? t : padTo(t, longest, memory))));
    }
    if (batch > 0)
      return each[0].map((_, k) =>
        stackTensors(
          memory,
          each.map((r) => r[k]),
          0,
        ),
      );
    // What a sequence without elements gives tells the types.
    const items = tensors.map(({ dtype, shape }, k) =>
      emptyTensor(memory.hold({ dtype, shape: k < attrs.states ? shape.slice(1) : [0, ...shape.slice(2)] })),
    );
    const results = yield* scanOnce(items, captures, attrs, context, memory);
    return results.map(({ dtype, shape }, k) =>
      emptyTensor({ dtype, shape: [0, ...(k < attrs.states ? shape : [longest, ...shape.slice(1)])] }),
    );
  },
});

function* scanOnce(
  tensors: readonly HostTensor[],
  captures: readonly HostValue[],
  { body, states, inputs, outputs, scanned }: ScanAttrs,
  context: EvaluateContext,
  memory: HostMemory,
  limit?: number,
): Generator<unknown, HostTensor[]> {
  let state: readonly HostTensor[] = tensors.slice(0, states);
  const sources = tensors.slice(states);
  const axes = sources.map((t, k) => normalizeAxis("scan", inputs[k].axis, t.shape.length));
  const lengths = sources.map((t, k) => t.shape[axes[k]]);
  if (new Set(lengths).size > 1) shapeError("scan", `inputs differ in length: ${lengths}`, ...sources);
  const length = limit ?? lengths[0];
  const turns: HostTensor[][] = outputs.map(() => []);
  for (let i = 0; i < length; i++) {
    const elements = sources.map((t, k) => sliceAt(t, axes[k], inputs[k].reverse ? length - 1 - i : i));
    const results = (yield* context.run(body, [...state, ...elements, ...captures])).map((v) =>
      expectTensor("scan", v),
    );
    state = nextState("scan", state, results.slice(0, states));
    turns.forEach((list, k) => {
      list.push(memory.hold(results[states + k]));
    });
  }
  if (length > 0) {
    const stacked = turns.map((list, k) =>
      stackTensors(memory, outputs[k].reverse ? list.reverse() : list, outputs[k].axis),
    );
    return [...state, ...stacked];
  }
  const elements = sources.map(({ dtype, shape }, k) =>
    emptyTensor(memory.hold({ dtype, shape: shape.filter((_, a) => a !== axes[k]) })),
  );
  const types = yield* scanned(body, [...state, ...elements, ...captures], context);
  return [...state, ...types.map((type, k) => emptyStack(type, outputs[k].axis))];
}

/** Zeros at the end of axis 0 up to `length`. */
function padTo(t: HostTensor, length: number, memory: HostMemory): HostTensor {
  if (t.shape[0] === length) return t;
  const padded = emptyTensor(memory.hold({ dtype: t.dtype, shape: [length, ...t.shape.slice(1)] }));
  const data = padded.data as Float32Array;
  for (let i = 0; i < t.data.length; i++) data[i] = t.data[i] as number;
  return padded;
}
