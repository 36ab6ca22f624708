/**
 * The contract between wasm kernels and the linker. A kernel's step writes code: once for each plan, with addresses and
 * sizes as constants. What several steps share (a micro-kernel, exp) is a function of its own, made once by name.
 */
import type { AnyOp, AttrsOf } from "../../ops/op.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type HostStep, type Kernel, type KernelInput, kernel, type Step } from "../backend.ts";
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  i32,
  type Local,
  type ModuleBuilder,
  type Operand,
  type ParamTypes,
  type ResultType,
} from "./assembler.ts";
import type { WasmFeatures } from "./features.ts";
import type { LaidOut, LinkedStep } from "./link.ts";

/** What code is made for. */
export interface WasmTarget {
  readonly features: WasmFeatures;
  /** Threads that run every step together. */
  readonly threads: number;
  /** Work from which a run is divided among threads: see `WasmStep.work`. */
  readonly parallelWork: number;
  /** Finds steps that are one function: see layouts.ts. Missing: each is its own. */
  readonly layouts?: (steps: readonly LinkedStep[]) => LaidOut[];
}

/**
 * How a step is divided: in so many parts of equal size; or unevenly, where parts begin cheaply. Cores are rarely equally
 * fast: one shares its arithmetic with another machine's, or is of the smaller kind. Each thread then begins with three
 * quarters of its even share, and what is left goes in such quarters to whoever is first.
 */
export type Parts = number | "uneven";

/** For `size` units or more in each part. */
export const partsOf = (units: number, size: number, { threads }: Pick<WasmTarget, "threads">): Parts => {
  const each = Math.floor(units / size / threads);
  return each >= 4 ? "uneven" : threads * Math.max(1, each);
};

/** A run of units of work for one thread. */
export interface Share {
  readonly from: Operand<"i32">;
  readonly to: Operand<"i32">;
}

/** Work of so many multiply-adds in products: those of one row wait for weights, which no other row shares with them. */
export const productWork = (multiplyAdds: number, oneRow = false): number => multiplyAdds * (oneRow ? 2 : 0.4);

/** Work from which a step is divided, where runs as small as it are: handing over takes a microsecond. */
export const leastWork = ({ parallelWork }: WasmTarget): number => Math.min(parallelWork, 50_000);

/** Work from which threads that sleep are woken: that takes 10 to 40 microseconds of thread 0, and they come as late. */
export const wakingWork = ({ parallelWork }: WasmTarget): number => Math.min(parallelWork, 1_000_000);

/** What a step gets to write itself with. Addresses are byte addresses in linear memory, 64-byte aligned. */
export interface StepEmitter {
  readonly f: FunctionBuilder;
  readonly target: WasmTarget;
  /**
   * By the operator's order; 0 for a missing input or an unread output. Prepacked inputs point to the packed copy, state to
   * its entry in the state table.
   */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** For an input that is state: where it is now, and how many rows it has; of the run's first sequence, or of this one. */
  state(input: number, sequence?: Local<"i32">): { readonly at: Expr<"i32">; readonly rows: Expr<"i32"> } | undefined;
  /** The step's own workspace. With threads: shared by all of them; ask for `threads` times what one needs. */
  readonly workspace: number;
  /** This thread's number: 0 in a step that doesn't call `share`. */
  readonly thread: Operand<"i32">;
  /**
   * A part of `total` units, in multiples of `granule`: the step is called for each part, on whichever threads are free, and
   * more than once on one of them if others are late. There are as many parts as threads unless the step says otherwise. A
   * step that never calls it runs once, on thread 0. With one thread, and in a step too small to divide, the bounds are
   * constants.
   */
  share(total: number, granule?: number, parts?: Parts): Share;
  /**
   * A function of all steps, made the first time its name is asked for. Plans for other input shapes use it too: its name
   * says all that it depends on, and of that nothing grows with the shapes.
   */
  shared<P extends ParamTypes, R extends ResultType>(
    name: string,
    make: (module: ModuleBuilder) => Func<P, R>,
  ): Func<P, R>;
  /** The same for what depends on shapes: only the steps of this plan share it. */
  own: StepEmitter["shared"];
  /** The address of constant bytes, which the session has once for each name. */
  table(name: string, make: () => Uint8Array): number;
}

export interface WasmStep extends Step {
  /**
   * Roughly the tenths of a nanosecond that it takes one thread: elements times what one of them costs, or `productWork`.
   * Where it isn't said: the elements that are read and written. Small steps are not divided among threads.
   */
  readonly work?: number;
  /**
   * Types, attributes and addresses decide its code, and no values of constants: steps that agree in the first two are then
   * one function.
   */
  readonly alike?: boolean;
  emit(e: StepEmitter): void;
  /** What must be done before any part begins: on thread 0, or in parts of its own. */
  begin?(e: StepEmitter): void;
  /**
   * What that makes of the first input at the beginning of the workspace, which is as large for all that say the same: of such
   * steps side by side one begins for all. See beside.ts.
   */
  readonly begins?: string;
  /** What is left when all parts are done, on thread 0. */
  finish?(e: StepEmitter): void;
}

/** The backend runs its own steps and, on the same memory, those of the plain backend. */
export type AnyStep = WasmStep | HostStep;

export const isWasmStep = (step: AnyStep): step is WasmStep => "emit" in step;

/** For passes over a tensor in a step whose other passes are not to begin before they are done: all of it, in each part. */
export const undivided = (e: StepEmitter): StepEmitter => ({
  ...e,
  target: { ...e.target, threads: 1 },
  share: (total) => ({ from: 0, to: total }),
});

/** Kernels are made for a target: whether there is a fused multiply-add decides more than one instruction. */
export type WasmKernels = (target: WasmTarget) => readonly Kernel<WasmStep>[];

/** Binds a wasm kernel to its operator. */
export const wasmKernel = <O extends AnyOp>(
  op: O,
  name: string,
  plan: (inputs: readonly KernelInput[], outputs: readonly TensorType[], attrs: AttrsOf<O>) => WasmStep | undefined,
): Kernel<WasmStep> => kernel(op, name, plan);

/** `base + index * scale` where index may be a constant. */
export function addressOf(base: Operand<"i32">, index: Operand<"i32">, scale: number): Operand<"i32"> {
  if (typeof index === "number") {
    const bytes = index * scale;
    return typeof base === "number" ? base + bytes : bytes === 0 ? base : i32.add(base, bytes);
  }
  const scaled = scale === 1 ? index : i32.mul(index, scale);
  return base === 0 ? scaled : i32.add(scaled, base);
}
