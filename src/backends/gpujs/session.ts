/**
 * Plans on two devices. Steps with kernels here run on textures; each run of other steps between them is a plan of its
 * own on the host backend. A value is in host memory, in a texture, or in both, and moves when the other side reads it.
 */
import { type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DeviceError, DisposedError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { sourceOf } from "../../tensor/weight.ts";
import {
  type Backend,
  Copies,
  type DeviceSession,
  type DeviceState,
  type Place,
  type PlannedStep,
  type Program,
  type RunControl,
  type StagePlan,
} from "../backend.ts";
import { type GpuStep, isGpuStep } from "./code.ts";
import type { GpuContext, Texture } from "./gpu.ts";

export class GpujsSession implements DeviceSession {
  /** Weights, by whose elements they are. */
  private readonly weights = new Copies<Texture>();
  private weightBytes = 0;
  private opened: DeviceSession | undefined;
  private disposed = false;

  constructor(
    readonly context: GpuContext,
    private readonly hostBackend: Backend,
  ) {}

  /** Opened when something runs there: its memory takes a share of the address space. */
  get host(): DeviceSession {
    return (this.opened ??= this.hostBackend.open());
  }

  async prepare(plan: StagePlan): Promise<Program> {
    const program = await GpujsProgram.make(plan, this);
    if (!this.disposed) return program;
    // While the host made its part.
    program.dispose();
    this.dispose();
    throw new DisposedError("this session was disposed");
  }

  openState(types: readonly TensorType[]): DeviceState {
    const state = this.host.openState?.(types);
    if (!state) throw new DeviceError("gpujs: the host backend holds no state");
    return state;
  }

  weight(constant: HostTensor): Texture {
    return this.weights.get(sourceOf(constant), "", () => {
      const data = constant.data as Float32Array;
      this.weightBytes += data.byteLength;
      return this.context.upload(data);
    });
  }

  get bytes(): number {
    return this.weightBytes + (this.opened?.bytes ?? 0);
  }

  dispose(): void {
    this.disposed = true;
    for (const t of this.weights.all()) t.delete();
    this.weights.clear();
    this.opened?.dispose();
  }
}

/** A value of a plan while it runs. */
interface Value {
  readonly type: TensorType;
  /** Exactly as many elements as the type has. */
  data?: TypedArray;
  /** Of this run. */
  texture?: Texture;
}

/** Where a pass finds one of its operands, given the results of earlier passes of its step. */
type Operand = (results: readonly Texture[]) => Texture;

interface Pass {
  readonly run: (operands: readonly Texture[]) => Texture;
  readonly operands: readonly Operand[];
}

type Stretch =
  | { readonly first: number; readonly passes: readonly Pass[]; readonly output: Value }
  | {
      readonly first: number;
      readonly count: number;
      readonly program: Program;
      readonly inputs: readonly { readonly value: Value; readonly as: TensorType }[];
      readonly outputs: readonly Value[];
    };

const isState = (p: Place | undefined): boolean => p?.state !== undefined;

class GpujsProgram implements Program {
  private stretches: Stretch[] = [];
  private inputs: Value[] = [];
  private outputs: { value?: Value; place: Place }[] = [];
  private readonly values: Value[] = [];
  /** Of the functions that passes run. */
  private readonly letGo: (() => void)[] = [];

  private constructor(private readonly session: GpujsSession) {}

  static async make(plan: StagePlan, session: GpujsSession): Promise<GpujsProgram> {
    const program = new GpujsProgram(session);
    try {
      await program.divide(plan);
    } catch (e) {
      program.dispose();
      throw e;
    }
    return program;
  }

  /** Finds stretches of steps that run on one device. */
  private async divide(plan: StagePlan): Promise<void> {
    /** By slot: the value that is there when a step is looked at. */
    const at = new Map<number, Value>();
    const define = ({ dtype, shape, slot }: Place): Value => {
      const value: Value = { type: { dtype, shape } };
      at.set(slot!, value);
      this.values.push(value);
      return value;
    };
    this.inputs = plan.inputs.map(define);
    const { steps } = plan;
    for (let i = 0; i < steps.length; ) {
      const step = steps[i];
      if (isGpuStep(step.step)) {
        const passes = this.compile(step as PlannedStep<GpuStep>, at);
        this.stretches.push({ first: i++, passes, output: define(step.outputs[0]!) });
        continue;
      }
      const first = i;
      while (i < steps.length && !isGpuStep(steps[i].step)) i++;
      await this.addHostSteps(plan, first, i, at, define);
    }
    this.outputs = plan.outputs.map((place) => ({ place, value: at.get(place.slot!) }));
  }

  private compile({ step, inputs }: PlannedStep<GpuStep>, at: ReadonlyMap<number, Value>): Pass[] {
    const { context } = this.session;
    const names = step.parameters.map(([name]) => name);
    const given = step.parameters.map(([, input]): Operand => {
      const { constant, slot } = inputs[input]!;
      if (constant) {
        const texture = this.session.weight(constant);
        return () => texture;
      }
      const value = at.get(slot!)!;
      return () => this.textureOf(value);
    });
    return step.passes.map(({ body, count }, i) => {
      const earlier = Array.from({ length: i }, (_, p): [string, Operand] => [`pass${p}`, (results) => results[p]]);
      const all: [string, Operand][] = [...names.map((name, k): [string, Operand] => [name, given[k]]), ...earlier];
      // Parameters that nobody reads would be textures for nothing.
      const used = all.filter(([name]) => new RegExp(`\\b${name}\\b`).test(body));
      const source = `function (${used.map(([name]) => name).join(", ")}) { ${body} }`;
      const { run, letGo } = context.compile(source, count);
      this.letGo.push(letGo);
      return { run, operands: used.map(([, operand]) => operand) };
    });
  }

  /** Steps [first, end) as a plan of the host's, with what they read from before and what is read after them. */
  private async addHostSteps(
    plan: StagePlan,
    first: number,
    end: number,
    at: ReadonlyMap<number, Value>,
    define: (p: Place) => Value,
  ): Promise<void> {
    const steps = plan.steps.slice(first, end);
    const before = new Map<number, Place>();
    const made = new Map<number, Place>();
    const inMemory = (p: Place | undefined): p is Place => p !== undefined && !p.constant && !isState(p);
    for (const { inputs, outputs } of steps) {
      for (const p of inputs) if (inMemory(p) && !made.has(p.slot!) && sizeOf(p.shape)) before.set(p.slot!, p);
      for (const p of outputs) if (inMemory(p)) made.set(p.slot!, p);
    }
    const later = [...plan.steps.slice(end).flatMap((s) => s.inputs), ...plan.outputs].filter(inMemory);
    const after = [...made.values()].filter((p) => later.some((l) => l.slot === p.slot));
    const inputs = [...before.values()];
    const { arenaBytes } = plan;
    const program = await this.session.host.prepare({ steps, inputs, outputs: after, arenaBytes });
    const values = inputs.map((as) => ({ value: at.get(as.slot!)!, as }));
    this.stretches.push({ first, count: end - first, program, inputs: values, outputs: after.map(define) });
  }

  *run(inputs: readonly HostTensor[], control?: RunControl): Generator<Promise<unknown> | undefined, HostTensor[]> {
    const { context } = this.session;
    context.assertAlive();
    this.inputs.forEach((value, i) => {
      value.data = inputs[i].data as TypedArray;
      value.texture = undefined;
    });
    try {
      for (const stretch of this.stretches) {
        if (control && stretch.first > 0) yield undefined;
        const start = performance.now();
        if ("passes" in stretch) {
          this.runPasses(stretch.passes, stretch.output);
          if (!control?.times) continue;
          yield context.finished();
          control.times[stretch.first] = performance.now() - start;
        } else yield* this.runOnHost(stretch, control);
      }
      const results: HostTensor[] = [];
      for (const { value, place } of this.outputs) {
        const { dtype, shape } = place;
        const data = value ? yield* this.dataOf(value, place) : (place.constant!.data as TypedArray);
        results.push({ dtype, shape, data: data.slice() });
      }
      return results;
    } finally {
      this.release();
    }
  }

  private runPasses(passes: readonly Pass[], output: Value): void {
    const results: Texture[] = [];
    for (const { run, operands } of passes) results.push(run(operands.map((operand) => operand(results))));
    output.texture = results.pop();
    for (const t of results) t.delete();
    output.data = undefined;
  }

  private *runOnHost(
    { first, count, program, inputs, outputs }: Extract<Stretch, { program: Program }>,
    control: RunControl | undefined,
  ): Generator<Promise<unknown> | undefined, void> {
    const given: HostTensor[] = [];
    for (const { value, as } of inputs)
      given.push({ dtype: as.dtype, shape: as.shape, data: yield* this.dataOf(value, as) });
    const times = control?.times?.subarray(first, first + count);
    const results = yield* program.run(given, control && { times });
    outputs.forEach((value, i) => {
      value.data = results[i].data as TypedArray;
      value.texture = undefined;
    });
  }

  private textureOf(value: Value): Texture {
    return (value.texture ??= this.session.context.upload(value.data as Float32Array));
  }

  private *dataOf(value: Value, as: TensorType): Generator<Promise<unknown>, TypedArray> {
    if (!value.data) {
      let read: Float32Array | undefined;
      yield this.session.context.read(value.texture!, sizeOf(value.type.shape)).then((data) => {
        read = data;
      });
      value.data = read!;
    }
    const { data } = value;
    if (as.dtype === value.type.dtype) return data;
    return viewOf(as.dtype, data.buffer as ArrayBuffer, data.byteOffset, sizeOf(as.shape));
  }

  private release(): void {
    for (const value of this.values) {
      value.texture?.delete();
      value.texture = undefined;
      value.data = undefined;
    }
  }

  dispose(): void {
    for (const stretch of this.stretches) if ("program" in stretch) stretch.program.dispose();
    this.stretches = [];
    for (const letGo of this.letGo.splice(0)) letGo();
  }
}
