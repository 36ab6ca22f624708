/** Plans on typed arrays of this thread: one arena for all plans of a session, constants where they already are. */

import { type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { ForwardpassError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { emptyTensor } from "../../tensor/tensor.ts";
import { type Elements, Weight } from "../../tensor/weight.ts";
import {
  Copies,
  type DeviceSession,
  type DeviceState,
  type HostStep,
  isReversible,
  type Place,
  type PlannedStep,
  type Prepack,
  type Program,
  type RunControl,
  type StagePlan,
  unpack,
} from "../backend.ts";

export class HostSession implements DeviceSession<HostStep> {
  arena = new ArrayBuffer(0);
  /** Weights as steps read them. */
  private readonly copies = new Copies<TypedArray>();
  /** Weights that are read where the file has them. */
  private readonly inFile = new Map<Elements, TypedArray>();
  state: HostState | undefined;

  prepare(plan: StagePlan<HostStep>): Program {
    if (plan.arenaBytes > this.arena.byteLength) this.arena = new ArrayBuffer(plan.arenaBytes);
    return new HostProgram(plan, this);
  }

  keep(place: Place): void {
    this.elementsOf(place, new Copies());
  }

  openState(types: readonly TensorType[]): HostState {
    return new HostState(this, types);
  }

  /**
   * The elements of a constant, packed or as they are. A copy is made once for each layout: by the session for weights,
   * by the program (`own`) for what planning found.
   */
  elementsOf({ constant, prepack }: Place, own: Copies<TypedArray>): TypedArray {
    if (!(constant instanceof Weight)) {
      const data = constant!.data as TypedArray;
      return prepack ? own.get(data, prepack.key, () => packedCopy(data, prepack)) : data;
    }
    const { elements } = constant;
    return this.copies.get(elements, prepack?.key ?? "", (others) => {
      if (!prepack) return this.plain(elements);
      const { data } = elements;
      const { length } = data;
      // What reads the weight again outlives the original: it must not hold it.
      let copy: TypedArray;
      const again = (): TypedArray => unpack(prepack, copy, length);
      const only = isReversible(prepack) && !others.has("");
      const own = only && prepack.inPlace ? elements.takeOver(again) : undefined;
      if (own) prepack.pack(own, own);
      copy = own ?? packedCopy(data, prepack);
      if (only && !own) elements.handOver(again);
      return copy;
    });
  }

  /** A weight that is read as it is. */
  private plain(elements: Elements): TypedArray {
    const { data } = elements;
    // What was packed before, and unpacked now.
    if (!elements.onHost) elements.handOver(() => data);
    if (data.buffer.byteLength > data.byteLength) this.inFile.set(elements, data);
    return data;
  }

  /** Where little of a file is read in place, because the rest is packed, copies that, so that the file can go. */
  releaseFiles(): void {
    const used = new Map<ArrayBufferLike, number>();
    for (const { buffer, byteLength } of this.inFile.values()) used.set(buffer, (used.get(buffer) ?? 0) + byteLength);
    for (const [elements, data] of this.inFile) {
      if (used.get(data.buffer)! > data.buffer.byteLength / 2) continue;
      const copy = data.slice();
      this.copies.set(elements, "", copy);
      elements.handOver(() => copy);
      this.inFile.delete(elements);
    }
  }

  get bytes(): number {
    let sum = this.arena.byteLength;
    for (const copy of this.copies.all()) sum += copy.byteLength;
    return sum;
  }

  dispose(): void {
    this.arena = new ArrayBuffer(0);
    this.copies.clear();
    this.inFile.clear();
  }
}

function packedCopy(source: TypedArray, prepack: Prepack): TypedArray {
  const copy = emptyTensor(prepack.type).data as TypedArray;
  prepack.pack(source, copy);
  return copy;
}

/** Arrays that grow by doubling. Programs compare `arrays` to see whether they have moved. */
class HostState implements DeviceState {
  arrays: readonly TypedArray[];
  rows = 0;

  constructor(
    private readonly session: HostSession,
    private readonly types: readonly TensorType[],
  ) {
    this.arrays = types.map((t) => viewOf(t.dtype, new ArrayBuffer(0), 0, 0));
  }

  get bytes(): number {
    return this.arrays.reduce((sum, a) => sum + a.byteLength, 0);
  }

  activate(): void {
    this.session.state = this;
  }

  reserve(rows: number): void {
    if (rows <= this.rows) return;
    const wanted = Math.max(rows, 2 * this.rows);
    this.rows = wanted;
    this.arrays = this.types.map(({ dtype, shape }, i) => {
      const grown = emptyTensor({ dtype, shape: [Math.min(wanted, shape[0]), ...shape.slice(1)] }).data as TypedArray;
      grown.set(this.arrays[i] as never);
      return grown;
    });
  }

  fork(rows: number): HostState {
    const copy = new HostState(this.session, this.types);
    copy.reserve(rows);
    copy.arrays.forEach((a, i) => {
      const own = this.arrays[i];
      a.set(own.subarray(0, Math.min(own.length, a.length)) as never);
    });
    return copy;
  }

  read(number: number): TypedArray {
    return this.arrays[number].slice();
  }

  dispose(): void {
    if (this.session.state === this) this.session.state = undefined;
    this.rows = 0;
    this.arrays = [];
  }
}

interface BoundStep {
  step: HostStep;
  inputs: TypedArray[];
  outputs: TypedArray[];
  workspace: Uint8Array;
}

class HostProgram implements Program {
  private steps: BoundStep[] = [];
  private inputs: TypedArray[] = [];
  private outputs: TypedArray[] = [];
  private readonly copies = new Copies<TypedArray>();
  private boundTo: ArrayBuffer | undefined;
  private boundState: readonly TypedArray[] | undefined;

  constructor(
    private readonly plan: StagePlan<HostStep>,
    private readonly session: HostSession,
  ) {}

  *run(inputs: readonly HostTensor[], control?: RunControl): Generator<undefined, HostTensor[]> {
    if (!control) return this.runSync(inputs);
    this.begin(inputs);
    const { times } = control;
    for (let i = 0; i < this.steps.length; i++) {
      if (i > 0) yield undefined;
      const before = performance.now();
      this.execute(i);
      if (times) times[i] = performance.now() - before;
    }
    return this.results();
  }

  runSync(inputs: readonly HostTensor[]): HostTensor[] {
    this.begin(inputs);
    for (let i = 0; i < this.steps.length; i++) this.execute(i);
    return this.results();
  }

  private begin(inputs: readonly HostTensor[]): void {
    const { arena, state } = this.session;
    if (this.boundTo !== arena || this.boundState !== state?.arrays) this.bind();
    for (let i = 0; i < inputs.length; i++) this.inputs[i].set(inputs[i].data as never);
  }

  private execute(i: number): void {
    const { step, inputs, outputs, workspace } = this.steps[i];
    try {
      step.run(inputs, outputs, workspace);
    } catch (e) {
      throw e instanceof ForwardpassError ? e.at(this.plan.steps[i].node) : e;
    }
  }

  private results(): HostTensor[] {
    return this.plan.outputs.map(({ dtype, shape }, i) => ({ dtype, shape, data: this.outputs[i].slice() }));
  }

  dispose(): void {
    this.steps = [];
    this.boundTo = undefined;
  }

  /** Makes the views once; again if a bigger plan made the arena grow, or for other state. */
  private bind(): void {
    const { arena, state } = this.session;
    for (const { inputs } of this.plan.steps)
      for (const p of inputs) if (p?.constant) this.session.elementsOf(p, this.copies);
    this.session.releaseFiles();
    const view = (p: Place): TypedArray => {
      if (p.state !== undefined) return state!.arrays[p.state];
      return p.constant ? this.session.elementsOf(p, this.copies) : viewOf(p.dtype, arena, p.offset!, sizeOf(p.shape));
    };
    this.inputs = this.plan.inputs.map(view);
    this.outputs = this.plan.outputs.map(view);
    this.steps = this.plan.steps.map((s) => this.bindStep(s, view));
    this.boundTo = arena;
    this.boundState = state?.arrays;
  }

  private bindStep(s: PlannedStep<HostStep>, view: (p: Place) => TypedArray): BoundStep {
    return {
      step: s.step,
      inputs: s.inputs.map((p) => p && view(p)) as TypedArray[],
      outputs: s.outputs.map((p) => p && view(p)) as TypedArray[],
      workspace: new Uint8Array(this.session.arena, s.workspaceOffset, s.step.workspaceBytes ?? 0),
    };
  }
}
