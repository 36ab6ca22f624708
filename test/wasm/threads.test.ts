/** What goes wrong on several threads: traps, dead workers, sessions that nobody ends. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Backend, Kernel } from "../../src/backends/backend.ts";
import { f32, i32 } from "../../src/backends/wasm/assembler.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import {
  type AnyStep,
  type Parts,
  type Share,
  type StepEmitter,
  type WasmStep,
  wasmKernel,
} from "../../src/backends/wasm/step.ts";
import { add, compile, DeviceError, graph, InputError, matmul } from "../../src/index.ts";
import { tensorFrom } from "../cases/case.ts";
import { resultOf, runScript } from "../graph/child.ts";

const size = 128;
const b = tensorFrom(1, "f32", [size, size]);

type Trap = "unreachable" | "out of bounds";

/**
 * y = x, by a kernel that traps on one of the threads, or on all, where the values of its part are above 0. No thread goes
 * on before all have a part: they count themselves in `meeting`, which is 0 when a run begins.
 */
const trappingCopy = (trap: Trap, where: number | "all") =>
  wasmKernel(add, `test/copy/${trap}`, ([x]): WasmStep => {
    const n = x.shape.reduce((p, d) => p * d, 1);
    return {
      work: 1e9,
      emit({ f, target, inputs: [at, meeting], outputs: [out], share, thread }) {
        const { from, to } = share(n);
        f.drop(i32["atomic.rmw.add"](meeting, 1));
        const left = f.let(i32.const(2 ** 30));
        f.loop((again) => {
          f.increment(left, -1);
          f.brIf(again, i32.and(i32.gt_s(left, 0), i32.lt_u(i32["atomic.load"](meeting), target.threads)));
        });
        const wanted = where === "all" ? i32.const(1) : i32.eq(thread, where);
        const first = f32.load(i32.add(i32.shl(from, 2), at));
        f.if(i32.and(f32.gt(first, 0), wanted), () => {
          if (trap === "unreachable") f.unreachable();
          else f.drop(i32.load(i32.const(-16)));
        });
        const i = f.local("i32");
        f.forRange(i, from, to, 1, () => {
          const offset = f.let(i32.shl(i, 2));
          f.i32.store(i32.add(offset, out), i32.load(i32.add(offset, at)));
        });
      },
    };
  });

/** y = x + 1 in few, many and uneven parts, by turns: short, so that steps are opened while workers look for parts. */
function increments() {
  let planned = 0;
  return wasmKernel(add, "test/increment", ([x]): WasmStep => {
    const turn = planned++ % 3;
    return {
      work: 1e9,
      emit({ f, target, inputs: [at], outputs: [out], share }) {
        const { from, to } = share(x.shape[0], 1, turn === 2 ? "uneven" : (turn ? 16 : 1) * target.threads);
        const i = f.local("i32");
        f.forRange(i, from, to, 1, () => {
          const offset = f.let(i32.shl(i, 2));
          f.f32.store(i32.add(offset, out), f32.add(f32.load(i32.add(offset, at)), 1));
        });
      },
    };
  });
}

/** y = x + 1 from a mirrored copy, which is made first, in parts or on one thread, by turns: a part reads what others wrote. */
function mirrored() {
  let planned = 0;
  return wasmKernel(add, "test/mirrored", ([x]): WasmStep => {
    const n = x.shape[0];
    const divides = planned++ % 2;
    const all = { from: 0, to: n };
    const forAll = ({ f }: StepEmitter, { from, to }: Share, [source, target]: readonly number[], more: number) => {
      const i = f.local("i32");
      f.forRange(i, from, to, 1, () => {
        const mirror = i32.shl(i32.sub(n - 1, i), 2);
        f.f32.store(i32.add(i32.shl(i, 2), target), f32.add(f32.load(i32.add(mirror, source)), more));
      });
    };
    return {
      work: 1e9,
      workspaceBytes: 4 * n,
      begin: (e) => forAll(e, divides ? e.share(n, 1, "uneven") : all, [e.inputs[0], e.workspace], 1),
      emit: (e) => forAll(e, e.share(n), [e.workspace, e.outputs[0]], 0),
    };
  });
}

/** y = how many parts are longer than their due, and the sum of all lengths, in integers; x is [0, 0], and has no `total` elements. */
const dealt = (total: number, granule: number, parts: Parts, threads: number) =>
  wasmKernel(add, `test/dealt/${total}`, (): WasmStep => {
    const [pieces, largest] = parts === "uneven" ? [4 * threads, 3] : [parts, 1];
    const most = granule * largest * Math.ceil(Math.ceil(total / granule) / pieces);
    return {
      work: 1e9,
      emit({ f, inputs: [at], share }) {
        const { from, to } = share(total, granule, parts);
        const length = f.let(i32.sub(to, from));
        f.drop(i32["atomic.rmw.add"](at, i32.gt_u(length, most)));
        f.drop(i32["atomic.rmw.add"](at, length, 4));
      },
      finish({ f, inputs: [at], outputs: [out] }) {
        f.memory.copy(out, at, 8);
      },
    };
  });

const withKernel = (device: Backend<AnyStep>, kernel: Kernel<AnyStep>): Backend<AnyStep> => ({
  name: "wasm",
  kernels: [kernel],
  kernelsFor: (op) => (op === kernel.op ? [kernel] : device.kernelsFor(op)),
  load: (ops, dtypes) => device.load!(ops, dtypes),
  open: () => device.open(),
});

describe.each([2, 3])("on %i threads", (threads) => {
  const device = wasm({ threads, parallelWork: 0 });
  let holder: WasmSession;
  beforeAll(async () => {
    await device.load!([], []);
    holder = device.open() as WasmSession;
    await holder.pool!.ready();
  });
  afterAll(() => holder.dispose());

  const product = graph(({ input }) => ({
    y: matmul(input("x", "f32", [size, size]), input("b", "f32", [size, size])),
  }));
  const model = graph(({ input }) => ({
    y: matmul(add(input("x", "f32", [size, size]), input("meeting", "f32", [1])), input("b", "f32", [size, size])),
  }));
  const meeting = Float32Array.of(0);

  const places: (number | "all")[] = [0, threads - 1, "all"];
  const kinds: [Trap, new (...a: never[]) => Error][] = [
    ["unreachable", InputError],
    ["out of bounds", DeviceError],
  ];
  for (const [trap, error] of kinds)
    for (const where of places)
      test(`a kernel that traps (${trap}, thread ${where}) is an error, and the session goes on`, async () => {
        using session = await compile(model, { device: withKernel(device, trappingCopy(trap, where)) });
        const good = tensorFrom(2, "f32", [size, size], { min: -2, max: -1 });
        const bad = tensorFrom(2, "f32", [size, size], { min: 1, max: 2 });
        let first: ArrayLike<unknown> | undefined;
        for (let i = 0; i < 20; i++) {
          await expect(session.run({ x: bad, b, meeting })).rejects.toThrow(error);
          const { y } = await session.run({ x: good, b, meeting });
          first ??= y.data;
          expect(y.data).toEqual(first);
        }
      });

  test.each([increments, mirrored])(
    "every part of every step runs once and in time, whoever comes: %o",
    async (kernel) => {
      const chain = graph(({ input }) => {
        let y = input("x", "f32", [size]);
        const one = input("one", "f32", [1]);
        for (let i = 0; i < 100; i++) y = add(y, one);
        return { y };
      });
      using session = await compile(chain, { device: withKernel(device, kernel()), optimize: false });
      const one = Float32Array.of(1);
      for (let i = 0; i < 3000; i++) {
        const x = Float32Array.from({ length: size }, (_, j) => i + j);
        expect(session.runSync({ x, one }).y.data).toEqual(x.map((v) => v + 100));
      }
    },
  );

  test.each([
    [1000, 7, 5],
    [64, 64, 63],
    [2 ** 30 + 5, 1, 63],
    [2 ** 31 - 1, 4, 32],
    [2 ** 31 - 1, 4, "uneven"],
    [1000, 7, "uneven"],
    [3, 1, "uneven"],
  ] as const)("%i units in granules of %i are dealt out to %s parts", async (total, granule, parts) => {
    const sums = graph(({ input }) => ({ y: add(input("x", "f32", [2]), input("zero", "f32", [1])) }));
    using session = await compile(sums, { device: withKernel(device, dealt(total, granule, parts, threads)) });
    const { y } = await session.run({ x: new Float32Array(2), zero: new Float32Array(1) });
    expect([...new Int32Array((y.data as Float32Array).buffer)]).toEqual([0, total]);
  });

  test("a worker that dies leaves one thread, which goes on", async () => {
    const other = wasm({ threads, parallelWork: 0 });
    using session = await compile(product, { device: other });
    const own = other.open() as WasmSession;
    await own.pool!.ready();
    const x = tensorFrom(3, "f32", [size, size]);
    const { y } = await session.run({ x, b });
    const { workers } = own.pool as unknown as { workers: { terminate(): Promise<unknown> }[] };
    await workers[0].terminate();
    expect(own.pool!.started).toBe(false);
    expect((await session.run({ x, b })).y.data).toEqual(y.data);
    own.dispose();
  });
});

describe("what is divided", () => {
  /** For how many threads the steps are written, in a program of `count` products of this size. */
  async function threadsOf(n: number, count: number): Promise<Set<number>> {
    const device = wasm({ threads: 2 });
    await device.load!([], []);
    const holder = device.open() as WasmSession;
    await holder.pool!.ready();
    const begin = vi.spyOn(holder.pool!, "begin");
    const seen = new Set<number>();
    const copies = wasmKernel(
      matmul,
      "test/copy",
      (): WasmStep => ({
        work: n ** 3 / 2,
        emit({ f, target, thread, share, inputs: [at], outputs: [out] }) {
          const { from, to } = share(n);
          const divided = typeof from !== "number";
          expect([divided, typeof thread !== "number"]).toEqual([target.threads > 1, target.threads > 1]);
          seen.add(target.threads);
          f.memory.copy(
            i32.add(i32.mul(from, 4 * n), out),
            i32.add(i32.mul(from, 4 * n), at),
            i32.mul(i32.sub(to, from), 4 * n),
          );
        },
      }),
    );
    const chain = graph(({ input }) => {
      let y = input("x", "f32", [n, n]);
      for (let i = 0; i < count; i++) y = matmul(y, y);
      return { y };
    });
    using session = await compile(chain, { device: withKernel(device, copies), optimize: false });
    const x = tensorFrom(1, "f32", [n, n]);
    expect(session.runSync({ x }).y.data).toEqual(x.data);
    expect(begin).toHaveBeenCalledTimes(seen.has(2) ? 1 : 0);
    holder.dispose();
    return seen;
  }

  test("steps of a large program", async () => {
    expect(await threadsOf(256, 1)).toEqual(new Set([2]));
    expect(await threadsOf(64, 60)).toEqual(new Set([2]));
  });

  test("no step where all are small, or all together: workers are not woken", async () => {
    expect(await threadsOf(16, 1000)).toEqual(new Set([1]));
    expect(await threadsOf(64, 20)).toEqual(new Set([1]));
  });
});

test("a process with a threaded session that nobody disposed exits by itself", async () => {
  const { code, stdout } = await runScript("threads", ["leave"]);
  expect([code, stdout]).toEqual([0, "done\n"]);
});

test("threaded sessions that nobody disposed are collected, and their workers end", async () => {
  const { early, late, workers } = await resultOf<{ early: number; late: number; workers: boolean }>("threads", "drop");
  // 60 sessions of a megabyte lie between.
  expect(late - early).toBeLessThan(20e6);
  expect(workers).toBe(false);
});
