/** Plans on typed arrays of this thread: one arena for all plans of a session, constants where they already are. */

import type { Attrs, OpDef } from "../../ops/op.ts";
import { isBig, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { emptyTensor } from "../../tensor/tensor.ts";
import type {
  DeviceSession,
  DeviceState,
  HostStep,
  Place,
  PlannedStep,
  Prepack,
  Program,
  RunControl,
  StagePlan,
} from "../backend.ts";

export class HostSession implements DeviceSession<HostStep> {
  arena = new ArrayBuffer(0);
  private packed = new Map<TypedArray, Map<string, TypedArray>>();
  state: HostState | undefined;

  prepare(plan: StagePlan<HostStep>): Program {
    if (plan.arenaBytes > this.arena.byteLength) this.arena = new ArrayBuffer(plan.arenaBytes);
    return new HostProgram(plan, this);
  }

  openState(types: readonly TensorType[]): HostState {
    return new HostState(this, types);
  }

  /** The packed copy of a constant, made once for each layout. */
  pack(constant: HostTensor, prepack: Prepack): TypedArray {
    const source = constant.data as TypedArray;
    let copies = this.packed.get(source);
    if (!copies) this.packed.set(source, (copies = new Map()));
    let copy = copies.get(prepack.key);
    if (!copy) {
      copy = emptyTensor(prepack.type).data as TypedArray;
      prepack.pack(source, copy);
      copies.set(prepack.key, copy);
    }
    return copy;
  }

  get bytes(): number {
    let sum = this.arena.byteLength;
    for (const copies of this.packed.values()) for (const c of copies.values()) sum += c.byteLength;
    return sum;
  }

  dispose(): void {
    this.arena = new ArrayBuffer(0);
    this.packed.clear();
  }
}

/** Arrays that grow by doubling. Programs compare `arrays` to see whether they have moved. */
class HostState implements DeviceState {
  arrays: readonly TypedArray[];
  private rows = 0;

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
    step.run(inputs, outputs, workspace);
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
    const view = (p: Place): TypedArray => {
      if (p.state !== undefined) return state!.arrays[p.state];
      return p.constant ? (p.constant.data as TypedArray) : viewOf(p.dtype, arena, p.offset!, sizeOf(p.shape));
    };
    this.inputs = this.plan.inputs.map(view);
    this.outputs = this.plan.outputs.map(view);
    this.steps = this.plan.steps.map((s) => this.bindStep(s, view));
    this.boundTo = arena;
    this.boundState = state?.arrays;
  }

  private bindStep(s: PlannedStep<HostStep>, view: (p: Place) => TypedArray): BoundStep {
    const read = (p: Place | undefined): TypedArray | undefined =>
      p && (p.prepack ? this.session.pack(p.constant!, p.prepack) : view(p));
    return {
      step: s.step,
      inputs: s.inputs.map(read) as TypedArray[],
      outputs: s.outputs.map((p) => p && view(p)) as TypedArray[],
      workspace: new Uint8Array(this.session.arena, s.workspaceOffset, s.step.workspaceBytes ?? 0),
    };
  }
}

/** A step from an operator's reference: right for every dtype, slow. */
export function referenceStep(
  op: OpDef,
  inputs: readonly (TensorType | undefined)[],
  outputs: readonly TensorType[],
  attrs: Attrs,
): HostStep | undefined {
  const { reference } = op;
  if (!reference) return undefined;
  const wrap = (t: TensorType | undefined, data: TypedArray): HostTensor => ({
    dtype: t!.dtype,
    shape: t!.shape,
    data,
  });
  return {
    run(ins, outs) {
      // References rely on zeroed outputs.
      outs.forEach((o, i) => {
        // What it changes, it is given.
        if (op.mutates && i === 0) return;
        if (isBig(outputs[i].dtype)) (o as BigInt64Array).fill(0n);
        else (o as Float32Array).fill(0);
      });
      reference(
        ins.map((data, i) => data && wrap(inputs[i], data)),
        attrs,
        outs.map((data, i) => wrap(outputs[i], data)),
      );
    },
  };
}
