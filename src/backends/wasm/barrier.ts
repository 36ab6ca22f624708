/**
 * A barrier for a fixed number of threads in shared memory: a counter of arrivals, and a phase that the last one
 * advances. Others spin for a moment, since most steps take microseconds, then sleep. The main thread of a browser may
 * not sleep: `canWait` (a word beside the barrier, set by the host) is 0 there and it spins on.
 *
 * Words: +0 arrivals, +4 phase, +8 abort (set when a thread failed: everybody leaves), all i32.
 */
import { type Func, i32, type ModuleBuilder, memory } from "./assembler.ts";

export const barrierBytes = 64;
const arrivals = 0;
const phase = 4;
export const abortWord = 8;

/** About 20 microseconds: longer than the gaps between steps that are balanced, shorter than a time slice. */
const spins = 4000;

export function emitBarrier(
  module: ModuleBuilder,
  address: number,
  threads: number,
): Func<Record<never, never>, undefined> {
  return module.func({ name: "barrier", params: {} }, (f) => {
    const before = f.let(i32["atomic.load"](address, phase));
    f.if(
      i32.eq(i32["atomic.rmw.add"](address, 1, arrivals), threads - 1),
      () => {
        f.i32["atomic.store"](address, 0, arrivals);
        f.i32["atomic.store"](address, i32.add(before, 1), phase);
        f.drop(memory["atomic.notify"](address, threads, phase));
      },
      () => {
        const left = f.let(i32.mul(1, spins));
        f.block((done) => {
          f.loop((again) => {
            f.brIf(done, i32.ne(i32["atomic.load"](address, phase), before));
            f.brIf(done, i32["atomic.load"](address, abortWord));
            f.increment(left, -1);
            f.brIf(again, left);
            // One millisecond at most, so that an abort is seen even if nobody notifies.
            f.drop(memory["atomic.wait32"](address, before, 1_000_000n, phase));
            f.set(left, 1);
            f.br(again);
          });
        });
      },
    );
  });
}
