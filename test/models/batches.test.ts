/** Several sequences in one session, fed together: each gets what it gets alone. Caches in half of the memory. */
import { describe, expect, test, vi } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { cachedAttention, compile, graph, kvAppend } from "../../src/index.ts";
import { Decoder, type Sequence } from "../../src/models/transformer/sequence.ts";
import { DisposedError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import { NaiveDecoder } from "../goldens/decoder.ts";
import { build, text, variants } from "./tiny.ts";

function worst(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  let most = 0;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i] - want[i]));
  return most;
}

const bound = 2e-4;
const devices = {
  cpu: () => cpu(),
  wasm: () => wasm({ threads: 1 }),
  "wasm, 2 threads": () => wasm({ threads: 2, parallelWork: 0 }),
};
/** Texts that have nothing in common. */
const other = (n: number, k: number): number[] =>
  text(n + k)
    .slice(k)
    .map((t) => (t * (k + 1) + k) % 50);

test("logits that were given back are written again, by a run of as many", async () => {
  const { config, weights } = build(variants["llama 2"]);
  using model = await Decoder.open(config, weights, wasm({ threads: 1 }));
  const naive = new NaiveDecoder(config, weights);
  const sequence = model.sequence();
  const first = await sequence.feed([1]);
  expect(worst(first, naive.next(1))).toBeLessThan(bound);
  sequence.recycle(first);
  const others = text(20);
  const all = await sequence.feedAll(others);
  for (const [i, t] of others.entries())
    expect(worst(all.subarray(i * 50, (i + 1) * 50), naive.next(t))).toBeLessThan(bound);
  const second = await sequence.feed([4]);
  expect(second).toBe(first);
  expect(worst(second, naive.next(4))).toBeLessThan(bound);
  expect(await sequence.feed([5])).not.toBe(first);
});

for (const [device, open] of Object.entries(devices))
  describe(`sequences together on ${device}`, () => {
    for (const [name, variant] of Object.entries(variants))
      test(name, async () => {
        const { config, weights } = build(variant);
        using model = await Decoder.open(config, weights, open());
        const texts = [other(37, 0), other(12, 1), other(6, 2)];
        const naive = texts.map(() => new NaiveDecoder(config, weights));
        const prompts = texts.map((t) => t.slice(0, -5));
        const sequences = texts.map(() => model.sequence());
        let want = prompts.map((p, i) => p.map((t) => naive[i].next(t)).at(-1)!);
        const feed = (tokens: readonly (readonly number[])[]) =>
          model.feed(sequences.map((sequence, i) => ({ sequence, tokens: tokens[i] })));
        (await feed(prompts)).forEach((l, i) => {
          expect(worst(l, want[i])).toBeLessThan(bound);
        });
        for (let n = 0; n < 5; n++) {
          const next = texts.map((t, i) => t[prompts[i].length + n]);
          want = next.map((t, i) => naive[i].next(t));
          (await feed(next.map((t) => [t]))).forEach((l, i) => {
            expect(worst(l, want[i])).toBeLessThan(bound);
          });
        }
        expect(sequences.map((s) => s.tokens)).toEqual(texts);
      });
  });

describe("several sequences", () => {
  const { config, weights } = build({});
  const open = () => Decoder.open(config, weights, wasm({ threads: 1 }));
  const alone = async (model: Decoder, tokens: readonly number[]) => {
    const s = model.sequence();
    const logits = await s.feed(tokens);
    s.dispose();
    return logits;
  };
  const expectAlone = async (model: Decoder, sequences: readonly Sequence[], logits: readonly Float32Array[]) => {
    for (const [i, s] of sequences.entries())
      expect(worst(logits[i], await alone(model, s.tokens))).toBeLessThan(bound);
  };

  test("a long prompt goes with texts that go on token by token, in as many runs as it takes", async () => {
    using model = await open();
    const [long, a, b] = [model.sequence(), model.sequence(), model.sequence()];
    await model.feed([
      { sequence: a, tokens: other(9, 1) },
      { sequence: b, tokens: other(3, 2) },
    ]);
    const runs = vi.spyOn(model.session, "run");
    const logits = await model.feed([
      { sequence: long, tokens: other(280, 3) },
      { sequence: a, tokens: [7] },
      { sequence: b, tokens: [8] },
    ]);
    expect(runs).toHaveBeenCalledTimes(3);
    expect([long.length, a.length, b.length]).toEqual([280, 10, 4]);
    await expectAlone(model, [long, a, b], logits);
  });

  test("forks go their own ways together, and truncated ones go on as new ones would", async () => {
    using model = await open();
    const s = model.sequence();
    await s.feed(other(20, 1));
    const forks = [await s.fork(), await s.fork(15)];
    s.truncate(4);
    const all = [s, ...forks];
    let logits = await model.feed(all.map((sequence, i) => ({ sequence, tokens: other(3 + i, 4 + i) })));
    await expectAlone(model, all, logits);
    expect(all.map((x) => x.length)).toEqual([7, 24, 20]);
    for (const x of all) x.truncate(x.length - 2);
    logits = await model.feed(all.map((sequence, i) => ({ sequence, tokens: [i] })));
    await expectAlone(model, all, logits);
  });

  test("one may be fed while others are disposed of, grow, and come", async () => {
    using model = await open();
    const sequences = Array.from({ length: 20 }, () => model.sequence());
    let logits = await model.feed(sequences.map((sequence, i) => ({ sequence, tokens: other(1 + (i % 4), i) })));
    await expectAlone(model, sequences, logits);
    for (const s of sequences.splice(3, 12)) s.dispose();
    sequences.push(model.sequence());
    logits = await model.feed(sequences.map((sequence, i) => ({ sequence, tokens: other(40, i) })));
    await expectAlone(model, sequences, logits);
  });

  test("contexts can be filled to the last token, together", async () => {
    const small = build({ contextLength: 12 });
    using model = await Decoder.open(small.config, small.weights, wasm({ threads: 1 }));
    const both = [model.sequence(), model.sequence()];
    const feeds = (n: number) => both.map((sequence, i) => ({ sequence, tokens: other(n, i) }));
    await model.feed(feeds(11));
    await expectAlone(model, both, await model.feed(feeds(1)));
    await expect(model.feed(feeds(1))).rejects.toThrow(
      /12 \+ 1 tokens do not fit the context of 12: truncate the sequence, .+ \(sequence 0 of 2\)$/,
    );
  });

  test("what cannot be fed is told before anything is", async () => {
    using model = await open();
    using stranger = await open();
    const [a, b] = [model.sequence(), model.sequence()];
    const fine = { sequence: a, tokens: [1, 2] };
    for (const feeds of [
      [fine, fine],
      [fine, { sequence: b, tokens: [] }],
      [fine, { sequence: b, tokens: [99] }],
      [fine, { sequence: b, tokens: other(301, 1) }],
      [fine, { sequence: stranger.sequence(), tokens: [1] }],
      [fine, { sequence: {}, tokens: [1] }],
      [fine, undefined],
      undefined,
    ])
      await expect(model.feed(feeds as never)).rejects.toThrow(InputError);
    await expect(model.feed([fine, { sequence: b, tokens: "text" as never }])).rejects.toThrow(
      "feed: takes an array of tokens; a tokenizer makes them of a text (sequence 1 of 2)",
    );
    for (const options of [null, 5, AbortSignal.abort(), { signl: AbortSignal.abort() }]) {
      const both = () => model.feed([fine, { sequence: b, tokens: [3] }], options as never);
      for (const feed of [both, () => a.feed([1], options as never), () => a.feedAll([1], options as never)]) {
        await expect(feed()).rejects.toThrow(InputError);
        await expect(feed()).rejects.toThrow(/^feed: .+ There are: signal, profile$/);
      }
    }
    for (const length of [-1, 1, 0.5, "x"])
      await expect(a.fork(length as number)).rejects.toThrow(/fork: takes 0 to 0 tokens/);
    const under = model.feed([fine, { sequence: b, tokens: [3] }]);
    await expect(model.feed([fine, { sequence: b, tokens: [4] }])).rejects.toThrow(/being fed/);
    await under;
    expect(await model.feed([])).toEqual([]);
    const aborted = model.feed([fine, { sequence: b, tokens: [3] }], { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toThrow(/abort/i);
    expect([a.length, b.length]).toEqual([2, 1]);
    await expectAlone(model, [a, b], await model.feed([fine, { sequence: b, tokens: [3] }]));
  });

  test("of those that are fed one after the other none may be fed meanwhile, or is disposed of", async () => {
    for (const device of [cpu(), wasm({ threads: 1 })]) {
      using model = await Decoder.open(config, weights, device);
      const [a, b, gone] = [model.sequence(), model.sequence(), model.sequence()];
      gone.dispose();
      const feeds = [
        { sequence: a, tokens: text(20) },
        { sequence: b, tokens: [1] },
      ];
      await expect(model.feed([...feeds, { sequence: gone, tokens: [1] }])).rejects.toThrow(DisposedError);
      expect([a.length, b.length]).toEqual([0, 0]);
      const under = model.feed(feeds);
      const refused = [a, b].map((s) => expect(s.feed([5])).rejects.toThrow(/being fed/));
      for (const s of [a, b]) expect(() => s.truncate(0)).toThrow(/being fed/);
      await Promise.all(refused);
      await expectAlone(model, [a, b], await under);
    }
  });

  test("heads that have no kernel for several are fed one after the other", async () => {
    for (const kvCache of ["f32", "f16"] as const) {
      const odd = build({ headDim: 6, kvHeads: 1, rope: { dim: 6, base: 10000, interleaved: false } });
      using model = await Decoder.open(odd.config, odd.weights, wasm({ threads: 1 }), { kvCache });
      expect(model.shares).toBe(true);
      // The second run is the first of several.
      for (const [long, short] of [
        [5, 2],
        [140, 130],
      ]) {
        const sequences = [model.sequence(), model.sequence()];
        const feeds = [other(long, 0), other(short, 1)].map((tokens, i) => ({ sequence: sequences[i], tokens }));
        await expectAlone(model, sequences, await model.feed(feeds));
        expect(model.shares).toBe(false);
        model.shares = true;
      }
    }
  });

  test("a device that takes one sequence at a time says so", async () => {
    using model = await Decoder.open(config, weights, cpu());
    const state = [model.session.openState(), model.session.openState()];
    const one = Int32Array.of(0);
    await expect(
      model.session.run({ tokens: one, position: one, sequence: one, rows: one }, { state, rows: 8 }),
    ).rejects.toThrow(UnsupportedOpError);
  });

  test("a sequence that the run does not have is refused", async () => {
    using model = await open();
    const s = model.session.openState();
    const two = Int32Array.of(0, 1);
    await expect(
      model.session.run({ tokens: two, position: two, sequence: two, rows: two }, { state: s, rows: 8 }),
    ).rejects.toThrow(InputError);
  });
});

for (const [device, open] of Object.entries(devices))
  describe(`keys and values in f16 on ${device}`, () => {
    for (const [name, variant] of Object.entries(variants))
      test(name, async () => {
        const { config, weights } = build(variant);
        using model = await Decoder.open(config, weights, open(), { kvCache: "f16" });
        using full = await Decoder.open(config, weights, open());
        const naive = new NaiveDecoder(config, weights);
        const tokens = other(60, 1);
        const want = tokens.map((t) => naive.next(t));
        const [s, f] = [model.sequence(), full.sequence()];
        // Keys and values are rounded to 11 bits. The largest logits are 3 to 6.
        const close = (got: Float32Array, n: number) => expect(worst(got, want[n])).toBeLessThan(1e-2);
        close(await s.feed(tokens.slice(0, 41)), 40);
        await f.feed(tokens.slice(0, 41));
        expect(s.bytes).toBe(f.bytes / 2);
        for (let i = 41; i < 50; i++) close(await s.feed([tokens[i]]), i);
        const fork = await s.fork(45);
        const last = await model.feed([
          { sequence: s, tokens: tokens.slice(50) },
          { sequence: fork, tokens: tokens.slice(45) },
        ]);
        for (const l of last) close(l, 59);
      });
  });

for (const [device, open] of Object.entries(devices))
  test(`keys and values that f16 does not hold are refused on ${device}`, async () => {
    const model = graph(({ input, state }) => {
      const [position, sequence] = [input("position", "i32", ["t"]), input("sequence", "i32", ["t"])];
      const x = input("x", "f32", [1, "t", 8]);
      const keys = kvAppend(state("k", "f16", [16, 8]), x, position, sequence);
      return { y: cachedAttention(x, keys, keys, position, sequence, { heads: 1 }) };
    });
    using session = await compile(model, { device: open() });
    const states = [session.openState(), session.openState()];
    const feed = (value: number, count: number) => {
      const x = { dtype: "f32", shape: [1, count, 8], data: new Float32Array(8 * count).fill(value, -3, -2) } as const;
      const places = { position: new Int32Array(count), sequence: Int32Array.from({ length: count }, (_, t) => t) };
      return session.run({ x, ...places }, { state: states.slice(0, count), rows: 1 });
    };
    for (const count of device === "cpu" ? [1] : [1, 2]) {
      for (const value of [65520, -70000, Number.POSITIVE_INFINITY, Number.NaN]) {
        await expect(feed(value, count), `${value}`).rejects.toThrow(/65504 of f16.*\(node "/);
        await expect(feed(value, count)).rejects.toThrow(InputError);
      }
      const { y } = await feed(65519, count);
      expect((y.data as Float32Array).at(-3)).toBe(65504);
    }
  });

test("a kvCache that is none is refused", async () => {
  const { config, weights } = build({});
  await expect(Decoder.open(config, weights, cpu(), { kvCache: "q8_0" as never })).rejects.toThrow(InputError);
});
