/** Every architecture with small random weights, against the naive float64 implementation. */
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import { compile } from "../../src/graph/compile.ts";
import type { Weight } from "../../src/models/transformer/config.ts";
import { decoder, statelessDecoder } from "../../src/models/transformer/decoder.ts";
import { Decoder, type Sequence } from "../../src/models/transformer/sequence.ts";
import { dequantize } from "../../src/tensor/blocks/dequantize.ts";
import { DisposedError, DTypeError, FormatError, InputError } from "../../src/tensor/errors.ts";
import { type Matrix, NaiveDecoder } from "../goldens/decoder.ts";
import { base, build, longRope, text, variants } from "./tiny.ts";

function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, bound: number): void {
  expect(got.length).toBe(want.length);
  let worst = 0;
  for (let i = 0; i < want.length; i++) worst = Math.max(worst, Math.abs(got[i] - want[i]));
  expect(worst).toBeLessThan(bound);
}

const devices = { cpu: () => cpu(), wasm: () => wasm({ threads: 1 }) };

for (const [device, open] of Object.entries(devices))
  describe(`decoders on ${device}`, () => {
    for (const [name, variant] of Object.entries(variants))
      test(name, async () => {
        const { config, weights } = build(variant);
        const naive = new NaiveDecoder(config, weights);
        const tokens = text(60);
        const want = tokens.map((t) => naive.next(t));
        using model = await Decoder.open(config, weights, open());
        const s = model.sequence();
        expectClose(
          await s.feedAll(tokens.slice(0, 41)),
          want.slice(0, 41).flatMap((l) => [...l]),
          2e-4,
        );
        const other = await s.fork();
        for (let i = 41; i < 50; i++) {
          expectClose(await s.feed([tokens[i]]), want[i], 2e-4);
          expect(want[i][await other.likeliest([tokens[i]])]).toBeGreaterThan(Math.max(...want[i]) - 4e-4);
        }
        expect(want[59][await other.likeliest(tokens.slice(50))]).toBeGreaterThan(Math.max(...want[59]) - 4e-4);
        expect(other.tokens).toEqual(tokens);
        expectClose(await s.feed(tokens.slice(50)), want[59], 2e-4);

        // Two texts at once, without state.
        const reversed = [...tokens].reverse();
        const twin = new NaiveDecoder(config, weights);
        const both = [...want, ...reversed.map((t) => twin.next(t))].flatMap((l) => [...l]);
        using whole = await compile(statelessDecoder(config, weights), { device: open() });
        const batch = { dtype: "i32", shape: [2, 60], data: Int32Array.of(...tokens, ...reversed) } as const;
        const { logits } = await whole.run({ tokens: batch });
        expect(logits.shape).toEqual([2, 60, config.vocabSize]);
        expectClose(logits.data as Float32Array, both, 2e-4);
      });

    test("weights in quantised blocks", async () => {
      const { config, weights } = build({ width: 64, hidden: 96, headDim: 16, rope: { ...base.rope, dim: 16 } });
      const blocks = new Map<string, Weight>();
      const rounded = new Map<string, Matrix>();
      for (const [name, w] of weights) {
        const type = name === "token_embd.weight" ? "Q8_0" : "Q4_0";
        if (w.shape.length === 1) {
          blocks.set(name, w);
          rounded.set(name, w);
          continue;
        }
        const bytes = quantize(type, w.data as Float32Array);
        blocks.set(name, { type: type === "Q8_0" ? "q8_0" : "q4_0", shape: w.shape, bytes });
        rounded.set(name, { shape: w.shape, data: dequantize(type, bytes, w.data.length) });
      }
      const naive = new NaiveDecoder(config, rounded);
      const tokens = text(20);
      const want = tokens.map((t) => naive.next(t));
      using model = await Decoder.open(config, blocks, open());
      // Activations may be rounded to 8 bits; logits go up to 7.7.
      const got = await model.sequence().feedAll(tokens);
      expectClose(
        got,
        want.flatMap((l) => [...l]),
        0.3,
      );
    });
  });

describe.each(Object.entries(devices))("LongRoPE on %s", (_, open) => {
  const short = 20;
  const { config, weights } = build(longRope);
  /** All tokens of a text are turned by the factors that its length asks for. */
  const wanted = (tokens: readonly number[]): Float64Array[] => {
    const naive = new NaiveDecoder(config, weights, tokens.length);
    return tokens.map((t) => naive.next(t));
  };

  test("a text that becomes a long one is computed anew", async () => {
    using model = await Decoder.open(config, weights, open());
    const s = model.sequence();
    const tokens = text(short + 4);
    for (let n = 1; n <= tokens.length; n++)
      expectClose(await s.feed([tokens[n - 1]]), wanted(tokens.slice(0, n)).at(-1)!, 2e-4);
    expect(s.tokens).toEqual(tokens);
    const forks = [await s.fork(), await s.fork(7)];
    expectClose(await forks[0].feed([3]), wanted([...tokens, 3]).at(-1)!, 2e-4);
    // And what became short again.
    for (const text of [s, forks[1]]) {
      text.truncate(7);
      expectClose(await text.feed([5]), wanted([...tokens.slice(0, 7), 5]).at(-1)!, 2e-4);
      expect(text.tokens).toEqual([...tokens.slice(0, 7), 5]);
    }
  });

  test("in one feed, in all logits, and beside short ones", async () => {
    using model = await Decoder.open(config, weights, open());
    const tokens = text(45);
    for (const first of [0, 12, short, 30]) {
      const s = model.sequence();
      if (first) await s.feed(tokens.slice(0, first));
      const want = wanted(tokens).slice(first);
      expectClose(
        await s.feedAll(tokens.slice(first)),
        want.flatMap((l) => [...l]),
        2e-4,
      );
    }
    const [a, b, c] = [model.sequence(), model.sequence(), model.sequence()];
    await a.feed(tokens.slice(0, short));
    await b.feed(tokens.slice(0, 30));
    const got = await model.feed([
      { sequence: a, tokens: [9, 8] },
      { sequence: b, tokens: [7] },
      { sequence: c, tokens: [1, 2, 3] },
    ]);
    expectClose(got[0], wanted([...tokens.slice(0, short), 9, 8]).at(-1)!, 2e-4);
    expectClose(got[1], wanted([...tokens.slice(0, 30), 7]).at(-1)!, 2e-4);
    expectClose(got[2], wanted([1, 2, 3]).at(-1)!, 2e-4);
  });

  test("an abort before it is computed anew leaves it", async () => {
    using model = await Decoder.open(config, weights, open());
    const s = model.sequence();
    await s.feed(text(short));
    await expect(s.feed([1], { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expectClose(await s.feed([1]), wanted([...text(short), 1]).at(-1)!, 2e-4);
  });

  test("without state, and in a context that is short", async () => {
    using whole = await compile(statelessDecoder(config, weights), { device: open() });
    using brief = await Decoder.open({ ...config, contextLength: short }, weights, open());
    for (const n of [5, short, short + 1, 50]) {
      const tokens = Int32Array.from(text(n));
      const { logits } = await whole.run({ tokens: { dtype: "i32", shape: [1, n], data: tokens } });
      const want = wanted(text(n)).flatMap((l) => [...l]);
      expectClose(logits.data as Float32Array, want, 2e-4);
      if (n <= short) expectClose(await brief.sequence().feedAll(text(n)), want, 2e-4);
    }
  });
});

describe("sequences", () => {
  const { config, weights } = build({ contextLength: 40 });
  const open = () => Decoder.open(config, weights, wasm({ threads: 1 }));

  test("truncated, forked and fed at once they give the same logits", async () => {
    using model = await open();
    const tokens = text(30);
    const a = model.sequence();
    const want = await a.feed(tokens);
    const b = model.sequence();
    const c = model.sequence();
    await Promise.all([b.feed(tokens.slice(0, 10)), c.feed(text(20).reverse())]);
    const [fork] = [await b.fork(10)];
    c.truncate(0);
    const [x, y, z] = await Promise.all([b.feed(tokens.slice(10)), fork.feed(tokens.slice(10)), c.feed(tokens)]);
    for (const got of [x, y, z]) expectClose(got, want, 1e-4);
    expect(b.length).toBe(30);
  });

  test("a context can be filled to the last token, and no further", async () => {
    using model = await open();
    const s = model.sequence();
    const naive = new NaiveDecoder(config, weights as never);
    let want = new Float64Array(0);
    for (const t of text(40)) want = naive.next(t) as Float64Array<ArrayBuffer>;
    expectClose(await s.feed(text(40)), want, 2e-4);
    await expect(s.feed([1])).rejects.toThrow(InputError);
    await expect(model.sequence().feed(text(41))).rejects.toThrow(/context of 40/);
  });

  test("tokens that are none are refused", async () => {
    using model = await open();
    const s = model.sequence();
    const hole = Object.assign(new Array<number>(3), { 0: 1, 2: 3 });
    const others = [
      [undefined],
      hole,
      ["3"],
      [null],
      BigInt64Array.of(1n),
      new DataView(new ArrayBuffer(4)),
      "text",
      7,
    ];
    for (const bad of [[], [-1], [50], [1.5], [Number.NaN], ...others]) {
      await expect(s.feed(bad as number[])).rejects.toThrow(InputError);
      await expect(s.feedAll(bad as number[])).rejects.toThrow(InputError);
      await expect(model.feed([{ sequence: s, tokens: bad as number[] }])).rejects.toThrow(InputError);
    }
    expect(s.length).toBe(0);
    await s.feed(Int32Array.of(1, 2, 3) as never);
    s.truncate(0);
    expect(() => s.truncate(1)).toThrow(InputError);
  });

  test("a fork has the tokens of when it was asked for, whatever goes on meanwhile", async () => {
    using model = await open();
    const s = model.sequence();
    const busy = model.sequence();
    for (const wait of [false, true]) {
      s.truncate(0);
      await s.feed(text(6));
      const running = wait ? busy.feed(text(20)) : undefined;
      const forking = s.fork(4);
      s.truncate(1);
      const went = await s.feed([9]);
      const fork = await forking;
      await running;
      expect(fork.tokens).toEqual(text(4));
      expectClose(went, await model.sequence().feed([...text(1), 9]), 1e-4);
      expectClose(await fork.feed([3]), await model.sequence().feed([...text(4), 3]), 1e-4);
    }
    const empty = await s.fork(0);
    expectClose(await empty.feed(text(6)), await model.sequence().feed(text(6)), 1e-4);
  });

  test("tokens are those that there were when it was called", async () => {
    using model = await open();
    const want = await model.sequence().feed(text(20));
    for (const feed of [
      (s: Sequence, tokens: number[]) => s.feed(tokens),
      (s: Sequence, tokens: number[]) => s.feedAll(tokens),
      (s: Sequence, tokens: number[]) => model.feed([{ sequence: s, tokens }]),
      (s: Sequence, tokens: number[]) =>
        model.feed([
          { sequence: s, tokens },
          { sequence: model.sequence(), tokens: [1] },
        ]),
    ]) {
      const s = model.sequence();
      const tokens = text(19);
      const fed = feed(s, tokens);
      tokens.fill(99).push(99);
      await fed;
      expect(s.tokens).toEqual(text(19));
      expectClose(await s.feed(text(20).slice(19)), want, 1e-4);
    }
  });

  test("a first token that comes between the steps of another sequence's run waits for it", async () => {
    using model = await open();
    const want: Float32Array[] = [];
    for (const n of [34, 8]) {
      const fresh = model.sequence();
      const logits = await fresh.feed(text(n));
      want.push(await fresh.feed([1]), logits);
    }
    for (const look of [3, 10, 20]) {
      const [long, short] = [model.sequence(), model.sequence()];
      await short.feed(text(8));
      let between: Promise<Float32Array> | undefined;
      const { signal } = new AbortController();
      let looks = 0;
      signal.throwIfAborted = () => {
        if (++looks === look) between = short.feed([1]);
      };
      expectClose(await long.feed(text(34), { signal }), want[1], 1e-5);
      expectClose(await between!, want[2], 1e-5);
      expectClose(await long.feed([1]), want[0], 1e-5);
    }
  });

  test("a sequence that was disposed says so, and one whose model was", async () => {
    const model = await open();
    const s = model.sequence();
    await s.feed([1]);
    s.dispose();
    await expect(s.feed([1])).rejects.toThrow(DisposedError);
    await expect(s.fork(0)).rejects.toThrow(DisposedError);
    expect(() => s.truncate(0)).toThrow(DisposedError);
    const [other, fresh] = [model.sequence(), model.sequence()];
    await other.feed([1]);
    await fresh.feed([2]);
    model.dispose();
    await expect(other.feed([1])).rejects.toThrow(DisposedError);
    await expect(other.likeliest([1])).rejects.toThrow(DisposedError);
  });

  test("a feed is aborted before its first run, and between those of one token", async () => {
    const signal = AbortSignal.abort();
    using model = await open();
    const [s, other] = [model.sequence(), model.sequence()];
    await expect(s.feed([1], { signal })).rejects.toThrow(/abort/i);
    await expect(s.feedAll([1], { signal })).rejects.toThrow(/abort/i);
    const both = [s, other].map((sequence) => ({ sequence, tokens: [1] }));
    await expect(model.feed(both, { signal })).rejects.toThrow(/abort/i);
    expect([s.length, other.length]).toEqual([0, 0]);
    using single = Decoder.of(config, await compile(decoder(config, weights), { device: cpu() }), "one");
    const slow = single.sequence();
    const controller = new AbortController();
    const fed = slow.feed(text(40), { signal: controller.signal });
    controller.abort();
    await expect(fed).rejects.toThrow(/abort/i);
    expect(slow.length).toBe(1);
    expectClose(await slow.feed(text(40).slice(1)), await model.sequence().feed(text(40)), 2e-4);
  });

  test("an aborted feed leaves a sequence that goes on", async () => {
    using model = await open();
    const s = model.sequence();
    await expect(s.feed(text(20), { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expectClose(await s.feed(text(20).slice(s.length)), await model.sequence().feed(text(20)), 1e-4);
  });

  test("what is no configuration, no weights or no option is told", async () => {
    const long = { kind: "factors", factors: [1, 1, 1, 1], longFactors: [1, 1, 1, 1], originalContext: 9 };
    for (const [part, change] of [
      ["activation", { activation: "swish" }],
      ["window", { layers: [{ window: 1.5 }] }],
      ["window", { layers: [{ window: 0 }] }],
      ["layers", { layers: undefined }],
      ["rope.dim", { rope: { ...base.rope, dim: 0 } }],
      ["localRope", { localRope: { ...base.rope, scaling: long } }],
      ["scaling", { rope: { ...base.rope, scaling: { kind: "longrope" } } }],
    ] as const)
      for (const build of [decoder, statelessDecoder]) {
        expect(() => build({ ...config, ...change } as never, weights)).toThrow(InputError);
        expect(() => build({ ...config, ...change } as never, weights)).toThrow(part);
      }
    await expect(Decoder.open(undefined as never, weights, cpu())).rejects.toThrow(InputError);
    await expect(Decoder.open(config, Object.fromEntries(weights) as never, cpu())).rejects.toThrow(/new Map/);
    await expect(Decoder.open(config, weights, cpu(), null as never)).rejects.toThrow(InputError);
    await expect(Decoder.open(config, weights, cpu(), { kvcache: "f16" } as never)).rejects.toThrow(/kvCache/);
    const unknown = { type: "q9_9", shape: [32, 32], bytes: new Uint8Array(5) } as never;
    await expect(Decoder.open(config, new Map(weights).set("blk.0.attn_q.weight", unknown), cpu())).rejects.toThrow(
      DTypeError,
    );
  });

  test("a stored weight of which another number of elements is read is refused", async () => {
    const name = "blk.0.attn_q.weight";
    const right = weights.get(name)!.data as Float32Array;
    for (const device of Object.values(devices))
      for (const [count, inParts] of [
        [1024, true],
        [1024, false],
        [1000, true],
        [1000, false],
        [1056, true],
        [1056, false],
      ] as const) {
        const data = Float32Array.from({ length: count }, (_, i) => right[i] ?? 0);
        const parts = async function* () {
          yield data.slice(0, 512);
          yield data.slice(512);
        };
        const read = async () => ({ dtype: "f32", shape: [count], data }) as never;
        const stored = { shape: [32, 32], read, ...(inParts && { parts }) } as never;
        const opening = Decoder.open(config, new Map<string, Weight>(weights).set(name, stored), device());
        if (count === 1024) (await opening).dispose();
        else await expect(opening).rejects.toThrow(FormatError);
      }
  });

  test("weights that are missing or of another shape are told by name", async () => {
    const without = new Map(weights);
    without.delete("blk.1.ffn_down.weight");
    await expect(Decoder.open(config, without, cpu())).rejects.toThrow(/blk\.1\.ffn_down\.weight" is missing/);
    const wrong = new Map(weights).set("blk.0.attn_q.weight", weights.get("blk.0.ffn_up.weight")!);
    await expect(Decoder.open(config, wrong, cpu())).rejects.toThrow(FormatError);
  });
});
