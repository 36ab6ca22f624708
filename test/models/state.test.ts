import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import type { RunOptions, Session } from "../../src/graph/session.ts";
import { attention } from "../../src/ops/attention.ts";
import { add } from "../../src/ops/binary.ts";
import { cachedAttention } from "../../src/ops/cached-attention.ts";
import { kvAppend } from "../../src/ops/kv-append.ts";
import { DisposedError, ForwardpassError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";

const width = 8;
const heads = 2;
const rows = 64;

const caching = graph(({ input, state }) => {
  const x = input("x", "f32", [1, "tokens", width]);
  const position = input("position", "i32", [1]);
  const k = kvAppend(state("k", "f32", [rows, width]), x, position);
  const v = kvAppend(state("v", "f32", [rows, width]), add(x, x), position);
  return { y: cachedAttention(x, k, v, position, { heads }) };
});

const at = (n: number): Int32Array => Int32Array.of(n);
const slice = (x: HostTensor, from: number, to: number): HostTensor => ({
  dtype: "f32",
  shape: [1, to - from, width],
  data: (x.data as Float32Array).slice(from * width, to * width),
});

/** Causal attention over the whole text at once. */
function whole(x: HostTensor): Float32Array {
  const y = emptyTensor(x);
  const doubled = { ...x, data: (x.data as Float32Array).map((v) => 2 * v) };
  attention.op.reference!([x, x, doubled], { heads, causal: true }, [y]);
  return y.data as Float32Array;
}

async function feed(
  session: Session,
  text: HostTensor,
  chunks: readonly number[],
  state = session.openState(),
  from = 0,
) {
  const out: number[] = [];
  let position = from;
  for (const n of chunks) {
    const x = slice(text, position, position + n);
    const { y } = await session.run({ x, position: at(position) }, { state, rows: position + n });
    out.push(...(y.data as Float32Array));
    position += n;
  }
  return { out, state };
}

const close = (got: ArrayLike<number>, want: ArrayLike<number>): void => {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) expect(Math.abs(got[i] - want[i])).toBeLessThan(1e-5);
};

const devices = {
  cpu: () => cpu(),
  wasm: () => wasm({ threads: 1 }),
  "wasm, 2 threads": () => wasm({ threads: 2, parallelWork: 0 }),
};

for (const [name, open] of Object.entries(devices))
  describe(`state on ${name}`, () => {
    const text = tensorFrom(1, "f32", [1, 20, width]);
    const other = tensorFrom(2, "f32", [1, 20, width]);

    test("in any chunks, growing on the way, it is the attention of the whole", async () => {
      using session = await compile(caching, { device: open() });
      for (const chunks of [[20], Array<number>(20).fill(1), [7, 1, 1, 8, 3]])
        close((await feed(session, text, chunks)).out, whole(text));
    });

    test("sequences do not disturb each other", async () => {
      using session = await compile(caching, { device: open() });
      const [a, b] = [session.openState(), session.openState()];
      const got = await Promise.all([
        feed(session, text, Array<number>(20).fill(1), a),
        feed(session, other, Array<number>(20).fill(1), b),
      ]);
      close(got[0].out, whole(text));
      close(got[1].out, whole(other));
    });

    test("a fork begins with the same rows, and goes its own way", async () => {
      using session = await compile(caching, { device: open() });
      const { state, out } = await feed(session, text, [10, 1]);
      const fork = await state.fork(5);
      const mixed = tensorFrom(2, "f32", [1, 20, width]);
      (mixed.data as Float32Array).set((text.data as Float32Array).subarray(0, 5 * width));
      const rest = await feed(session, mixed, [5, 10], fork, 5);
      close([...out.slice(0, 5 * width), ...rest.out], whole(mixed));
      const more = await feed(session, text, [9], state, 11);
      close([...out, ...more.out], whole(text));
      fork.dispose();
    });

    test("a position set back overwrites what was there", async () => {
      using session = await compile(caching, { device: open() });
      const { state } = await feed(session, other, [20]);
      close((await feed(session, text, [6, 14], state)).out, whole(text));
    });

    test("misuse is told", async () => {
      using session = await compile(caching, { device: open() });
      await expect(session.run({ x: text, position: at(0) })).rejects.toThrow(InputError);
      const state = session.openState();
      await expect(session.run({ x: text, position: at(-1) }, { state, rows: 20 })).rejects.toThrow(Error);
      await expect(session.run({ x: text, position: at(50) }, { state, rows: 70 })).rejects.toThrow(Error);
      close((await feed(session, text, [20], state)).out, whole(text));
      state.dispose();
      await expect(session.run({ x: text, position: at(0) }, { state })).rejects.toThrow(DisposedError);
    });

    test("what is no state of the session, or no number of rows, is refused before anything changes", async () => {
      using session = await compile(caching, { device: open() });
      using stranger = await compile(caching, { device: open() });
      const { state, out } = await feed(session, text, [10]);
      const [foreign, fresh] = [stranger.openState(), session.openState()];
      const run = (options: unknown) => session.run({ x: other, position: at(0) }, options as RunOptions);
      for (const wrong of [foreign, [foreign], {}, "x", 5, [null], [{}], [state, foreign]])
        await expect(run({ state: wrong, rows: 20 })).rejects.toThrow(ForwardpassError);
      expect(() => session.runSync({ x: other, position: at(0) }, { state: foreign, rows: 20 })).toThrow(InputError);
      await expect(run({ state: [fresh, fresh], rows: 20 })).rejects.toThrow(ForwardpassError);
      for (const rows of [null, Number.NaN, "8", 2.5, -1, Infinity, [6, 7], [], [null], new Array(1)])
        await expect(run({ state: fresh, rows }), String(rows)).rejects.toThrow(InputError);
      for (const rows of [-1, Number.NaN, 1.5, "3", undefined])
        await expect(state.fork(rows as number)).rejects.toThrow(InputError);
      expect([foreign.bytes, fresh.bytes]).toEqual([0, 0]);
      close([...out, ...(await feed(session, text, [10], state, 10)).out], whole(text));
    });

    test("a fork of no rows is like a new one", async () => {
      using session = await compile(caching, { device: open() });
      const { state } = await feed(session, other, [10]);
      close((await feed(session, text, [20], await state.fork(0))).out, whole(text));
      close((await feed(session, text, [20], await session.openState().fork(3))).out, whole(text));
    });

    test("a session that is disposed while it waits for an input reserves no rows", async () => {
      const session = await compile(caching, { device: open() });
      const state = session.openState();
      let arrive = (_: HostTensor): void => {};
      const x = { toHost: () => new Promise<HostTensor>((resolve) => void (arrive = resolve)) };
      const run = session.run({ x, position: at(0) }, { state, rows: 20 });
      session.dispose();
      arrive(text);
      await expect(run).rejects.toThrow(DisposedError);
      expect(state.bytes).toBe(0);
    });
  });

test("operators that know nothing of state refuse it", async () => {
  const g = graph(({ input, state }) => ({ y: add(input("x", "f32", [2, 2]), state("s", "f32", [2, 2])) }));
  using session = await compile(g, { device: cpu() });
  const x = new Float32Array(4);
  await expect(session.run({ x }, { state: session.openState() })).rejects.toThrow(UnsupportedOpError);
});

test("a graph without state has none to open", async () => {
  using session = await compile(
    graph(({ input }) => ({ y: add(input("x", "f32", [1]), input("z", "f32", [1])) })),
    {
      device: cpu(),
    },
  );
  expect(() => session.openState()).toThrow(InputError);
});
