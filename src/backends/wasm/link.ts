/**
 * Links a plan into one module. It exports `run(thread, from, to)`, which on thread 0 executes the steps [from, to): one
 * call from JavaScript for the whole forward pass. Every step is a function, so that V8 optimises the hot ones early, and
 * profilers show them by node; steps that differ in addresses only are one. Host steps are calls back into JavaScript.
 *
 * With threads, thread 0 runs the steps, and the others come to help with those that are divided: see dispatch.ts.
 */
import type { OwnBytes } from "../../tensor/dtype.ts";
import type { PlannedStep } from "../backend.ts";
import { type Expr, type Func, type FunctionBuilder, i32, type Local, ModuleBuilder, select } from "./assembler.ts";
import type { emitDispatch, PartCall } from "./dispatch.ts";
import { currentStep, maxParts } from "./dispatch-words.ts";
import type { Library } from "./library.ts";
import {
  type AnyStep,
  isWasmStep,
  leastWork,
  type Parts,
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
  /** Where there are several threads. */
  readonly emitDispatch?: typeof emitDispatch;
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
  readonly bytes: OwnBytes;
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
  const linked: { readonly index: number; readonly wakes: boolean; readonly passes: readonly Pass[][] }[] = [];
  laidOut.forEach(({ layout, addresses }, index) => {
    const { step, beside } = steps[index].planned;
    const wakes = layout.work >= wakingWork(options);
    if (!isWasmStep(step)) {
      const call: PartCall = (f) => f.call(host, { step: index });
      linked.push({ index, wakes, passes: [[], [{ parts: 0, call }], []] });
      return;
    }
    let code = emitted.get(layout);
    if (!code) {
      const names = addresses.map((_, k) => `address${k}`);
      emitted.set(layout, (code = emitStep(module, step, { layout, names, options, shared, own })));
    }
    const { names } = code;
    // Made when it is written: of many equal layers there is one after the other.
    const given = () => Object.fromEntries(names.map((name, k) => [name, addresses[k]]));
    const passes = code.passes.map((all) =>
      all.map(
        ({ parts, func }): Pass => ({
          parts,
          call: (f, thread, part) => f.call(func, { thread, part, ...given() }),
        }),
      ),
    );
    const [{ parts }] = passes[1];
    const last = linked.at(-1)?.passes;
    // Steps side by side that are divided alike are one here: threads share them as one.
    if (beside && parts > 0 && parts === last?.[1][0].parts) passes.forEach((all, i) => void last[i].push(...all));
    else linked.push({ index, wakes, passes });
  });
  const divided: PartCall[] = [];
  const runs = linked.map(({ passes: [before, all, after], ...run }) => {
    const [{ parts }] = all;
    const together: PartCall = (...args) => {
      for (const { call } of all) call(...args);
    };
    const passes = [...before, { parts, call: together }, ...after];
    return { ...run, passes: passes.map((pass) => ({ ...pass, number: pass.parts && divided.push(pass.call) - 1 })) };
  });
  const dispatch = options.emitDispatch?.(module, { ...options, address: options.dispatch }, divided);
  module.func(
    { name: "run", params: { thread: "i32", from: "i32", to: "i32" }, export: true },
    (f, { thread, from, to }) => {
      if (dispatch)
        f.if(thread, () => {
          dispatch.serve(f, thread);
          f.return();
        });
      for (const { index, wakes, passes } of runs)
        f.if(i32.and(i32.le_s(from, index), i32.gt_s(to, index)), () => {
          f.i32.store(options.dispatch, index, currentStep);
          for (const { number, parts, call } of passes)
            if (parts > 0 && dispatch) dispatch.share(f, number, parts, wakes, () => f.return());
            else call(f, 0, 0);
        });
      dispatch?.close(f);
    },
  );
  if (options.library) for (const [name, { index }] of exported) module.exportFunction(name, index);
  return { bytes: module.toBytes(), shared: exported };
}

/** Of a step: done on thread 0 where there are no parts. */
interface Pass {
  readonly parts: number;
  readonly call: PartCall;
}

interface LinkedCode {
  /** Of its parameters that are addresses. */
  readonly names: readonly string[];
  /** What comes first, the step itself, and what is left to do. */
  readonly passes: readonly (readonly { readonly parts: number; readonly func: Func<StepParams, undefined> }[])[];
}

type StepParams = { readonly thread: "i32"; readonly part: "i32" } & Readonly<Record<string, "i32">>;

interface StepCode extends Pick<StepEmitter, "shared" | "own"> {
  readonly layout: Layout;
  /** Of the parameters that are its symbolic addresses. */
  readonly names: readonly string[];
  readonly options: LinkOptions;
}

const suffixes = ["/begin", "", "/finish"];

function emitStep(module: ModuleBuilder, step: WasmStep, code: StepCode): LinkedCode {
  const { layout, names, options, shared, own } = code;
  const threads = layout.work < leastWork(options) ? 1 : options.threads;
  const addresses = Object.fromEntries(names.map((name) => [name, "i32" as const]));
  const params: StepParams = { thread: "i32", part: "i32", ...addresses };
  const write = (suffix: string, emit: ((e: StepEmitter) => void) | undefined) => {
    if (!emit) return [];
    let parts = 0;
    const func = module.func({ name: layout.name + suffix, params }, (f, { thread, part }) => {
      f.addressesFrom(2);
      const share = (total: number, granule = 1, wanted: Parts = threads): Share => {
        if (threads === 1) return { from: 0, to: total };
        const uneven = wanted === "uneven";
        const large = uneven && 2 * threads <= maxParts ? threads : 0;
        parts = large ? 2 * large : Math.min(uneven ? threads : Math.max(wanted, threads), maxParts);
        return shareOf(f, part, { pieces: large ? 4 * threads : parts, large }, total, granule);
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
    return [{ parts, func }];
  };
  const emits = [step.begin, step.emit, step.finish];
  // What is not divided is one function.
  const whole = (e: StepEmitter) => {
    for (const emit of emits) emit?.(e);
  };
  const passes = threads === 1 ? [[], write("", whole), []] : emits.map((emit, i) => write(suffixes[i], emit));
  return { names, passes };
}

/**
 * [from, to) of a part: whole granules dealt out evenly. Or unevenly: three of four pieces for each of `large` threads first,
 * which it claims from its end of the parts (see dispatch.ts), then those between them one by one, to whoever is there.
 */
function shareOf(
  f: FunctionBuilder,
  part: Local<"i32">,
  { pieces, large }: { readonly pieces: number; readonly large: number },
  total: number,
  granule: number,
): Share {
  const granules = Math.ceil(total / granule);
  const more = granules % pieces;
  const bound = (p: Expr<"i32">) => {
    const t = f.let(p);
    if (large)
      f.if(t, () => {
        const last = f.let(i32.sub(i32.mul(t, 3), 2 * large));
        f.increment(t, 2);
        f.if(i32.lt_s(t, last), () => f.set(t, last));
      });
    // The first pieces have one more. As a quotient of `t * granules` it would leave 32 bits where tensors are large.
    const before = i32.add(i32.mul(t, (granules - more) / pieces), select(t, i32.const(more), i32.lt_u(t, more)));
    const local = f.let(i32.mul(before, granule));
    f.if(i32.gt_u(local, total), () => f.set(local, total));
    return local;
  };
  return { from: bound(part), to: bound(i32.add(part, 1)) };
}
