/**
 * lstm, gru and rnn on the loop of kernels/recurrent-loop.ts: f32, weights and biases constant, activations the same for
 * both directions and of those that other operators have too. The rest runs plain kernels.
 */
import { gru } from "../../ops/gru.ts";
import { lstm } from "../../ops/lstm.ts";
import type { AnyOp, AttrsOf } from "../../ops/op.ts";
import {
  type CellActivation,
  type RecurrentAttrs,
  type RecurrentGeometry,
  recurrentGeometry,
} from "../../ops/recurrent.ts";
import { rnn } from "../../ops/rnn.ts";
import type { Kernel, KernelInput, Prepack } from "../backend.ts";
import { packB, packedLength } from "./kernels/gemm-pack.ts";
import { emitGemv } from "./kernels/gemv.ts";
import { gruStages } from "./kernels/gru-cell.ts";
import { lstmStages } from "./kernels/lstm-cell.ts";
import { type CellForm, hasCellActivation, type Stage } from "./kernels/recurrent-cell.ts";
import { emitLoop, type Layer, loopLayout, type Product, type Sided } from "./kernels/recurrent-loop.ts";
import { rnnStages } from "./kernels/rnn-cell.ts";
import { gemmFunction } from "./matmul.ts";
import { allF32 } from "./norm.ts";
import { productWork, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

/** What an operator brings. */
interface Cell {
  readonly gates: number;
  /** The gates of each product with the state. */
  readonly groups: readonly number[];
  readonly defaults: readonly CellActivation[];
  /** The state's half of the last gate's bias is for the cell, and not added to the input's. */
  readonly splitsBias?: boolean;
  stages(e: StepEmitter, form: Omit<CellForm, "kind">): Stage[];
}

/** Rows of weights for each direction become panels, one group of gates after the other. */
function prepackWeights(
  input: number,
  { shape: [directions, rows, k] }: KernelInput,
  groups: readonly number[],
): Prepack {
  const gates = groups.reduce((sum, g) => sum + g, 0);
  const columns = groups.map((g) => (g * rows) / gates);
  const length = columns.reduce((sum, n) => sum + packedLength(k, n), 0);
  return {
    input,
    key: `recurrent/${groups}`,
    type: { dtype: "f32", shape: [directions, length] },
    moves: true,
    pack(source, packed) {
      let [from, to] = [0, 0];
      for (let d = 0; d < directions; d++)
        for (const n of columns) {
          const panels = (packed as Float32Array).subarray(to, (to += packedLength(k, n)));
          packB((source as Float32Array).subarray(from, (from += k * n)), panels, { k, n, transposed: true });
        }
    },
  };
}

/** Both halves of the bias added; with `splits` the state's half of the last gate is apart, behind the sums. */
function prepackBias(
  input: number,
  { gates, splitsBias = false }: Cell,
  { directions, hidden: n }: RecurrentGeometry,
): Prepack {
  const sums = gates * n;
  const length = sums + (splitsBias ? n : 0);
  return {
    input,
    key: `recurrent/${splitsBias ? "split" : "summed"}`,
    type: { dtype: "f32", shape: [directions, length] },
    pack(source, packed) {
      for (let d = 0; d < directions; d++)
        for (let i = 0; i < sums; i++) {
          const [ofInput, ofState] = [source[2 * d * sums + i] as number, source[(2 * d + 1) * sums + i] as number];
          const apart = splitsBias && i >= sums - n;
          packed[d * length + i] = apart ? ofInput : ofInput + ofState;
          if (apart) packed[d * length + i + n] = ofState;
        }
    },
  };
}

/** The activations of one direction, where the other has the same and cells can have them. */
function activationsOf({ activations }: RecurrentAttrs, defaults: readonly CellActivation[]) {
  if (!activations?.length) return defaults;
  const n = defaults.length;
  const first = activations.slice(0, n);
  const same = activations.every((a, i) => JSON.stringify(a) === JSON.stringify(first[i % n]));
  return same && first.every(hasCellActivation) ? first : undefined;
}

/** A product, with bias or without. @param oneRow m is always 1 */
function productOf(e: StepEmitter, bias: boolean, oneRow: boolean): Product {
  if (!oneRow) {
    const fn = gemmFunction(e, { bias: bias ? "column" : "none", residual: false });
    return (args) => e.f.call(fn, { ...args, residual: 0, ldr: 0 });
  }
  const name = `gemv${bias ? "/bias" : ""}`;
  const fn = e.shared(name, (m) => emitGemv(m, name, e.target.features.fma, bias));
  return (args) => e.f.call(fn, args);
}

/** Multiply-adds that a gate takes. */
const gateWork = 20;

function recurrentKernel<O extends AnyOp>(
  target: WasmTarget,
  op: O,
  cellOf: (attrs: AttrsOf<O>, inputs: readonly (KernelInput | undefined)[]) => Cell | undefined,
): Kernel<WasmStep> {
  const { name } = op.op;
  return wasmKernel(op, `wasm/${name}/loop`, (inputs, _, attrs) => {
    const [x, w, r, bias, lengths, , , peepholes] = inputs as readonly (KernelInput | undefined)[];
    const { direction = "forward", clip } = attrs as RecurrentAttrs;
    const cell = cellOf(attrs, inputs);
    const activations = cell && activationsOf(attrs as RecurrentAttrs, cell.defaults);
    if (!cell || !activations || !allF32(inputs.filter((t) => t !== lengths))) return undefined;
    if (!w?.constant || !r?.constant || (bias && !bias.constant) || (lengths && lengths.dtype !== "i32"))
      return undefined;
    const { gates, groups, splitsBias } = cell;
    const g = recurrentGeometry(name, gates, attrs as RecurrentAttrs, x!, w, r);
    const { seq, batch, input, hidden: n, directions } = g;
    const units = seq * batch * directions * n;
    if (units * input === 0) return undefined;
    const layer: Layer = { g, direction, gates };
    return {
      workspaceBytes: loopLayout(layer).bytes * target.threads,
      work: productWork(units * gates * (input + n), batch === 1) + gateWork * gates * units,
      alike: true,
      prepack: [
        prepackWeights(1, w, [gates]),
        prepackWeights(2, r, groups),
        ...(bias ? [prepackBias(3, cell, g)] : []),
      ],
      emit(e) {
        const [xAt, wAt, rAt, biasAt, lengthsAt, h, c, peepholesAt] = e.inputs;
        const [y, lastH, lastC] = e.outputs;
        const oneRow = batch === 1;
        const packed = groups.map((group) => 4 * packedLength(n, group * n));
        const stateBytes = packed.reduce((sum, bytes) => sum + bytes, 0);
        const before = (i: number): number => packed.slice(0, i).reduce((sum, bytes) => sum + bytes, 0);
        const biasSide: Sided = { at: biasAt, step: 4 * n * (gates + (splitsBias ? 1 : 0)) };
        const parts = {
          stages: cell.stages(e, { n, activations, clip }),
          fromInput: productOf(e, bias !== undefined, oneRow && seq === 1),
          fromState: productOf(e, false, oneRow),
          w: { at: wAt, step: 4 * packedLength(input, gates * n) },
          r: groups.map((_, i) => ({ at: rAt + before(i), step: stateBytes })),
          bias: biasSide,
          constants: peepholes
            ? { at: peepholesAt, step: 4 * 3 * n }
            : { at: biasAt + 4 * n * gates, step: biasSide.step },
        };
        const tensors = { x: xAt, lengths: lengthsAt, h, c: c ?? 0, y, lastH, lastC: lastC ?? 0 };
        emitLoop(e, layer, parts, tensors);
      },
    };
  });
}

const [sigmoid, tanh]: CellActivation[] = [{ kind: "sigmoid" }, { kind: "tanh" }];

export const recurrentKernels: WasmKernels = (target) => [
  recurrentKernel(target, lstm, (attrs, inputs) =>
    attrs.quantizeState
      ? undefined
      : {
          gates: 4,
          groups: [4],
          defaults: [sigmoid, tanh, tanh],
          stages: (e, form) => lstmStages(e, form, attrs, inputs[7] !== undefined),
        },
  ),
  recurrentKernel(target, gru, (attrs, inputs) => ({
    gates: 3,
    groups: attrs.linearBeforeReset ? [3] : [2, 1],
    defaults: [sigmoid, tanh],
    splitsBias: attrs.linearBeforeReset,
    stages: (e, form) => gruStages(e, form, attrs, inputs[3] !== undefined),
  })),
  recurrentKernel(target, rnn, () => ({ gates: 1, groups: [1], defaults: [tanh], stages: rnnStages })),
];
