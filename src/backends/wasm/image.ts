/** Programs that run without what made them: see src/ahead.ts. */
import type { OwnBytes } from "../../tensor/dtype.ts";
import { formatType } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { Place, StagePlan } from "../backend.ts";
import { currentStep } from "./dispatch-words.ts";
import type { WasmProgram } from "./program.ts";
import { WasmSession } from "./session.ts";
import type { AnyStep, WasmTarget } from "./step.ts";

/** A value that goes in or out of a program, in its memory. */
export interface PlacedValue extends TensorType {
  readonly at: number;
}

/** A step that takes whole numbers, and so may refuse some of them. */
export interface IndexedStep {
  readonly op: string;
  readonly node: string;
  readonly inputs: readonly string[];
  readonly axis?: number;
  /** Of its inputs, those of whole numbers. */
  readonly whole: readonly PlacedValue[];
}

/** A program with all it needs, apart from the session that made it. */
export interface ProgramImage {
  /** A module that imports `env.memory` and exports `run(0, 0, steps)`. */
  readonly module: OwnBytes;
  readonly steps: number;
  /** By number. */
  readonly indexed: ReadonlyMap<number, IndexedStep>;
  /** Address of the number of the step that a run was at, i32. */
  readonly currentAt: number;
  /** What memory holds before the first run: weights, from this address on. */
  readonly data: OwnBytes;
  readonly dataAt: number;
  readonly pages: number;
  readonly inputs: readonly PlacedValue[];
  readonly outputs: readonly PlacedValue[];
}

/** A plan as an image for one thread. All its steps have to be wasm's own. */
export function imageOf(plan: StagePlan<AnyStep>, target: WasmTarget): ProgramImage {
  const session = new WasmSession({ ...target, threads: 1 }, undefined);
  try {
    const program = session.prepare(plan) as WasmProgram;
    const module = program.emit().bytes;
    const place = (p: Place): PlacedValue => ({ dtype: p.dtype, shape: p.shape, at: program.addressOf(p) });
    const [inputs, outputs] = [plan.inputs.map(place), plan.outputs.map(place)];
    const { buffer } = session.memory.memory;
    // The memory of a session is the arena, then what never changes.
    const dataAt = session.arenaAddress + plan.arenaBytes;
    const data = new Uint8Array(buffer as ArrayBuffer).slice(dataAt, session.memory.end);
    const isWhole = (p: Place | undefined): p is Place => /^i(32|64)$/.test(p?.dtype ?? "") && !p!.prepack;
    const indexed = plan.steps.map(({ op, node, inputs, attrs }, i): [number, IndexedStep] => [
      i,
      {
        op: op.name,
        node,
        inputs: inputs.flatMap((p) => (p ? [formatType(p)] : [])),
        axis: attrs["axis"] as number | undefined,
        whole: inputs.filter(isWhole).map(place),
      },
    ]);
    return {
      module,
      steps: plan.steps.length,
      indexed: new Map(indexed.filter(([, { whole }]) => whole.length)),
      currentAt: session.dispatch + currentStep,
      inputs,
      outputs,
      data,
      dataAt,
      // Vector loads may reach past the last value.
      pages: Math.ceil((session.memory.end + 64) / 65536),
    };
  } finally {
    session.dispose();
  }
}
