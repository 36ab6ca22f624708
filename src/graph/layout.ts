/** Places of a stage's values in memory: views and dead inputs shared, everything else side by side in one arena. */
import type { Place, PlannedStep, StagePlan, Step } from "../backends/backend.ts";
import { bytesOf } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import { type HostTensor, reshaped, type TensorType } from "../tensor/tensor.ts";
import type { Choice } from "./choose.ts";
import type { ValueId } from "./ir.ts";
import { placeLinear, type Storage } from "./place.ts";
import type { ShapeWalk } from "./shape-walk.ts";

/** Gives every value of the chosen steps a place: constants where they are, the rest in one arena. */
export class Layout<S extends Step> {
  private readonly storages: Storage[] = [];
  private readonly storageOf = new Map<ValueId, Storage>();
  private readonly constants = new Map<ValueId, HostTensor>();
  private readonly stageInputs = new Map<ValueId, TensorType>();

  constructor(
    private readonly shapes: ShapeWalk,
    private readonly isNeededLater: (id: ValueId) => boolean,
    private readonly inplace = true,
  ) {}

  place(choices: readonly Choice<S>[]): { plan: StagePlan<S>; inputs: ValueId[]; outputs: ValueId[] } {
    // Steps of one time run side by side.
    let now = -1;
    const times = choices.map(({ beside }) => (beside ? now : ++now));
    const last = this.lastReads(choices, times);
    const drafts = choices.map((choice, i) => {
      const alone = times[i] !== times[i - 1] && times[i] !== times[i + 1];
      return this.draft(choice, times[i], last, alone);
    });
    const outputs = [...this.shapes.types.keys()].filter(
      (id) => this.isNeededLater(id) && (this.storageOf.has(id) || this.constants.has(id)),
    );
    const arenaBytes = placeLinear(this.storages);
    const steps = drafts.flatMap((d, i) => this.finish(choices[i], d));
    const inputs = [...this.stageInputs.keys()];
    return {
      plan: {
        steps,
        inputs: inputs.map((id) => this.placeOf(id)),
        outputs: outputs.map((id) => this.placeOf(id)),
        arenaBytes,
      },
      inputs,
      outputs,
    };
  }

  /** When each value is read last. */
  private lastReads(choices: readonly Choice<S>[], times: readonly number[]): Map<ValueId, number> {
    const last = new Map<ValueId, number>();
    choices.forEach(({ node }, i) => {
      for (const id of node.inputs) if (id !== undefined) last.set(id, times[i]);
    });
    for (const id of this.shapes.types.keys()) if (this.isNeededLater(id)) last.set(id, choices.length);
    return last;
  }

  private draft(
    choice: Choice<S>,
    now: number,
    last: ReadonlyMap<ValueId, number>,
    alone: boolean,
  ): { workspace?: Storage } {
    const { node } = choice;
    const runtime = node.inputs.filter((id, k) => id !== undefined && !choice.inputs[k]!.constant) as ValueId[];
    for (const id of runtime) {
      if (this.constants.has(id) || this.shapes.states.has(id)) continue;
      // Comes from before the stage: copied into the arena at the start.
      if (!this.storageOf.has(id)) {
        const type = this.shapes.typeOf(id)!;
        this.stageInputs.set(id, type);
        this.storageOf.set(id, this.storage(type, -1, now));
      }
      const s = this.storageOf.get(id)!;
      s.last = Math.max(s.last, last.get(id)!);
    }
    node.outputs.forEach((id, k) => {
      const type = choice.outputs[k];
      if (id === undefined || !type || this.shapes.states.has(id)) return;
      const shared = k === 0 ? this.shareable(choice, now, type, alone) : undefined;
      if (shared === "constant") return;
      const storage = shared ?? this.storage(type, now, now);
      storage.last = Math.max(storage.last, last.get(id) ?? now);
      this.storageOf.set(id, storage);
    });
    const bytes = choice.step?.workspaceBytes ?? 0;
    return { workspace: bytes ? this.addStorage(bytes, now, now) : undefined };
  }

  /** The storage of an input that output 0 may take over: a view of it, or dead after this step. */
  private shareable(
    choice: Choice<S>,
    now: number,
    type: TensorType,
    alone: boolean,
  ): Storage | "constant" | undefined {
    const { node, step } = choice;
    const first = node.inputs[0];
    if (node.op.view && first !== undefined) {
      const constant = this.constants.get(first) ?? this.shapes.constantOf(first);
      if (!constant) return this.storageOf.get(first);
      this.constants.set(node.outputs[0], reshaped(constant, type.shape));
      return "constant";
    }
    if (choice.fallback || !this.inplace || !alone || !(node.op.inplace || step?.inplace)) return undefined;
    // An elementwise operator may take over any input; a kernel that says so on its own, its first.
    const candidates = node.op.inplace ? node.inputs : node.inputs.slice(0, 1);
    for (const [k, id] of candidates.entries()) {
      if (id === undefined || choice.inputs[k]!.constant) continue;
      const s = this.storageOf.get(id);
      const t = choice.inputs[k]!;
      const sameSize = sizeOf(t.shape) === sizeOf(type.shape) && bytesOf(t.dtype) === bytesOf(type.dtype);
      if (s && s.last === now && sameSize) return s;
    }
    return undefined;
  }

  private storage(type: TensorType, first: number, last: number): Storage {
    return this.addStorage(sizeOf(type.shape) * bytesOf(type.dtype), first, last);
  }

  private addStorage(bytes: number, first: number, last: number): Storage {
    const storage: Storage = { bytes, first, last, offset: 0, slot: this.storages.length };
    this.storages.push(storage);
    return storage;
  }

  private placeOf(id: ValueId): Place {
    const { dtype, shape } = this.shapes.typeOf(id)!;
    const storage = this.storageOf.get(id);
    if (storage) return { dtype, shape, offset: storage.offset, slot: storage.slot };
    const state = this.shapes.states.get(id);
    if (state !== undefined) return { dtype, shape, state };
    return { dtype, shape, constant: this.constants.get(id) ?? this.shapes.constantOf(id)! };
  }

  private finish(choice: Choice<S>, { workspace }: { workspace?: Storage }): PlannedStep<S>[] {
    const { node, kernel, step } = choice;
    if (!step) return [];
    const inputs = node.inputs.map((id, k): Place | undefined => {
      if (id === undefined) return undefined;
      const { dtype, shape, constant } = choice.inputs[k]!;
      const prepack = step.prepack?.find((p) => p.input === k);
      return constant ? { dtype, shape, constant, prepack } : this.placeOf(id);
    });
    const outputs = node.outputs.map((id, k) => (choice.outputs[k] ? this.placeOf(id) : undefined));
    return [
      {
        node: node.name,
        op: node.op,
        attrs: node.attrs,
        kernel,
        step,
        inputs,
        outputs,
        workspaceOffset: workspace?.offset ?? 0,
        beside: choice.beside,
      },
    ];
  }
}
