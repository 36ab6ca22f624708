/** Threaded sessions that nobody disposes. `leave`: the process should end by itself. `drop`: memory should come back. */
import { wasm } from "../../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../../src/backends/wasm/session.ts";
import { compile, graph, hostTensor, matmul } from "../../../src/index.ts";
import { collect } from "./gc.ts";

const size = 512;
const device = wasm({ threads: 2, parallelWork: 0 });
const w = new Float32Array(size * size).fill(1);
const model = graph(({ input, weight }) => ({
  y: matmul(input("x", "f32", [8, size]), weight(hostTensor(w, { shape: [size, size] }))),
}));

async function use(): Promise<void> {
  const session = await compile(model, { device });
  for (let i = 0; i < 3; i++) {
    const { y } = await session.run({ x: new Float32Array(8 * size).fill(1) });
    if (y.data[0] !== size) throw new Error(`got ${y.data[0]}`);
    // Workers start between runs.
    await holder.pool!.ready();
  }
}

// Workers don't keep a process alive, not even while it waits for them.
const alive = setInterval(() => {}, 1000);
await device.load!([], []);
let holder = device.open() as WasmSession;
const { pool } = holder;
await use();
if (!pool!.started) throw new Error("no worker has started");
if (process.argv[2] === "leave") console.log("done");
else {
  const measured: number[] = [];
  for (let i = 1; i <= 80; i++) {
    await use();
    if (i % 5 === 0) await collect();
    if (i === 20 || i === 80) measured.push(process.memoryUsage().rss);
  }
  holder = undefined as never;
  await collect();
  console.log(JSON.stringify({ early: measured[0], late: measured[1], workers: pool!.started }));
}
clearInterval(alive);
