/** What two cores of this machine are worth at the moment: what bounds every engine's two threads. */
import { Worker } from "node:worker_threads";
import { type Expr, f32x4, i32, ModuleBuilder } from "../../src/backends/wasm/assembler.ts";

export interface TwoCores {
  /** Milliseconds of a loop on one thread, and divided over two: half of that, where both cores are whole. */
  sample(): { one: number; two: number };
}

/** Milliseconds that the loop takes alone. */
const loopTime = 5;
/** Milliseconds for the system to move the thread that was woken to a core of its own. */
const settle = 100;

/** `work(rounds)`: multiplies and adds in eight registers that do not wait for each other. No memory is read. */
function loop(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.func({ name: "work", params: { rounds: "i32" }, result: "f32", export: true }, (f, { rounds }) => {
    const sums = f.locals("v128", 8);
    f.while(i32.gt_s(rounds, 0), () => {
      for (const s of sums) f.set(s, f32x4.add(f32x4.mul(s, f32x4.splat(0.5)), f32x4.splat(0.5)));
      f.increment(rounds, -1);
    });
    const all = sums.reduce<Expr<"v128">>((a, b) => f32x4.add(a, b), f32x4.splat(0));
    f.return(f32x4.extract_lane(all, 0));
  });
  return module.toBytes();
}

/** `state`: awake, the number of the latest job, the number of the latest that is done, rounds. */
const workerSource = `
const { workerData: { module, state } } = require("node:worker_threads");
const { work } = new WebAssembly.Instance(module).exports;
for (let seen = 0; ; ) {
  Atomics.wait(state, 0, 0);
  while (Atomics.load(state, 0)) {
    const job = Atomics.load(state, 1);
    if (job === seen) continue;
    work(state[3]);
    Atomics.store(state, 2, (seen = job));
  }
}
`;

export function twoCores(): TwoCores {
  const module = new WebAssembly.Module(loop());
  const { work } = new WebAssembly.Instance(module).exports as { work(rounds: number): number };
  const state = new Int32Array(new SharedArrayBuffer(16));
  const worker = new Worker(workerSource, { eval: true, workerData: { module, state } });
  worker.unref();
  const timed = (run: () => void): number => {
    const start = performance.now();
    run();
    return performance.now() - start;
  };
  const alone = (rounds: number) => () => void work(rounds);
  const together = (rounds: number) => () => {
    state[3] = rounds >> 1;
    const job = Atomics.add(state, 1, 1) + 1;
    work(rounds >> 1);
    while (Atomics.load(state, 2) !== job);
  };
  let rounds = 1 << 16;
  while (timed(alone(rounds)) < loopTime) rounds *= 2;
  return {
    sample() {
      const one = timed(alone(rounds));
      Atomics.store(state, 0, 1);
      Atomics.notify(state, 0);
      for (let spent = 0; spent < settle; ) spent += timed(together(rounds));
      const two = timed(together(rounds));
      Atomics.store(state, 0, 0);
      return { one, two };
    },
  };
}
