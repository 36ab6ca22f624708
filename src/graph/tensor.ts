/**
 * Tensors that users compute with. They are lazy: operators check shapes at once and record themselves; `data()`
 * compiles what was recorded and runs it on the tensor's device, fused like any model (docs/decisions/002).
 */

import type { Backend } from "../backends/backend.ts";
import { checkAttributes } from "../ops/attributes.ts";
import { type Attrs, checkInputs, type Executor, isHostInput, type OpDef, outputCount, type Value } from "../ops/op.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import type { DType, TensorData, TypedArray } from "../tensor/dtype.ts";
import { DisposedError, InputError } from "../tensor/errors.ts";
import { type HostTensorOptions, hostTensor, type NestedArray } from "../tensor/host-tensor.ts";
import type { Shape } from "../tensor/shape.ts";
import { type HostTensor, type HostValue, isHostTensor, type TensorType } from "../tensor/tensor.ts";
import { GraphBuilder, type SymbolicValue } from "./builder.ts";
import { drive } from "./drive.ts";
import { loadKernels, optimize } from "./passes/index.ts";
import { GraphRunner } from "./runner.ts";

/** How a tensor that isn't computed yet comes about. Its outputs are computed together. */
interface Recorded {
  readonly op: OpDef;
  readonly inputs: readonly (Tensor | undefined)[];
  readonly attrs: Attrs;
  readonly outputs: Tensor[];
}

export class Tensor implements Value {
  declare private readonly brand: "tensor";
  private disposed = false;

  /** Use `tensor()`. */
  constructor(
    readonly executor: LazyExecutor,
    private readonly type: TensorType | undefined,
    private value: HostValue | undefined,
    private recorded?: Recorded,
  ) {}

  get dtype(): DType {
    return this.typeOrThrow().dtype;
  }

  get shape(): Shape {
    return this.typeOrThrow().shape;
  }

  /** The elements; i64 as BigInt64Array, f16 as Uint16Array of bits, bool as Uint8Array. Computes them if need be. */
  async data(): Promise<TensorData> {
    return (await this.toHost()).data;
  }

  /** Computed, as `{ dtype, shape, data }`. */
  async toHost(): Promise<HostTensor> {
    this.assertUsable();
    if (this.value === undefined) await this.executor.compute(this);
    const v = this.value;
    if (!isHostTensor(v)) throw new InputError("this value is a sequence, not a tensor");
    return v;
  }

  /** Forgets the elements and the recorded operators. Later use throws DisposedError. */
  dispose(): void {
    this.disposed = true;
    this.value = undefined;
    this.recorded = undefined;
  }

  [symbolDispose](): void {
    this.dispose();
  }

  /** Known without waiting: given by the user or computed earlier. */
  get host(): HostTensor | undefined {
    return isHostTensor(this.value) ? this.value : undefined;
  }

  /** @internal */
  get source(): Recorded | undefined {
    return this.recorded;
  }

  /** @internal */
  settle(value: HostValue): void {
    this.value = value;
    this.recorded = undefined;
  }

  /** @internal */
  assertUsable(): void {
    if (this.disposed) throw new DisposedError("this tensor was disposed");
  }

  private typeOrThrow(): TensorType {
    this.assertUsable();
    const type = this.type ?? this.host;
    if (!type) throw new InputError("this tensor's shape depends on data: await its data() first");
    return type;
  }
}

/** Records operators on tensors of one device and computes them on demand. */
export class LazyExecutor implements Executor<Tensor> {
  /** @param device opened when something is first computed, if it is a function */
  constructor(private readonly device: Backend | (() => Promise<Backend>)) {}

  constant(t: HostTensor): Tensor {
    return new Tensor(this, { dtype: t.dtype, shape: t.shape }, t);
  }

  run(op: OpDef, inputs: readonly (Tensor | undefined)[], attrs: Attrs): Tensor[] {
    checkInputs(op, inputs);
    checkAttributes(op, attrs);
    for (const v of inputs) v?.assertUsable();
    const types = this.infer(op, inputs, attrs);
    // It may be computed again for another tensor that is made of it, and is to have the same elements then.
    const fixed = op.random && attrs["seed"] === undefined ? { ...attrs, seed: Math.random() * 2 ** 32 } : attrs;
    const recorded: Recorded = { op, inputs, attrs: fixed, outputs: [] };
    const n = types?.length ?? outputCount(op, attrs);
    for (let i = 0; i < n; i++) recorded.outputs.push(new Tensor(this, types?.[i], undefined, recorded));
    return recorded.outputs;
  }

  /** Computes `target` and what it is recorded from. */
  async compute(target: Tensor): Promise<void> {
    const { source } = target;
    if (!source) throw new DisposedError("this tensor was disposed");
    const builder = new GraphBuilder("lazy");
    const leaves: HostValue[] = [];
    const symbols = new Map<Tensor, SymbolicValue>();
    // A stack of our own: recorded chains can be deeper than the call stack.
    const stack: Recorded[] = [source];
    while (stack.length) {
      const r = stack[stack.length - 1];
      const open = r.inputs.filter((t) => t && !symbols.has(t) && t.source && !t.host).map((t) => t!.source!);
      if (open.length) {
        stack.push(...open);
        continue;
      }
      stack.pop();
      if (symbols.has(r.outputs[0])) continue;
      const inputs = r.inputs.map((t, i) => t && (symbols.get(t) ?? leaf(t, isHostInput(r.op, i))));
      const outputs = builder.run(r.op, inputs, r.attrs);
      r.outputs.forEach((t, i) => {
        symbols.set(t, outputs[i]);
      });
    }
    function leaf(t: Tensor, asConstant: boolean): SymbolicValue {
      const host = t.host;
      if (!host) throw new DisposedError("a tensor that this one is computed from was disposed");
      // Shapes and axes are constants to the planner; everything else is data.
      const symbol = asConstant ? builder.constant(host) : builder.input(`in${leaves.length}`, host.dtype, host.shape);
      if (!asConstant) leaves.push(host);
      symbols.set(t, symbol);
      return symbol;
    }
    source.outputs.forEach((t, i) => {
      builder.output(`out${i}`, symbols.get(t)!);
    });
    const device = typeof this.device === "function" ? await this.device() : this.device;
    const graph = optimize(builder.build());
    await loadKernels(device, graph);
    const store = device.open();
    const runner = new GraphRunner(graph, device, store);
    try {
      const values = await drive(runner.execute(leaves));
      source.outputs.forEach((t, i) => {
        t.settle(values[i] as HostValue);
      });
    } finally {
      runner.dispose();
      store.dispose();
    }
  }

  private infer(op: OpDef, inputs: readonly (Tensor | undefined)[], attrs: Attrs): TensorType[] | undefined {
    if (!op.infer) return undefined;
    const operands = inputs.map((v, i) => {
      if (!v) return undefined;
      const { dtype, shape } = v;
      if (!isHostInput(op, i)) return { dtype, shape };
      if (!v.host)
        throw new InputError(`${op.name}: the value of "${op.inputs[i]}" decides the shape: await its data() first`, {
          op: op.name,
        });
      return { dtype, shape, value: v.host };
    });
    const types = op.infer(operands, attrs);
    return Array.isArray(types) ? types : [types];
  }
}

const executors = new WeakMap<object, LazyExecutor>();

export type TensorOptions = HostTensorOptions;

/** A tensor on `device`. The public `tensor()` fills in the default device. */
export function tensorOn(
  device: Backend | (() => Promise<Backend>),
  values: NestedArray | TypedArray,
  options: TensorOptions = {},
): Tensor {
  let executor = executors.get(device);
  if (!executor) executors.set(device, (executor = new LazyExecutor(device)));
  return executor.constant(hostTensor(values, options));
}
