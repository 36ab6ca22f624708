/**
 * Links a plan into one module. It exports `run(thread, from, to)`, which on thread 0 executes the steps [from, to): one
 * call from JavaScript for the whole forward pass. Every step is a function, so that V8 optimises the hot ones early, and
 * profilers show them by node; steps that differ in addresses only are one. Host steps are calls back into JavaScript.
 *
 * With threads, thread 0 runs the steps, and the others come to help with those that are divided: see dispatch.ts.
 */
import type { PlannedStep } from "../backend.ts";
import { type Expr, type Func, type FunctionBuilder, i32, type Local, ModuleBuilder, select } from "./assembler.ts";
import { currentStep, emitDispatch, maxParts, type PartCall } from "./dispatch.ts";
import type { Library } from "./library.ts";
import {
  type AnyStep,
  isWasmStep,
  leastWork,
  type Share,
  type StepEmitter,
  type WasmStep,
  type WasmTarget,
  wakingWork,
} from "./step.ts";

/** What a step's code is written with. */
export interface Layout {
  readonly name: string;
  readonly work: number;
  /** Which inputs are state: their addresses are those of entries in the state table. */
  readonly states: ReadonlySet<number>;
  /** In linear memory, or symbolic: see `symbolicAddress`. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly workspace: number;
}

/** A planned step with its addresses in linear memory. */
export interface LinkedStep extends Layout {
  readonly planned: PlannedStep<AnyStep>;
}

/** A step's layout, and the addresses that it gives for the symbolic ones in it. Steps of one layout are one function. */
export interface LaidOut {
  readonly layout: Layout;
  readonly addresses: readonly number[];
}

export interface LinkOptions extends WasmTarget {
  /** Address of the words that tell the step under way, and by which threads share steps. */
  readonly dispatch: number;
  /** Tells this module from others on the same memory. */
  readonly program: number;
  /** Whether thread 0 may sleep. */
  readonly mainMayWait: boolean;
  readonly table: StepEmitter["table"];
  /** Address of the table of the active states, and bytes from the entries of one sequence to those of the next. */
  readonly stateTable: number;
  readonly stateBytes: number;
  /** What the module imports of the functions that it shares with others. */
  readonly library?: Library;
  /** In pages of 64 KiB: must equal what the memory was made with. */
  readonly memory: { readonly min: number; readonly max?: number; readonly shared?: boolean };
}

export interface Linked {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Shared functions that it exports. */
  readonly shared: ReadonlyMap<string, Func>;
}

export function link(steps: readonly LinkedStep[], options: LinkOptions): Linked {
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", options.memory);
  const host = module.importFunction("env", { name: "host", params: { step: "i32" } });
  const imported = options.library?.importInto(module);
  const functions = new Map<string, Func>();
  const exported = new Map<string, Func>();
  const own: StepEmitter["own"] = (name, make) => {
    if (!functions.has(name)) functions.set(name, make(module));
    return functions.get(name) as ReturnType<typeof make>;
  };
  const shared: StepEmitter["shared"] = (name, make) => {
    const known = imported?.get(name);
    if (known) return known as ReturnType<typeof make>;
    const made = own(name, make);
    exported.set(name, made);
    return made;
  };
  const emitted = new Map<Layout, LinkedCode>();
  const laidOut = options.layouts?.(steps) ?? steps.map((layout): LaidOut => ({ layout, addresses: [] }));
  /** Steps side by side that are divided alike are one here: threads share them as one. */
  const linked: {
    readonly index: number;
    readonly parts: number;
    readonly wakes: boolean;
    readonly calls: PartCall[];
    readonly finishes: ((f: FunctionBuilder) => void)[];
  }[] = [];
  laidOut.forEach(({ layout, addresses }, index) => {
    const { step, beside } = steps[index].planned;
    const wakes = layout.work >= wakingWork(options);
    if (!isWasmStep(step)) {
      linked.push({ index, parts: 0, wakes, finishes: [], calls: [(f) => f.call(host, { step: index })] });
      return;
    }
    let code = emitted.get(layout);
    if (!code) {
      const names = addresses.map((_, k) => `address${k}`);
      emitted.set(layout, (code = emitStep(module, step, { layout, names, options, shared, own })));
    }
    const { func, names, parts, finish } = code;
    // Made when it is written: of many equal layers there is one after the other.
    const given = () => Object.fromEntries(names.map((name, k) => [name, addresses[k]]));
    const call: PartCall = (f, thread, part) => f.call(func, { thread, part, ...given() });
    const finishes = finish ? [(f: FunctionBuilder) => f.call(finish, { thread: 0, part: 0, ...given() })] : [];
    const before = linked.at(-1);
    if (beside && parts > 0 && parts === before?.parts) {
      before.calls.push(call);
      before.finishes.push(...finishes);
    } else linked.push({ index, parts, wakes, finishes, calls: [call] });
  });
  const callAll =
    (calls: readonly PartCall[]): PartCall =>
    (...args) => {
      for (const call of calls) call(...args);
    };
  const divided = linked.flatMap(({ index, parts, calls }): [number, PartCall][] =>
    parts > 0 ? [[index, callAll(calls)]] : [],
  );
  const dispatch =
    options.threads > 1 ? emitDispatch(module, { ...options, address: options.dispatch }, divided) : undefined;
  module.func(
    { name: "run", params: { thread: "i32", from: "i32", to: "i32" }, export: true },
    (f, { thread, from, to }) => {
      if (dispatch)
        f.if(thread, () => {
          dispatch.serve(f, thread);
          f.return();
        });
      for (const { index, parts, wakes, calls, finishes } of linked)
        f.if(i32.and(i32.le_s(from, index), i32.gt_s(to, index)), () => {
          f.i32.store(options.dispatch, index, currentStep);
          if (parts > 0 && dispatch) dispatch.share(f, index, parts, wakes, () => f.return());
          else callAll(calls)(f, 0, 0);
          for (const finish of finishes) finish(f);
        });
      dispatch?.close(f);
    },
  );
  if (options.library) for (const [name, { index }] of exported) module.exportFunction(name, index);
  return { bytes: module.toBytes(), shared: exported };
}

interface LinkedCode {
  readonly func: Func<StepParams, undefined>;
  /** Of its parameters that are addresses. */
  readonly names: readonly string[];
  /** 0: it is not divided. */
  readonly parts: number;
  readonly finish?: Func<StepParams, undefined>;
}

type StepParams = { readonly thread: "i32"; readonly part: "i32" } & Readonly<Record<string, "i32">>;

interface StepCode extends Pick<StepEmitter, "shared" | "own"> {
  readonly layout: Layout;
  /** Of the parameters that are its symbolic addresses. */
  readonly names: readonly string[];
  readonly options: LinkOptions;
}

function emitStep(module: ModuleBuilder, step: WasmStep, code: StepCode): LinkedCode {
  const { layout, names, options, shared, own } = code;
  const threads = layout.work < leastWork(options) ? 1 : options.threads;
  let parts = 0;
  const addresses = Object.fromEntries(names.map((name) => [name, "i32" as const]));
  const params: StepParams = { thread: "i32", part: "i32", ...addresses };
  const write = (name: string, emit: (e: StepEmitter) => void) =>
    module.func({ name, params }, (f, { thread, part }) => {
      f.addressesFrom(2);
      const share = (total: number, granule = 1, most = threads): Share => {
        if (threads === 1) return { from: 0, to: total };
        parts = Math.min(Math.max(most, threads), maxParts);
        return shareOf(f, part, parts, total, granule);
      };
      const state: StepEmitter["state"] = (i, sequence) => {
        if (!layout.states.has(i)) return undefined;
        const at = layout.inputs[i];
        const entry = sequence ? i32.add(i32.mul(sequence, options.stateBytes), at) : at;
        if (sequence) f.if(i32.ge_u(sequence, i32.load(options.stateTable)), () => f.unreachable());
        return { at: i32.load(entry), rows: i32.load(entry, 4) };
      };
      const { table } = options;
      const target = { ...options, threads };
      emit({ ...layout, f, target, thread: threads === 1 ? 0 : thread, share, shared, own, table, state });
    });
  const func = write(layout.name, (e) => step.emit(e));
  const finish = step.finish && write(`${layout.name}/finish`, (e) => step.finish!(e));
  return { func, names, parts, finish };
}

/** [from, to) of a part: whole granules dealt out evenly. */
function shareOf(f: FunctionBuilder, part: Local<"i32">, parts: number, total: number, granule: number): Share {
  const granules = Math.ceil(total / granule);
  const more = granules % parts;
  const bound = (t: Expr<"i32">) => {
    // The first parts have one more. As a quotient of `t * granules` it would leave 32 bits where tensors are large.
    const before = i32.add(i32.mul(t, (granules - more) / parts), select(t, i32.const(more), i32.lt_u(t, more)));
    const local = f.let(i32.mul(before, granule));
    f.if(i32.gt_u(local, total), () => f.set(local, total));
    return local;
  };
  return { from: bound(part), to: bound(i32.add(part, 1)) };
}
