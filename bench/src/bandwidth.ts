/** How fast this machine reads memory: what bounds token-by-token decoding. */
import { Worker } from "node:worker_threads";
import { type Expr, i32, i32x4, ModuleBuilder, v128 } from "../../src/backends/wasm/assembler.ts";

const pageBytes = 65_536;
/** Larger than any cache. */
const bytes = 256 << 20;
const rounds = 5;

/** Runs that are read at once: one alone is slower, see docs/decisions/022. */
const runs = 4;

/** `read(from, to)`: adds up the vectors there, in eight sums that do not wait for each other. */
function reader(memory: { min: number; max: number; shared: boolean }): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", memory);
  module.func({ name: "read", params: { from: "i32", to: "i32" }, result: "i32", export: true }, (f, { from, to }) => {
    const part = f.let(i32.div_u(i32.sub(to, from), runs));
    const starts = [from];
    while (starts.length < runs) starts.push(f.let(i32.add(starts[starts.length - 1], part)));
    const end = f.let(starts[1]);
    const sums = f.locals("v128", 8);
    f.while(i32.lt_u(from, end), () => {
      sums.forEach((s, i) => {
        f.set(s, i32x4.add(s, v128.load(starts[i % runs], 16 * Math.floor(i / runs))));
      });
      for (const start of starts) f.increment(start, 32);
    });
    const all = sums.reduce<Expr<"v128">>((a, b) => i32x4.add(a, b), v128.const(new Uint8Array(16)));
    f.return(i32x4.extract_lane(all, 0));
  });
  return module.toBytes();
}

const workerSource = `
const { parentPort, workerData: { module, memory, part, parts, bytes, rounds } } = require("node:worker_threads");
const { read } = new WebAssembly.Instance(module, { env: { memory } }).exports;
const [from, to] = [part, part + 1].map((p) => Math.floor((bytes / 1024) * p / parts) * 1024);
for (let i = 0; i < 3; i++) read(from, to);
parentPort.postMessage("ready");
parentPort.once("message", () => {
  for (let i = 0; i < rounds; i++) read(from, to);
  parentPort.postMessage("done");
});
`;

const told = (worker: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });

/** Gigabytes a second that so many threads read together. */
export async function readBandwidth(threads: number): Promise<number> {
  const pages = bytes / pageBytes;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  // Pages that nobody wrote are all the same one.
  new Uint8Array(memory.buffer).fill(1);
  const module = new WebAssembly.Module(reader({ min: pages, max: pages, shared: true }));
  const workers = Array.from(
    { length: threads },
    (_, part) =>
      new Worker(workerSource, { eval: true, workerData: { module, memory, part, parts: threads, bytes, rounds } }),
  );
  try {
    await Promise.all(workers.map(told));
    const done = workers.map(told);
    const start = performance.now();
    for (const w of workers) w.postMessage("go");
    await Promise.all(done);
    return (bytes * rounds) / (performance.now() - start) / 1e6;
  } finally {
    await Promise.all(workers.map((w) => w.terminate()));
  }
}
