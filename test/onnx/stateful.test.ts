/** Decoders whose caches go in and out, as decoders with state. */
import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { importOnnx } from "../../src/formats/onnx/index.ts";
import { statefulDecoder } from "../../src/formats/onnx/stateful/index.ts";
import { compile } from "../../src/graph/compile.ts";
import type { Graph } from "../../src/graph/ir.ts";
import { Decoder } from "../../src/models/transformer/sequence.ts";
import type { OpDef } from "../../src/ops/op.ts";
import { neg } from "../../src/ops/unary.ts";
import { GraphModel } from "../../src/tasks/language/onnx-graph.ts";
import { genaiDecoder, mergedDecoder, optimumDecoder, plainDecoder, sizes } from "./small-decoders.ts";

const config = { architecture: "small", vocabSize: sizes.vocabulary, contextLength: sizes.context };
const options = { contextLength: sizes.context, kvCache: "f32" } as const;
const text = [3, 17, 5, 5, 30, 1, 12, 8, 25, 2, 9, 14];

async function rewritten(bytes: Uint8Array) {
  const found = statefulDecoder((await importOnnx(bytes)).graph, options);
  if ("reason" in found) throw new Error(found.reason);
  return found;
}

async function open(bytes: Uint8Array, device: Backend = cpu()): Promise<Decoder> {
  const { graph, severalTokens } = await rewritten(bytes);
  return Decoder.of(config, await compile(graph, { device }), severalTokens ? "few" : "one");
}

const asItComes = async (bytes: Uint8Array): Promise<GraphModel> =>
  new GraphModel(config, await compile((await importOnnx(bytes)).graph, { device: cpu(), plans: 64 }));

function close(got: Float32Array, want: Float32Array): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) expect(Math.abs(got[i] - want[i])).toBeLessThan(1e-4);
}

const devices = {
  cpu: () => cpu(),
  wasm: () => wasm({ threads: 1 }),
  "wasm, 2 threads": () => wasm({ threads: 2, parallelWork: 0 }),
};
const styles = { Optimum: optimumDecoder, "onnxruntime-genai": genaiDecoder, "two branches": mergedDecoder };

describe.each(Object.entries(styles))("a decoder as %s writes it", (_, write) => {
  const bytes = write();

  test.each(Object.entries(devices))("gives with state on %s the logits that it gives without", async (_, device) => {
    using model = await open(bytes, device());
    using original = await asItComes(bytes);
    const [sequence, growing] = [model.sequence(), original.sequence()];
    let at = 0;
    for (const n of [5, 1, 1, 3, 1, 1]) {
      const part = text.slice(at, at + n);
      close(await sequence.feed(part), await growing.feed(part));
      at += n;
    }
    expect(sequence.tokens).toEqual(text);
  });

  test("makes one plan for all lengths, forks and forgets", async () => {
    using model = await open(bytes);
    const sequence = model.sequence();
    await sequence.feed(text.slice(0, 8));
    const plans = () => model.session.explain().filter((s) => s.op === "cachedAttention").length;
    await sequence.feed([1]);
    const before = plans();
    for (const t of text) await sequence.feed([t]);
    expect(plans()).toBe(before);
    sequence.truncate(8);
    const other = await sequence.fork();
    const want = await sequence.feed([4]);
    await other.feed([9]);
    other.truncate(8);
    close(await other.feed([4]), want);
  });

  test("keeps its caches in f16 where it is asked to", async () => {
    const found = statefulDecoder((await importOnnx(bytes)).graph, { ...options, kvCache: "f16" });
    if ("reason" in found) throw new Error(found.reason);
    using half = Decoder.of(config, await compile(found.graph, { device: cpu() }), found.severalTokens ? "few" : "one");
    using full = await open(bytes);
    const [a, b] = [half.sequence(), full.sequence()];
    const [got, want] = [await a.feed(text), await b.feed(text)];
    expect(a.bytes).toBe(b.bytes / 2);
    got.forEach((v, i) => {
      expect(Math.abs(v - want[i])).toBeLessThan(2e-2);
    });
  });
});

describe.each(Object.entries({ plain: plainDecoder, "two branches": mergedDecoder }))(
  "a decoder as its graph is, %s",
  (_, write) => {
    const bytes = write();

    test("reads tokens before it waits", async () => {
      using model = await asItComes(bytes);
      const want = model.sequence();
      await want.feed(text.slice(0, 3));
      const next = await want.feed(text.slice(3, 6));
      const [a, b] = [model.sequence(), model.sequence()];
      for (const s of [a, b]) await s.feed(text.slice(0, 3));
      const tokens = text.slice(3, 6);
      const alone = a.feed(tokens);
      const together = model.feed([{ sequence: b, tokens }]);
      tokens.fill(0);
      expect(await alone).toEqual(next);
      expect(await together).toEqual([next]);
      for (const s of [a, b]) expect(s.tokens).toEqual(text.slice(0, 6));
    });

    test("refuses what a decoder with state refuses, before anything is fed", async () => {
      using model = await asItComes(bytes);
      using other = await asItComes(bytes);
      const sequence = model.sequence();
      await sequence.feed([1, 2]);
      const tokens = [3, 4];
      const twice = [0, 1].map(() => ({ sequence, tokens }));
      await expect(model.feed(twice)).rejects.toThrow(/there twice/);
      await expect(other.feed([{ sequence, tokens }])).rejects.toThrow(/another decoder/);
      const wrong = [
        { sequence, tokens },
        { sequence: model.sequence(), tokens: [-1] },
      ];
      await expect(model.feed(wrong)).rejects.toThrow(/-1 is not a token .*\(sequence 1 of 2\)/);
      await expect(model.feed([{ tokens } as never])).rejects.toThrow(/decoder.sequence\(\) gives one/);
      for (const length of [3, -1, 0.5, Number.NaN]) {
        expect(() => sequence.truncate(length)).toThrow(/truncate: takes 0 to 2 tokens/);
        await expect(sequence.fork(length)).rejects.toThrow(/fork: takes 0 to 2 tokens/);
      }
      const feeding = sequence.feed(tokens);
      expect(() => sequence.truncate(0)).toThrow(/is being fed/);
      await expect(sequence.fork()).rejects.toThrow(/is being fed/);
      await feeding;
      expect(sequence.tokens).toEqual([1, 2, 3, 4]);
      sequence.dispose();
      await expect(sequence.feed(tokens)).rejects.toThrow(/disposed/);
    });
  },
);

test.each(Object.entries(devices))("a decoder of f16 on %s", async (_, device) => {
  const bytes = optimumDecoder({ dtype: "f16" });
  using model = await open(bytes, device());
  // Without state it computes in f32 as well, but for its caches.
  using original = new GraphModel(config, await compile((await importOnnx(bytes)).graph, { device: cpu() }));
  const [sequence, growing] = [model.sequence(), original.sequence()];
  for (const part of [text.slice(0, 7), [4], [20]]) {
    const [got, want] = [await sequence.feed(part), await growing.feed(part)];
    got.forEach((v, i) => {
      expect(Math.abs(v - want[i])).toBeLessThan(2e-2);
    });
  }
});

describe("a decoder whose products are dynamically quantised", () => {
  const bytes = optimumDecoder({ quantised: true });

  test("is a few operators of ours, and quantises token by token", async () => {
    const { graph } = await rewritten(bytes);
    using session = await compile(graph, { device: cpu() });
    using model = Decoder.of(config, session);
    await model.sequence().feed(text);
    const ran = new Map<string, number>();
    for (const { op } of session.explain()) ran.set(op, (ran.get(op) ?? 0) + 1);
    const plans = ran.get("cachedAttention")! / sizes.layers;
    const perPlan = Object.fromEntries([...ran].map(([op, n]) => [op, n / plans]));
    expect(perPlan).toMatchObject({ rmsNorm: 2 * sizes.layers + 1, rotaryEmbedding: 2 * sizes.layers });
    expect(perPlan).toMatchObject({ matmulIntegerToFloat: 7 * sizes.layers + 1 });
    for (const op of ["matmulInteger", "pow", "neg", "transpose"]) expect(perPlan).not.toHaveProperty(op);
    for (const node of graph.nodes)
      if (node.op.name === "dynamicQuantizeLinear") expect(node.attrs["perRow"]).toBe(true);
  });

  test.each(Object.entries(devices))("gives in runs of any length on %s what single tokens give", async (_, device) => {
    using model = await open(bytes, device());
    using original = await asItComes(bytes);
    const [whole, single, growing] = [model.sequence(), model.sequence(), original.sequence()];
    const want: Float32Array[] = [];
    for (const t of text) {
      const [alone, got] = [await growing.feed([t]), await single.feed([t])];
      want.push(alone);
      // Sums in another order round an activation the other way now and then: a 255th of its range.
      got.forEach((v, i) => {
        expect(Math.abs(v - alone[i])).toBeLessThan(2e-3);
      });
    }
    const all = await whole.feedAll(text);
    want.forEach((logits, n) => {
      logits.forEach((v, i) => {
        expect(Math.abs(all[n * sizes.vocabulary + i] - v)).toBeLessThan(2e-3);
      });
    });
    // As a whole it is quantised otherwise.
    const asOne = await original.sequence().feed(text);
    expect(Math.max(...asOne.map((v, i) => Math.abs(v - want.at(-1)![i])))).toBeGreaterThan(1e-2);
  });
});

test("prompts of any length find their plans where the decoder was prepared", async () => {
  using model = await open(optimumDecoder({ quantised: true }), await wasm({ threads: 1 }));
  await model.prepare();
  const plans = () => model.session.explain().filter((s) => s.op === "cachedAttention").length / sizes.layers;
  expect(plans()).toBe(2);
  for (let n = 1; n <= text.length; n++) {
    const sequence = model.sequence();
    await sequence.feed(text.slice(0, n));
    await sequence.feed([1]);
    sequence.dispose();
  }
  expect(plans()).toBe(2);
});

const windows = [{ window: 7 }, { window: 40 }, { window: sizes.context }, { softcap: 0.7 }, { softcap: 3, window: 9 }];
test.each(
  windows.flatMap((style) => [["Optimum", style, optimumDecoder] as const, ["genai", style, genaiDecoder] as const]),
)("a decoder as %s writes it with %j gives with state what it gives without", async (_, style, write) => {
  const bytes = write(style);
  const { graph } = await rewritten(bytes);
  const attends = graph.nodes.find((n) => n.op.name === "cachedAttention")!;
  // As long as the context it hides nothing.
  const hides = style.window !== undefined && style.window < sizes.context;
  expect(attends.attrs["leftWindow"]).toBe(hides ? style.window! - 1 : undefined);
  expect(attends.attrs["softcap"]).toBe(style.softcap && Math.fround(style.softcap));
  using model = await open(bytes, await wasm({ threads: 1 }));
  using original = await asItComes(bytes);
  const [sequence, growing] = [model.sequence(), original.sequence()];
  const longer = [...text, ...text, ...text, ...text];
  for (let at = 0; at < longer.length; at += 6)
    close(await sequence.feed(longer.slice(at, at + 6)), await growing.feed(longer.slice(at, at + 6)));
});

test("windows show in contexts of any length", async () => {
  const { graph } = await importOnnx(optimumDecoder({ window: 9 }));
  const found = statefulDecoder(graph, { ...options, contextLength: 131072 });
  const nodes = "graph" in found ? found.graph.nodes : [];
  expect(nodes.find((n) => n.op.name === "cachedAttention")?.attrs["leftWindow"]).toBe(8);
});

describe("what is not attention to all before is left as it is", () => {
  const reasonFor = async (bytes: Uint8Array): Promise<string> => {
    const found = statefulDecoder((await importOnnx(bytes)).graph, options);
    return "reason" in found ? found.reason : "";
  };

  test("keys that are weighed by their distance", async () => {
    expect(await reasonFor(optimumDecoder({ alibi: true }))).toMatch(/by their distance/);
    expect(await reasonFor(optimumDecoder({ window: 2 }))).toMatch(/too short to measure/);
  });

  test("keys that are left out without a mask", async () => {
    expect(await reasonFor(optimumDecoder({ last: 20 }))).toMatch(/leaves keys out/);
    expect(await reasonFor(optimumDecoder({ last: sizes.context }))).toBe("");
  });

  test("tokens that see later ones", async () => {
    expect(await reasonFor(optimumDecoder({ bothWays: true }))).toMatch(/is not that of tokens to all before/);
    expect((await rewritten(optimumDecoder())).severalTokens).toBe(true);
    // A branch that is for single tokens gets single tokens.
    expect((await rewritten(mergedDecoder())).severalTokens).toBe(false);
  });

  test.each(Object.entries(styles))(
    "caches that are given otherwise than attention reads them, by %s",
    async (_, write) => {
      const { graph } = await importOnnx(write());
      const changed = (name: string, change: OpDef): Graph => {
        const port = graph.outputs.find((p) => p.name === name)!;
        const id = graph.valueCount;
        const node = { op: change, name: "changed", inputs: [port.id], outputs: [id], attrs: {} };
        const outputs = graph.outputs.map((p) => (p === port ? { ...p, id } : p));
        return { ...graph, nodes: [...graph.nodes, node], outputs, valueCount: id + 1 };
      };
      for (const name of ["present.0.key", "present.1.value"]) {
        const found = statefulDecoder(changed(name, neg.op), options);
        expect("reason" in found && found.reason).toContain(`"${name}" is not "past_key_values`);
      }
    },
  );

  test("numbers of tokens below zero", async () => {
    const { graph } = await importOnnx(genaiDecoder());
    const first = graph.nodes.find((n) => n.op.name === "cacheStart")!;
    const reasons = { 1: /is not that of tokens to all before/, 2: /tokens come, and there are -/ };
    for (const [place, reason] of Object.entries(reasons)) {
      const number = first.inputs[Number(place)];
      const id = graph.valueCount;
      const negative = { op: neg.op, name: "negative", inputs: [number], outputs: [id], attrs: {} };
      const nodes = graph.nodes.flatMap((n) => {
        const changed = { ...n, inputs: n.inputs.map((i) => (i === number ? id : i)) };
        return n === first ? [negative, changed] : [changed];
      });
      const found = statefulDecoder({ ...graph, nodes, valueCount: id + 1 }, options);
      expect("reason" in found && found.reason).toMatch(reason);
    }
  });

  test("inputs that decoders of text do not have, as those of T5", async () => {
    const { graph } = await importOnnx(optimumDecoder());
    const port = { name: "encoder_attention_mask", id: graph.valueCount, dtype: "i64", shape: [1, 7] } as const;
    const found = statefulDecoder(
      { ...graph, inputs: [...graph.inputs, port], valueCount: graph.valueCount + 1 },
      options,
    );
    expect("reason" in found && found.reason).toBe('it has an input "encoder_attention_mask"');
  });

  test("a graph without caches", async () => {
    expect(await reasonFor(plainDecoder())).toBe("it has no past_key_values");
  });
});
