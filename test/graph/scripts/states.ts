/**
 * States that nobody disposes, of sequences that go on beside another: prints the bytes of a session's memory after the first
 * of them and after all. THREADS for wasm.
 */
import { wasm } from "../../../src/backends/wasm/index.ts";
import { cachedAttention, compile, graph, hostTensor, kvAppend } from "../../../src/index.ts";
import { collect } from "./gc.ts";

const [width, rows] = [64, 1024];
const model = graph(({ input, state }) => {
  const position = input("position", "i32", [1]);
  const k = kvAppend(state("k", "f32", [rows, width]), input("x", "f32", [1, 1, width]), position);
  return { y: cachedAttention(input("q", "f32", [1, 1, width]), k, k, position, { heads: 1 }) };
});
const session = await compile(model, { device: wasm({ threads: Number(process.argv[2]) }) });
/** The mean of what is in the cache, after a token whose numbers are all `value`. */
const feed = async (state: ReturnType<typeof session.openState>, value: number, position: number): Promise<number> => {
  const x = hostTensor(new Float32Array(width).fill(value), { shape: [1, 1, width] });
  const q = hostTensor(new Float32Array(width), { shape: [1, 1, width] });
  const { y } = await session.run({ x, q, position: Int32Array.of(position) }, { state, rows: rows / 2 });
  return y.data[0] as number;
};

const kept = session.openState();
const measured: number[] = [];
for (let i = 0; i < 15; i++) {
  const forgotten = session.openState();
  await feed(forgotten, -1, 0);
  await feed(await forgotten.fork(1), -2, 1);
  const seen = await feed(kept, i, i);
  if (Math.abs(seen - i / 2) > 1e-4) throw new Error(`the mean of 0 to ${i} is ${seen}`);
  await collect();
  measured.push(session.bytes);
}
console.log(JSON.stringify({ early: measured[1], late: measured.at(-1) }));
