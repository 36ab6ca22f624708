/** Attention over caches of some thousand positions, which the cases of test/cases are too small for. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type WasmBackend, wasm } from "../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { type CachedAttentionAttrs, cachedAttention } from "../../src/ops/cached-attention.ts";
import { kvAppend } from "../../src/ops/kv-append.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { toleranceOf } from "../tolerance.ts";

const rows = 3200;

interface Case {
  readonly seed: number;
  readonly dtype: "f32" | "f16";
  readonly kvHeads: number;
  readonly group: number;
  readonly dim: number;
  readonly position: number;
  readonly tokens: number;
  readonly softcap?: number;
  readonly leftWindow?: number;
  /** Whether the cache is a copy of another sequence's. */
  readonly fork: boolean;
}

const arbitrary: fc.Arbitrary<Case> = fc.record({
  seed: fc.nat(),
  dtype: fc.constantFrom("f32", "f16"),
  kvHeads: fc.constantFrom(1, 2, 3),
  group: fc.constantFrom(1, 2, 3, 4, 7, 8),
  dim: fc.constantFrom(32, 64, 80, 128, 256),
  position: fc.oneof(
    fc
      .record({ blocks: fc.nat(48), off: fc.integer({ min: -2, max: 2 }) })
      .map((p) => Math.max(0, 64 * p.blocks + p.off)),
    fc.nat(3100),
  ),
  tokens: fc.constantFrom(1, 1, 1, 2, 7, 8, 33),
  softcap: fc.constantFrom(undefined, undefined, 3),
  leftWindow: fc.constantFrom(undefined, undefined, 64, 700),
  fork: fc.boolean(),
});

async function check(device: WasmBackend, c: Case): Promise<void> {
  const { seed, dtype, kvHeads, group, dim, position, tokens, softcap, leftWindow } = c;
  const width = kvHeads * dim;
  const attrs: CachedAttentionAttrs = { heads: kvHeads * group, kvHeads, softcap, leftWindow };
  const model = graph(({ input, state }) => {
    const at = input("position", "i32", [1]);
    const cache = (name: string, x: string) =>
      kvAppend(state(name, dtype, [rows, width]), input(x, dtype, [1, x, width]), at);
    const [keys, values] = [cache("k", "keys"), cache("v", "values")];
    return {
      y: cachedAttention(
        input("q", "f32", [1, "tokens", width * group]),
        keys,
        values,
        input("first", "i32", [1]),
        attrs,
      ),
    };
  });
  using session = await compile(model, { device });
  const all = position + tokens;
  const [q, k, v] = [
    tensorFrom(seed, "f32", [1, tokens, width * group]),
    tensorFrom(seed + 1, dtype, [1, all, width]),
    tensorFrom(seed + 2, dtype, [1, all, width]),
  ];
  const one = (n: number): HostTensor => ({ dtype: "i32", shape: [1], data: Int32Array.of(n) });
  let state = session.openState();
  const inputs = { q, keys: k, values: v, position: one(0), first: one(position) };
  let { y } = await session.run(inputs, { state, rows: all });
  if (c.fork) {
    state = await state.fork(all);
    // The last tokens are written again; what is before them is the other sequence's.
    const last = (t: HostTensor): HostTensor => ({
      ...t,
      shape: [1, tokens, width],
      data: (t.data as Float32Array).slice(position * width),
    });
    const again = { q, keys: last(k), values: last(v), position: one(position), first: one(position) };
    ({ y } = await session.run(again, { state, rows: all }));
  }
  const want = emptyTensor(y);
  const cacheOf = (t: HostTensor): HostTensor => ({ ...t, shape: [all, width] });
  const reference = [q, cacheOf(k), cacheOf(v), one(position)];
  cachedAttention.op.reference!(reference, attrs, [want]);
  const tolerance = toleranceOf("cachedAttention", "f32", {
    op: cachedAttention.op,
    inputs: reference,
    attrs,
  } as never);
  expect(difference(y, want, tolerance)).toBeUndefined();
}

for (const threads of [1, 2])
  for (const relaxedSimd of [true, false])
    describe(`${threads} threads, ${relaxedSimd ? "as the host allows" : "baseline SIMD"}`, () => {
      const device = wasm({ threads, parallelWork: 0, features: relaxedSimd ? {} : { relaxedSimd } });
      let holder: WasmSession;
      beforeAll(async () => {
        await device.load!([], []);
        holder = device.open() as WasmSession;
        await holder.pool?.ready();
      });
      afterAll(() => holder.dispose());
      test(
        "long caches",
        () =>
          fc.assert(
            fc.asyncProperty(arbitrary, (c) => check(device, c)),
            { numRuns: 12 },
          ),
        120_000,
      );
    });
