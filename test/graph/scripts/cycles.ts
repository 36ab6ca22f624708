/**
 * Loads, runs and disposes a small model over and over, and prints what memory is held after a tenth of the cycles and
 * after all: DEVICE CYCLES [keep], where `keep` leaves the sessions to garbage collection. THREADS for wasm.
 */
import { readFileSync } from "node:fs";
import { type DeviceName, load, openDevice } from "../../../src/index.ts";
import { collect } from "./gc.ts";

const [name, count, how, threads = "1"] = process.argv.slice(2);
const cycles = Number(count);
const bytes = readFileSync(new URL("../../../examples/models/fraud-mlp/model.onnx", import.meta.url));
const x = new Float32Array(30).fill(0.5);
const device = await openDevice(name as DeviceName, { threads: Number(threads) });

/** Resident bytes too: workers and engines hold what no counter of V8 shows. */
async function held() {
  await collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heapUsed, external, rss };
}

let first: number | undefined;
const measured: Awaited<ReturnType<typeof held>>[] = [];
for (let i = 1; i <= cycles; i++) {
  const model = await load(bytes, { device });
  const [{ data }] = Object.values(await model.run({ [model.inputs[0].name]: x }));
  first ??= data[0] as number;
  if (data[0] !== first) throw new Error(`cycle ${i} gives ${data[0]} instead of ${first}`);
  if (how === "dispose") model.dispose();
  // Finalisers take turns of the event loop.
  else if (i % 50 === 0) await collect();
  if (i === cycles / 10 || i === cycles) measured.push(await held());
}
console.log(JSON.stringify(measured));
