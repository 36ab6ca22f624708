/**
 * Links a plan into one module. It exports `run(thread, from, to)`, which executes the steps [from, to): one call from
 * JavaScript for the whole forward pass. Every step is a function of its own, so that V8 optimises the hot ones early,
 * and profilers show them by node. Host steps are calls back into JavaScript.
 *
 * With threads, all of them run the same code; steps that are divided begin and end at a barrier, the others are run
 * by thread 0.
 */
import { type FunctionBuilder, i32, type Local, ModuleBuilder, type Operand } from "./assembler.ts";
import { emitBarrier } from "./barrier.ts";
import { type AnyStep, isWasmStep, type Share, type StepEmitter, type WasmTarget } from "./step.ts";

/** A planned step with its addresses in linear memory. */
export interface LinkedStep {
  readonly name: string;
  readonly step: AnyStep;
  readonly inputs: readonly number[];
  /** Which inputs are state: their addresses are those of entries in the state table. */
  readonly states: ReadonlySet<number>;
  readonly outputs: readonly number[];
  readonly workspace: number;
}

export interface LinkOptions extends WasmTarget {
  /** Address of the words that threads meet at; used with more than one thread. */
  readonly barrier: number;
  /** Whether thread 0 may sleep at the barrier. */
  readonly mainMayWait: boolean;
  readonly table: StepEmitter["table"];
  /** In pages of 64 KiB: must equal what the memory was made with. */
  readonly memory: { readonly min: number; readonly max?: number; readonly shared?: boolean };
}

export function link(steps: readonly LinkedStep[], options: LinkOptions): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", options.memory);
  const host = module.importFunction("env", { name: "host", params: { step: "i32" } });
  const functions = new Map<string, unknown>();
  const { table } = options;
  const shared: StepEmitter["shared"] = (name, make) => {
    if (!functions.has(name)) functions.set(name, make(module));
    return functions.get(name) as ReturnType<typeof make>;
  };
  const linked = steps.map((s) => {
    let split = false;
    const { step } = s;
    if (!isWasmStep(step)) return { split, call: undefined };
    const call = module.func({ name: s.name, params: { thread: "i32" } }, (f, { thread }) => {
      const share = (total: number, granule = 1): Share => {
        split = true;
        return shareOf(f, thread, options.threads, total, granule);
      };
      const state: StepEmitter["state"] = (i) =>
        s.states.has(i) ? { at: i32.load(s.inputs[i]), rows: i32.load(s.inputs[i], 4) } : undefined;
      step.emit({ ...s, f, target: options, thread, share, shared, state, table });
    });
    return { split, call };
  });
  const barrier = options.threads > 1 ? emitBarrier(module, { ...options, address: options.barrier }) : undefined;
  module.func(
    { name: "run", params: { thread: "i32", from: "i32", to: "i32" }, export: true },
    (f, { thread, from, to }) => {
      linked.forEach(({ split, call }, i) => {
        f.if(i32.and(i32.le_s(from, i), i32.gt_s(to, i)), () => {
          const invoke = (): void => (call ? f.call(call, { thread }) : f.call(host, { step: i }));
          if (split || !barrier) invoke();
          else f.if(i32.eqz(thread), invoke);
          // Steps of thread 0 alone follow each other without meeting.
          if (barrier && (split || linked[i + 1]?.split)) f.call(barrier, { thread });
        });
      });
      // A run ends for all at once, so that the next one finds every thread ready.
      if (barrier) f.call(barrier, { thread });
    },
  );
  return module.toBytes();
}

/** [from, to) of thread t of T: whole granules dealt out evenly. */
function shareOf(f: FunctionBuilder, thread: Local<"i32">, threads: number, total: number, granule: number): Share {
  if (threads === 1) return { from: 0, to: total };
  const granules = Math.ceil(total / granule);
  const bound = (t: Operand<"i32">) => {
    const at = i32.mul(i32.div_u(i32.mul(t, granules), threads), granule);
    const local = f.let(at);
    f.if(i32.gt_s(local, total), () => f.set(local, total));
    return local;
  };
  return { from: bound(thread), to: bound(i32.add(thread, 1)) };
}
