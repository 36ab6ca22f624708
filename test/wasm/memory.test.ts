import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { compile } from "../../src/api.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { LinearMemory } from "../../src/backends/wasm/memory.ts";
import { type StateHost, WasmState } from "../../src/backends/wasm/state.ts";
import { graph } from "../../src/graph/define.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { DeviceError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";

const start = new LinearMemory(false).end;

test("blocks do not overlap, and all that was released is one piece again", () =>
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1000), fc.boolean(), fc.nat(50))), (steps) => {
      const memory = new LinearMemory(false);
      const held: { at: number; bytes: number }[] = [];
      for (const [bytes, releases, which] of steps) {
        if (releases && held.length) {
          const [block] = held.splice(which % held.length, 1);
          memory.release(block.at, block.bytes);
        } else if (bytes) {
          const block = { at: memory.allocate(bytes), bytes };
          expect(block.at % 64).toBe(0);
          expect(block.at + bytes).toBeLessThanOrEqual(memory.end);
          for (const other of held)
            expect(other.at >= block.at + bytes || block.at >= other.at + other.bytes).toBe(true);
          held.push(block);
        }
      }
      const last = Math.max(start, ...held.map((b) => b.at + Math.ceil(b.bytes / 64) * 64));
      expect(memory.end).toBe(last);
      for (const block of held) memory.release(block.at, block.bytes);
      expect(memory.end).toBe(start);
    }),
  ));

test("blocks that grow side by side take little more than they are", () => {
  const memory = new LinearMemory(false);
  const count = 20;
  let size = 640;
  let blocks = Array.from({ length: count }, () => memory.allocate(size));
  for (let i = 0; i < 6; i++) {
    blocks = blocks.map((at) => {
      const larger = memory.allocate(2 * size);
      memory.release(at, size);
      return larger;
    });
    size *= 2;
  }
  expect(memory.end).toBeLessThan(1.25 * count * size);
});

const hostOf = (memory: LinearMemory): StateHost => ({ memory, active: [], stateTable: () => 0 });

test("states grow with what is in them, and without holes where nothing lies behind", () =>
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 60 })), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.boolean()), { minLength: 1, maxLength: 5 }),
      (shapes, steps) => {
        const memory = new LinearMemory(false);
        const state = new WasmState(
          hostOf(memory),
          shapes.map((shape) => ({ dtype: "i32", shape })),
        );
        let isLast = true;
        let known = shapes.map((): Int32Array => new Int32Array(0));
        for (const [rows, blocked] of steps) {
          state.reserve(rows);
          known = shapes.map((_, i) => {
            const view = state.view(i) as Int32Array;
            expect(view.subarray(0, known[i].length)).toEqual(known[i]);
            expect(view.subarray(known[i].length).every((v) => v === 0)).toBe(true);
            view.set(view.map((_, k) => 1000 * i + k + 1));
            return view.slice();
          });
          const bytes = state.blocks.reduce((sum, b) => sum + Math.ceil(b.bytes / 64) * 64, 0);
          if (isLast) expect(memory.end).toBe(start + bytes);
          if (blocked) {
            memory.allocate(64);
            isLast = false;
          }
        }
        state.dispose();
        if (isLast) expect(memory.end).toBe(start);
      },
    ),
  ));

test("memory grows once for all that a plan takes, however many weights that is", async () => {
  const grown = vi.spyOn(WebAssembly.Memory.prototype, "grow");
  try {
    const width = 512;
    const weight = () => hostTensor(new Float32Array(width * width).fill(1 / width), { shape: [width, width] });
    const model = graph((g) => {
      let x = g.input("x", "f32", [1, width]);
      for (let i = 0; i < 12; i++) x = matmul(x, g.weight(weight()));
      return { x };
    });
    using session = await compile(model, { device: wasm({ threads: 1 }) });
    const { x } = await session.run({ x: new Float32Array(width).fill(2) });
    expect(x.data).toEqual(new Float32Array(width).fill(2));
    expect(grown.mock.calls.length).toBe(1);
  } finally {
    grown.mockRestore();
  }
});

test("what memory cannot grow by at once is no error before it is allocated", () => {
  const memory = new LinearMemory(false);
  memory.expect(2 ** 33);
  expect(memory.allocate(64)).toBe(start);
});

test("where there is no memory for another session the error says what to do", () => {
  vi.spyOn(WebAssembly, "Memory").mockImplementation(() => {
    throw new RangeError("Out of memory");
  });
  try {
    expect(() => new LinearMemory(true)).toThrow(DeviceError);
    expect(() => new LinearMemory(true)).toThrow(/dispose those that are not needed.*threads: 1/);
  } finally {
    vi.restoreAllMocks();
  }
});
