/** Memory that does not grow any more: what there is stays as it was. */
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import { add, compile, DeviceError, graph, kvAppend } from "../../src/index.ts";

/** Until the function that it returns is called. */
function exhaust({ memory: { memory } }: WasmSession, most = 0): () => void {
  const { grow } = memory;
  memory.grow = (pages) => {
    if (memory.buffer.byteLength / 65536 + pages > most) throw new RangeError("no more");
    return grow.call(memory, pages);
  };
  return () => {
    memory.grow = grow;
  };
}

test("a plan that finds no memory takes none from those before it", async () => {
  const model = graph(({ input }) => ({ y: add(input("x", "f32", ["n"]), input("b", "f32", ["n"])) }));
  using session = await compile(model, { device: wasm({ threads: 1 }) });
  const run = async (n: number): Promise<void> => {
    const x = Float32Array.from({ length: n }, (_, i) => i);
    expect((await session.run({ x, b: x })).y.data).toEqual(x.map((v) => 2 * v));
  };
  await run(1000);
  const { store } = session as unknown as { store: WasmSession };
  const recover = exhaust(store);
  await expect(run(1e5)).rejects.toThrow(DeviceError);
  const others = new Uint8Array(store.memory.memory.buffer, store.memory.allocate(4096), 4096).fill(7);
  await run(1000);
  expect(others.every((v) => v === 7)).toBe(true);
  recover();
  await run(1e5);
  await run(1000);
});

test("a state that finds no memory keeps its rows, and room for no more", async () => {
  const device = wasm({ threads: 1 });
  await device.load!([kvAppend.op], []);
  const store = device.open() as WasmSession;
  const state = store.openState([
    { dtype: "i32", shape: [1 << 20, 8] },
    { dtype: "i32", shape: [2, 8] },
    { dtype: "i32", shape: [1 << 20, 1000] },
  ])!;
  const all = [0, 1, 2];
  state.reserve(4);
  const before = all.map((i) => (state.view(i) as Int32Array).fill(i + 1).length);
  const end = store.memory.end;
  let recover = exhaust(store);
  for (let i = 0; i < 3; i++) {
    expect(() => state.reserve(100)).toThrow(DeviceError);
    expect(() => state.fork(100)).toThrow(DeviceError);
    expect(state.rows).toBe(4);
    expect(all.map((i) => state.view(i).length)).toEqual(before);
    expect(all.every((i) => state.view(i).every((v) => v === i + 1))).toBe(true);
  }
  // The first of the three found room.
  expect(store.memory.end).toBeLessThanOrEqual(end + 100 * 8 * 4);
  recover();
  state.reserve(100);
  expect(all.map((i) => state.view(i).length)).toEqual([800, 16, 100_000]);
  for (const i of all) {
    const view = state.view(i);
    expect(view.every((v, k) => v === (k < before[i] ? i + 1 : 0))).toBe(true);
  }
  recover = exhaust(store);
  state.dispose();
  recover();
  expect(store.memory.end).toBeLessThanOrEqual(end);
  store.dispose();
});

test("a state that can't have twice its rows gets those that are needed, and some more", async () => {
  const device = wasm({ threads: 1 });
  await device.load!([kvAppend.op], []);
  for (const apart of [false, true]) {
    const store = device.open() as WasmSession;
    // A mebibyte for 128 rows of both.
    const state = store.openState([
      { dtype: "i32", shape: [1 << 20, 1024] },
      { dtype: "i32", shape: [1 << 20, 1024] },
    ])!;
    state.reserve(1280);
    const before = [0, 1].map((i) => (state.view(i) as Int32Array).fill(i + 1).length);
    // What lies behind it, so that it can't grow where it is.
    if (apart) store.memory.allocate(64);
    // Twice as many would take 20 MiB where they are. Elsewhere the first of them finds room, the other none.
    exhaust(store, (apart ? 28 : 16) * 16);
    state.reserve(1281);
    expect(state.rows).toBe(Math.ceil(1281 * 1.125));
    expect(state.bytes).toBe(state.rows * 8192);
    for (const i of [0, 1]) {
      const view = state.view(i) as Int32Array;
      expect(view.length).toBe(state.rows * 1024);
      expect(view.every((v, k) => v === (k < before[i] ? i + 1 : 0))).toBe(true);
    }
    expect(() => state.reserve(8000)).toThrow(DeviceError);
    expect(state.rows).toBe(Math.ceil(1281 * 1.125));
    store.dispose();
  }
});
