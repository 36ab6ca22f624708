/** Products side by side: which they are, and that nothing they use overlaps. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Place, StagePlan } from "../../src/backends/backend.ts";
import { sideBySide } from "../../src/backends/wasm/beside.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import type { AnyStep, WasmStep } from "../../src/backends/wasm/step.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import type { StoredWeight, Weight } from "../../src/models/transformer/config.ts";
import { Decoder } from "../../src/models/transformer/sequence.ts";
import { matmul, relu } from "../../src/ops/index.ts";
import { bytesOf } from "../../src/tensor/dtype.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import { base, build, text, variants } from "../models/tiny.ts";
import { withWorkers } from "./workers.ts";

const product: WasmStep = { work: 1e5, prepack: [], emit() {} };
const other: WasmStep = { work: 1e5, emit() {} };

/** Steps that each read some of the values before them. */
const graphs = fc
  .array(fc.record({ isProduct: fc.boolean(), reads: fc.array(fc.nat({ max: 30 }), { maxLength: 3 }) }), {
    maxLength: 25,
  })
  .map((drafts) =>
    drafts.map(({ isProduct, reads }, i) => ({
      node: { op: (isProduct ? matmul : relu).op, inputs: reads.map((r) => r % (i + 1)), outputs: [i + 1] },
      step: isProduct ? product : other,
      beside: undefined as boolean | undefined,
    })),
  );

test("every step is there once, after all that it reads, and only products are moved", () => {
  fc.assert(
    fc.property(graphs, (steps) => {
      const order = sideBySide(steps);
      expect(order.map((s) => s.node).sort((a, b) => a.outputs[0] - b.outputs[0])).toEqual(steps.map((s) => s.node));
      const others = (list: typeof order) => list.filter((s) => s.step === other).map((s) => s.node);
      expect(others(order)).toEqual(others(steps));
      let made = new Set([0]);
      let now = new Set<number>();
      for (const { node, step, beside } of order) {
        if (!beside) [made, now] = [new Set([...made, ...now]), new Set()];
        if (beside) expect(step).toBe(product);
        for (const id of node.inputs) expect(made).toContain(id);
        now.add(node.outputs[0]);
      }
    }),
  );
});

/** The same decoder with its matrices in blocks. */
function quantised() {
  const { config, weights } = build({ width: 64, hidden: 96, headDim: 16, rope: { ...base.rope, dim: 16 } });
  const blocks = new Map<string, Weight | StoredWeight>(weights);
  for (const [name, w] of weights)
    if (w.shape.length === 2)
      blocks.set(name, { type: "q4_0", shape: w.shape, bytes: quantize("Q4_0", w.data as Float32Array) });
  return { config, blocks };
}

test("products of one input in blocks quantise it once, and give the same", async () => {
  const { config, blocks } = quantised();
  const together = await Decoder.open(config, blocks, wasm({ threads: 1 }));
  const { backend, dispose } = await withWorkers({ threads: 2, parallelWork: 1 });
  const threaded = await Decoder.open(config, blocks, { ...backend, refine: undefined });
  const each = await Decoder.open(config, blocks, { ...wasm({ threads: 1 }), refine: undefined });
  const divided = await Decoder.open(config, blocks, backend);
  const [a, b, c, d] = [together, each, divided, threaded].map((m) => m.sequence());
  for (const n of [3, 1, 1, 7]) {
    expect(await a.feed(text(n))).toEqual(await b.feed(text(n)));
    expect(await c.feed(text(n))).toEqual(await d.feed(text(n)));
  }
  const { steps } = planOf(together);
  const begins = (i: number): boolean => (steps[i].step as WasmStep).begin !== undefined;
  const products = [...steps.keys()].filter((i) => (steps[i].step as WasmStep).begins !== undefined);
  for (const i of products) {
    expect(begins(i)).toBe(!steps[i].beside);
    if (steps[i].beside) expect(steps[i].workspaceOffset).toBe(steps[i - 1].workspaceOffset);
  }
  expect(products.filter((i) => !begins(i))).toHaveLength(3 * config.layers.length);
  for (const m of [together, each, divided, threaded]) m.dispose();
  dispose();
});

/** The plan for one token. */
function planOf(decoder: Decoder): StagePlan<AnyStep> {
  const { runner } = decoder.session as unknown as {
    runner: { prepared(): Iterable<{ stage: { plan: StagePlan<AnyStep> } }> };
  };
  return [...runner.prepared()].map((p) => p.stage.plan).find((p) => p.steps.some((s) => s.beside))!;
}

describe.each(["llama 2", "llama 3", "gemma3", "qwen2"])("%s", (name) => {
  test("queries, keys and values are side by side, and so are gate and up", async () => {
    const { config, weights } = build(variants[name]);
    const decoder = await Decoder.open(config, weights, wasm({ threads: 1 }));
    await decoder.sequence().feed(text(1));
    const { steps } = planOf(decoder);
    const runs: (typeof steps)[number][][] = [];
    for (const s of steps)
      if (s.beside) runs.at(-1)!.push(s);
      else runs.push([s]);
    const lengths = runs.filter((r) => r.length > 1).map((r) => r.length);
    expect(lengths).toEqual(config.layers.flatMap(() => [3, 2]));
    type Range = readonly [number, number];
    const ranges = (places: readonly (Place | undefined)[]): Range[] =>
      places.flatMap((p) =>
        p?.offset === undefined ? [] : [[p.offset, p.offset + sizeOf(p.shape) * bytesOf(p.dtype)] as const],
      );
    const workspaceOf = (s: (typeof steps)[number]): Range => [
      s.workspaceOffset,
      s.workspaceOffset + (s.step.workspaceBytes ?? 0),
    ];
    for (const run of runs)
      run.forEach((a, i) => {
        const written = [...ranges(a.outputs), workspaceOf(a)];
        for (const b of run.filter((_, j) => j !== i))
          for (const [from, to] of written)
            for (const [start, end] of [...ranges(b.inputs), ...ranges(b.outputs), workspaceOf(b)])
              expect(Math.min(to, end)).toBeLessThanOrEqual(Math.max(from, start));
      });
    decoder.dispose();
  });

  test.each([2, 3])("on %i threads logits are those of one, but for sums over runs of keys", async (threads) => {
    const { config, weights } = build(variants[name]);
    const { backend, dispose } = await withWorkers({ threads, parallelWork: 1 });
    const [many, one] = [
      await Decoder.open(config, weights, backend),
      await Decoder.open(config, weights, wasm({ threads: 1 })),
    ];
    const [a, b] = [many.sequence(), one.sequence()];
    for (const n of [5, 1, 1, 1]) {
      const [got, want] = [await a.feed(text(n)), await b.feed(text(n))];
      expect(Math.max(...got.map((v, i) => Math.abs(v - want[i])))).toBeLessThan(
        1e-5 * Math.max(...want.map(Math.abs)),
      );
    }
    many.dispose();
    one.dispose();
    dispose();
  });
});
