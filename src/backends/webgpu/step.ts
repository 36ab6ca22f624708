/**
 * The contract between webgpu kernels and the program: a kernel's step is one or more dispatches, each a shader generated
 * for these very shapes and what its variables are bound to. Sizes and strides are constants of the shader.
 */
import type { AnyOp, AttrsOf } from "../../ops/op.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { type HostStep, type Kernel, type KernelInput, kernel, type PlannedStep, type Step } from "../backend.ts";
import type { Elementwise } from "./elementwise.ts";
import type { GpuTarget } from "./target.ts";

/** What a variable of a shader is bound to: an operand by its number, or memory or tables of the step's own. */
export type Source =
  | { readonly input: number }
  | { readonly output: number }
  | { readonly scratch: number }
  | { readonly table: number };

export interface Binding {
  readonly name: string;
  /** Element of the array: `f32`, `vec4f`, `u32`, ... */
  readonly type: string;
  /**
   * `write` may read too. One buffer can't be read by one variable and written by another in one dispatch: state that a
   * step changes is bound once, as an input to `write`.
   */
  readonly access: "read" | "write";
  readonly source: Source;
  /** Part of the buffer, in bytes: offsets are multiples of 256. Default: all of it. */
  readonly range?: { readonly offset: number; readonly bytes: number };
}

export interface Dispatch {
  readonly bindings: readonly Binding[];
  /** WGSL without the bindings, which are declared before it. The entry point is `main`. */
  readonly code: string;
  readonly workgroups: readonly [number, number, number];
  /** Left out where output 0 is state, which the step changes in place. */
  readonly unlessState?: boolean;
}

export interface GpuStep extends Step {
  readonly run: readonly Dispatch[];
  /** Bytes of each block of memory that lives as long as the step. */
  readonly scratch?: readonly number[];
  /** What is worked out on the host and read by shaders as it is. */
  readonly tables?: readonly HostTensor[];
  /** Set where the step computes each element from elements at the same place: such steps are joined. */
  readonly elementwise?: Elementwise;
  /** Set where what comes before may be computed where it is read. */
  readonly absorb?: Absorb;
  /** A single dispatch of `perElement` or `perGroup` that may share one with others that don't depend on it. */
  readonly joins?: boolean;
}

/** With a fallback to the host, some steps run there. */
export type AnyStep = GpuStep | HostStep;

/** What `after` becomes that does the work of `before` too, whose only result is in `slot`. Undefined: it can't. */
export type Absorb = (
  before: PlannedStep<AnyStep>,
  after: PlannedStep<AnyStep>,
  slot: number,
) => Pick<PlannedStep<AnyStep>, "step" | "inputs"> | undefined;

export const isGpuStep = (step: AnyStep): step is GpuStep => Array.isArray(step.run);

/** Kernels are made for a target: f16, subgroups and limits decide which variants there are. */
export type GpuKernels = (target: GpuTarget) => readonly Kernel<GpuStep>[];

/** Binds a kernel to its operator. */
export const gpuKernel = <O extends AnyOp>(
  op: O,
  name: string,
  plan: (inputs: readonly KernelInput[], outputs: readonly TensorType[], attrs: AttrsOf<O>) => GpuStep | undefined,
): Kernel<GpuStep> =>
  kernel(op, name, (inputs, outputs, attrs) => {
    // Sizes divide in shaders: where there is nothing to compute there is none.
    if (outputs.every((y) => !y || sizeOf(y.shape) === 0)) return { run: [], dispatches: 0 };
    const step = plan(inputs, outputs, attrs);
    return step && { dispatches: step.run.length, ...step };
  });
