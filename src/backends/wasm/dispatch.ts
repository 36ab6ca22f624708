/**
 * How threads share a step: thread 0 opens it in parts, every thread claims parts until none is left, and thread 0 waits
 * for those that others have claimed. Nobody waits for a thread that is late: on a busy machine a worker may not run for
 * milliseconds, and its parts are done by the others meanwhile. Thread 0 claims the first parts and workers the last: what
 * a step reads is then, mostly, what the same thread wrote a step before, and still in its cache.
 *
 * The ticket is one word of 64 bits: which step it is, its parts, how many are claimed from either end, and a number that every
 * opening advances. A claim compares and exchanges the whole word, so it is always of the step that was read. What a thread
 * writes and another one reads passes from core to core, a quarter of a microsecond on some machines, and a step of a
 * language model takes some twenty: opening is one store, which claims thread 0's first part, and only workers count what they did.
 *
 * Loaded with the first worker: many pages have none.
 */
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  i32,
  i64,
  type Local,
  type ModuleBuilder,
  memory,
  type Operand,
} from "./assembler.ts";
import {
  closed,
  countBits,
  countMask,
  done,
  doneBefore,
  Failure,
  failed,
  open,
  program,
  sleepers,
  stepBits,
  ticket,
  waiting,
} from "./dispatch-words.ts";

/**
 * Looks at a word before a thread sleeps: about 60 microseconds, as a fence between two looks takes some 15 nanoseconds and
 * leaves the core to its other half. Less pays off rarely: waking it costs the other thread half of that.
 */
const spins = 4_000;
/** Sleeps of a millisecond after which a missing part counts as lost; rounds of spinning where thread 0 may not sleep. */
const patience = 60_000;
const patienceAwake = 1_000_000;

/** Where the parts, the step and the number of an opening are in a ticket. */
const [partsAt, stepAt, numberAt] = [2 * countBits, 3 * countBits, 3 * countBits + stepBits].map(BigInt);

export interface DispatchOptions {
  /** Of the words. */
  readonly address: number;
  readonly threads: number;
  /** Whether thread 0 may sleep. */
  readonly mainMayWait: boolean;
  /** Tells this module from others on the same memory. */
  readonly program: number;
}

/** Calls what is open for one of its parts. */
export type PartCall = (f: FunctionBuilder, thread: Operand<"i32">, part: Operand<"i32">) => void;

export interface Dispatch {
  /**
   * Thread 0: runs the parts of number `index` with whoever comes. Leaves when a part failed.
   * @param wakes whether it is worth waking threads that sleep
   */
  share(f: FunctionBuilder, index: number, parts: number, wakes: boolean, leave: () => void): void;
  /** Thread 0: sends workers back to where they wait for a run. */
  close(f: FunctionBuilder): void;
  /** Other threads: claim parts of whatever is open, until it is closed. */
  serve(f: FunctionBuilder, thread: Expr<"i32">): void;
}

/** @param calls what is divided, by number */
export function emitDispatch(module: ModuleBuilder, options: DispatchOptions, calls: readonly PartCall[]): Dispatch {
  const { address, threads } = options;
  const load = (word: number) => i32["atomic.load"](address, word);
  const wake = (f: FunctionBuilder, word: number) => f.drop(memory["atomic.notify"](address, threads, word));
  const loadTicket = () => i64["atomic.load"](address, ticket);
  const count = (ticket: Local<"i64">, which: number) =>
    i32.and(i32.shr_u(i32.wrap_i64(ticket), which * countBits), countMask);
  const byThread0 = (ticket: Local<"i64">) => count(ticket, 0);
  const byWorkers = (ticket: Local<"i64">) => count(ticket, 1);
  const partsOf = (ticket: Local<"i64">) => count(ticket, 2);
  const isLeft = (ticket: Local<"i64">) => i32.lt_u(i32.add(byThread0(ticket), byWorkers(ticket)), partsOf(ticket));
  /** Whether the ticket was no longer as `seen`. */
  const claimFailed = (seen: Local<"i64">, one: number) =>
    i64.ne(i64["atomic.rmw.cmpxchg"](address, seen, i64.add(seen, BigInt(one)), ticket), seen);

  const runPart = module.func(
    { name: "dispatch/part", params: { index: "i32", thread: "i32", part: "i32" } },
    (f, { index, thread, part }) => select(f, index, calls, 0, (call) => call(f, thread, part)),
  );
  const settle = emitSettle(module, options);

  const share = module.func(
    { name: "dispatch/share", params: { index: "i32", parts: "i32", wakes: "i32" } },
    (f, { index, parts, wakes }) => {
      const seen = f.local("i64");
      const what = i64.extend_i32_u(i32.or(i32.shl(index, countBits), parts));
      const number = i64.add(i64.shr_u(loadTicket(), numberAt), 1n);
      f.i32.store(address, 1, open);
      f.set(seen, i64.or(i64.shl(number, numberAt), i64.shl(what, partsAt)));
      f.i64["atomic.store"](address, i64.or(seen, 1n), ticket);
      f.if(wakes, () => f.if(load(sleepers), () => wake(f, ticket)));
      f.loop((again) => {
        f.call(runPart, { index, thread: 0, part: byThread0(seen) });
        f.loop((claim) => {
          f.set(seen, loadTicket());
          f.if(isLeft(seen), () => {
            f.brIf(claim, claimFailed(seen, 1));
            f.br(again);
          });
        });
      });
      const all = f.let(i32.add(i32.load(address, doneBefore), byWorkers(seen)));
      f.call(settle, { all });
      f.if(load(failed), () => f.return());
      f.i32.store(address, all, doneBefore);
      f.i32.store(address, 0, open);
    },
  );

  return {
    share(f, index, parts, wakes, leave) {
      f.call(share, { index, parts, wakes: wakes ? 1 : 0 });
      f.if(load(failed), leave);
    },
    close(f) {
      f.drop(i64["atomic.rmw.or"](address, BigInt(closed), ticket));
      f.if(load(sleepers), () => wake(f, ticket));
    },
    serve(f, thread) {
      const seen = f.local("i64");
      const left = f.local("i32");
      f.block((leave) => {
        f.loop((again) => {
          f.set(seen, loadTicket());
          f.brIf(leave, i32.eq(i32.and(i32.wrap_i64(seen), closed), closed));
          f.brIf(leave, i32.ne(load(program), options.program));
          f.if(isLeft(seen), () => {
            f.brIf(again, claimFailed(seen, 1 << countBits));
            const index = i32.and(i32.wrap_i64(i64.shr_u(seen, stepAt)), (1 << stepBits) - 1);
            const part = i32.sub(i32.sub(partsOf(seen), 1), byWorkers(seen));
            f.call(runPart, { index, thread, part });
            f.drop(i32["atomic.rmw.add"](address, 1, done));
            f.if(load(waiting), () => wake(f, done));
            f.br(again);
          });
          f.set(left, spins);
          f.loop((spin) => {
            f.brIf(again, i64.ne(loadTicket(), seen));
            f.atomic.fence();
            f.increment(left, -1);
            f.brIf(spin, left);
          });
          f.drop(i32["atomic.rmw.add"](address, 1, sleepers));
          f.drop(memory["atomic.wait64"](address, seen, -1n, ticket));
          f.drop(i32["atomic.rmw.sub"](address, 1, sleepers));
          f.br(again);
        });
      });
    },
  };
}

/** Thread 0 waits until workers have done as many parts as they had claimed, `all` with those before, or one has failed. */
function emitSettle(
  module: ModuleBuilder,
  { address, mainMayWait }: DispatchOptions,
): Func<{ readonly all: "i32" }, undefined> {
  const load = (word: number) => i32["atomic.load"](address, word);
  return module.func({ name: "dispatch/settle", params: { all: "i32" } }, (f, { all }) => {
    const [left, rounds, seen] = f.locals("i32", 3);
    f.set(left, spins);
    f.loop((again) => {
      f.set(seen, load(done));
      f.if(i32.or(i32.eq(seen, all), load(failed)), () => f.return());
      f.atomic.fence();
      f.increment(left, -1);
      f.brIf(again, left);
      f.set(left, mainMayWait ? 1 : spins);
      if (mainMayWait) {
        f.i32["atomic.store"](address, 1, waiting);
        f.drop(memory["atomic.wait32"](address, seen, 1_000_000n, done));
        f.i32["atomic.store"](address, 0, waiting);
      }
      f.increment(rounds, 1);
      f.brIf(again, i32.lt_s(rounds, mainMayWait ? patience : patienceAwake));
    });
    f.i32["atomic.store"](address, Failure.Crashed, failed);
  });
}

/** Finds what is open by halves: there may be hundreds. */
function select(
  f: FunctionBuilder,
  index: Expr<"i32">,
  calls: readonly PartCall[],
  first: number,
  then: (call: PartCall) => void,
): void {
  if (calls.length <= 1) {
    for (const call of calls) then(call);
    return;
  }
  const middle = calls.length >> 1;
  f.if(
    i32.lt_s(index, first + middle),
    () => select(f, index, calls.slice(0, middle), first, then),
    () => select(f, index, calls.slice(middle), first + middle, then),
  );
}

/** JavaScript for workers: `words` are the dispatch words of a part that threw `e`. */
export const partFailed = `
  const failed = /unreachable/i.test(e.message) ? ${Failure.Refused} : ${Failure.Crashed};
  Atomics.store(words, ${failed / 4}, failed);
  Atomics.add(words, ${done / 4}, 1);
  Atomics.notify(words, ${done / 4});
`;
