/**
 * A barrier for a fixed number of threads in shared memory: a counter of arrivals, and a phase that the last one
 * advances. Others spin for a moment, since most steps take microseconds, then sleep. The main thread of a browser may
 * not sleep and spins on. A thread that failed sets `abort`, and everybody leaves.
 */
import { type Func, i32, type ModuleBuilder, memory } from "./assembler.ts";

// Words, by byte offset from the barrier's address.
const arrivals = 0;
const phase = 4;
const abort = 8;
export const barrierBytes = 64;

/** Why everybody leaves. */
export enum Abort {
  /** A thread crashed, or did not come. */
  Failed = 1,
  /** A kernel refused its input: an index outside of a tensor. */
  Refused = 2,
}

/** About 20 microseconds: longer than the gaps between steps that are balanced, shorter than a time slice. */
const spins = 4000;
/** Sleeps of a millisecond after which a missing thread counts as dead; rounds of spinning where thread 0 may not sleep. */
const patience = 60_000;
const patienceAwake = 3_000_000;

export interface BarrierOptions {
  readonly address: number;
  readonly threads: number;
  /** Whether thread 0 may sleep. */
  readonly mainMayWait: boolean;
}

export type BarrierFunction = Func<{ readonly thread: "i32" }, undefined>;

export function emitBarrier(module: ModuleBuilder, { address, threads, mainMayWait }: BarrierOptions): BarrierFunction {
  return module.func({ name: "barrier", params: { thread: "i32" } }, (f, { thread }) => {
    const before = f.let(i32["atomic.load"](address, phase));
    f.if(
      i32.eq(i32["atomic.rmw.add"](address, 1, arrivals), threads - 1),
      () => {
        f.i32["atomic.store"](address, 0, arrivals);
        f.i32["atomic.store"](address, i32.add(before, 1), phase);
        f.drop(memory["atomic.notify"](address, threads, phase));
      },
      () => {
        const left = f.local("i32");
        const rounds = f.local("i32");
        f.set(left, spins);
        f.block((done) => {
          f.loop((again) => {
            f.brIf(done, i32.ne(i32["atomic.load"](address, phase), before));
            f.brIf(done, i32["atomic.load"](address, abort));
            f.increment(left, -1);
            f.brIf(again, left);
            const sleep = (): void => {
              f.set(left, 1);
              f.drop(memory["atomic.wait32"](address, before, 1_000_000n, phase));
            };
            // Workers wait for as long as it takes: thread 0 may run a slow step, and tells them if it gives up.
            f.if(
              i32.eqz(thread),
              () => {
                if (mainMayWait) sleep();
                else f.set(left, spins);
                f.increment(rounds, 1);
              },
              sleep,
            );
            f.brIf(again, i32.lt_s(rounds, mainMayWait ? patience : patienceAwake));
            f.i32["atomic.store"](address, Abort.Failed, abort);
          });
        });
      },
    );
  });
}

/** What the host sees of a barrier. */
export class BarrierState {
  private readonly words: Int32Array;
  constructor(memory: WebAssembly.Memory, address: number) {
    this.words = new Int32Array(memory.buffer, address, 4);
  }
  /** Undefined while nobody has aborted. */
  get aborted(): Abort | undefined {
    return Atomics.load(this.words, abort / 4) || undefined;
  }
  abort(): void {
    Atomics.store(this.words, abort / 4, Abort.Failed);
  }
  /** Only while no thread is inside. */
  reset(): void {
    this.words.fill(0);
  }
}
