import { describe, expect, test } from "vitest";
import {
  logProbabilities,
  randomFrom,
  Sampler,
  type SamplingOptions,
  type TokenFilter,
  topTokens,
} from "../../src/tasks/language/sampling.ts";
import { type GenerateOptions, type Generation, textGeneration } from "../../src/tasks/text-generation.ts";
import { DisposedError, InputError } from "../../src/tensor/errors.ts";
import { tinyGguf } from "./tiny-gguf.ts";

const file = tinyGguf();
const open = (bytes = file) => textGeneration(bytes, { device: "wasm", threads: 1 });
const greedy = { temperature: 0, maxTokens: 12 };

describe("text generation", () => {
  test("streams what generate gives, as an iterable and as a ReadableStream", async () => {
    using model = await open();
    const whole = await model.generate("hello", greedy);
    expect([whole.tokens.length, whole.promptTokens, whole.finish]).toEqual([12, 6, "length"]);
    const stream = model.stream("hello", greedy);
    let text = "";
    for await (const piece of stream) text += piece;
    expect([text, stream.generation.text, stream.generation.tokens]).toEqual([whole.text, whole.text, whole.tokens]);
    const reader = model.stream("hello", greedy).toReadableStream().getReader();
    let read = "";
    for (let r = await reader.read(); !r.done; r = await reader.read()) read += r.value;
    expect(read).toBe(whole.text);
  });

  test("the same seed gives the same text, another one another", async () => {
    using model = await open();
    const run = async (seed: number) =>
      (await model.generate("x", { seed, temperature: 1.5, topP: 1, maxTokens: 20 })).tokens;
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
  });

  test("many at once give what each gives alone", async () => {
    using model = await open();
    const prompts = ["one", "two and more", "t", "onerous"];
    const alone: Generation[] = [];
    for (const p of prompts) alone.push(await model.generate(p, greedy));
    const together = await Promise.all(prompts.map((p) => model.generate(p, greedy)));
    expect(together.map((g) => g.tokens)).toEqual(alone.map((g) => g.tokens));
  });

  test("a prompt that begins like the last one is not computed again", async () => {
    using model = await open();
    const first = await model.generate("a long beginning", greedy);
    const again = await model.generate("a long beginning", greedy);
    expect([first.reusedTokens, again.reusedTokens]).toEqual([0, again.promptTokens - 1]);
    expect(again.tokens).toEqual(first.tokens);
  });

  test("stop strings end it, and are not part of it", async () => {
    using model = await open();
    const { text } = await model.generate([1, 2, 3], { ...greedy, maxTokens: 30 });
    const stop = text.slice(4, 7);
    const g = await model.generate([1, 2, 3], { ...greedy, maxTokens: 30, stop: ["never there", stop] });
    expect([g.text, g.finish]).toEqual([text.slice(0, text.indexOf(stop)), "stop"]);
  });

  test("log-probabilities of tokens and of the likeliest", async () => {
    using model = await open();
    const { logprobs, tokens } = await model.generate("x", { ...greedy, maxTokens: 3, logprobs: 4 });
    expect(logprobs!.map((l) => l.token)).toEqual(tokens);
    for (const { token, logprob, top } of logprobs!) {
      expect(top).toHaveLength(4);
      // Greedy: the token is the likeliest.
      expect([top[0].token, top[0].logprob]).toEqual([token, logprob]);
      expect(logprob).toBeLessThan(0);
      for (let i = 1; i < 4; i++) expect(top[i].logprob).toBeLessThanOrEqual(top[i - 1].logprob);
    }
  });

  test("log-probabilities are those of the model's softmax, whatever sampling does to the logits", async () => {
    using model = await open();
    const options = { temperature: 2, topK: 3, repetitionPenalty: 1.5, seed: 1, maxTokens: 5, logprobs: 2 };
    const { logprobs, tokens } = await model.generate("abc", options);
    const sequence = model.decoder.sequence();
    let logits = await sequence.feed(await model.tokensOf("abc"));
    for (const [i, { token, logprob, top }] of logprobs!.entries()) {
      const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
      expect(logprob).toBeCloseTo(logits[token] - Math.log(total), 4);
      const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
      expect(top.map((t) => t.token)).toEqual(order.slice(0, 2));
      logits = await sequence.feed([tokens[i]]);
    }
    sequence.dispose();
  });

  test("sampling options reach the sampler: each leaves the likeliest, or what was not said yet", async () => {
    using model = await open();
    const { tokens } = await model.generate("hello", greedy);
    const hot = { temperature: 5, topP: 1, seed: 4, maxTokens: 12 };
    expect((await model.generate("hello", hot)).tokens).not.toEqual(tokens);
    for (const narrow of [{ topK: 1 }, { topP: 0 }, { minP: 1 }, { temperature: 0 }])
      expect((await model.generate("hello", { ...hot, ...narrow })).tokens).toEqual(tokens);
    // Logits of what was said are divided by so much that nothing comes twice.
    const told = (await model.generate("hello", { ...greedy, maxTokens: 40, repetitionPenalty: 1e6 })).tokens;
    expect(new Set(told).size).toBe(told.length);
    expect(new Set((await model.generate("hello", { ...greedy, maxTokens: 40 })).tokens).size).toBeLessThan(40);
  });

  test("cancelling a ReadableStream stops the generation", async () => {
    using model = await open();
    const stream = model.stream("hello", { ...greedy, maxTokens: 50 });
    const reader = stream.toReadableStream().getReader();
    await reader.read();
    await reader.cancel();
    const { length } = stream.generation.tokens;
    expect(length).toBeLessThan(10);
    await model.generate("other", greedy);
    expect([stream.generation.tokens.length, stream.generation.finish]).toEqual([length, undefined]);
  });

  test("cancelling a ReadableStream in the prompt does not wait for the first token", async () => {
    using model = await open();
    const signals = [undefined, new AbortController().signal];
    for (const signal of signals) {
      const stream = model.stream("y".repeat(40), { ...greedy, signal });
      const reader = stream.toReadableStream().getReader();
      const first = reader.read();
      while (stream.generation.promptTokens === 0) await Promise.resolve();
      await reader.cancel();
      expect([await first, stream.generation.tokens]).toEqual([{ done: true, value: undefined }, []]);
    }
    await expect(model.generate("y".repeat(40), greedy)).resolves.toMatchObject({ finish: "length" });
  });

  test("a full context ends it; a prompt beyond it is refused", async () => {
    using model = await open();
    const g = await model.generate("x".repeat(50), { temperature: 0, maxTokens: 100 });
    // The token after the last position is still chosen.
    expect([g.finish, g.promptTokens + g.tokens.length]).toEqual(["context", 65]);
    await expect(model.generate("x".repeat(64), greedy)).rejects.toThrow(/context of 64/);
    expect((await model.generate("x".repeat(63), greedy)).tokens).toHaveLength(1);
  });

  test("an abort stops it before, in the prompt, and on the way; the model goes on", async () => {
    using model = await open();
    const want = await model.generate("hello", greedy);
    await expect(model.generate("hello", { ...greedy, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    const controller = new AbortController();
    const pending = model.generate("y".repeat(40), { ...greedy, signal: controller.signal });
    queueMicrotask(() => controller.abort());
    await expect(pending).rejects.toThrow(/abort/i);
    const later = new AbortController();
    let pieces = 0;
    const stream = model.stream("hello", { ...greedy, maxTokens: 50, signal: later.signal });
    await expect(async () => {
      for await (const _ of stream) if (++pieces === 3) later.abort();
    }).rejects.toThrow(/abort/i);
    expect(pieces).toBe(3);
    // A reader that leaves is no error.
    for await (const _ of model.stream("hello", greedy)) break;
    expect((await model.generate("hello", greedy)).tokens).toEqual(want.tokens);
  });

  test("a text that goes on has no end, also where the file puts one behind texts", async () => {
    using model = await open(tinyGguf({ addEnd: true }));
    expect(await model.tokensOf("hi")).toEqual([256, 104, 105]);
  });

  test("messages go through the model's template", async () => {
    using model = await open();
    const messages = [{ role: "user", content: "hi <|end|>" }];
    const tokens = await model.tokensOf(messages);
    expect(tokens.slice(0, 3)).toEqual([258, 104, 105]);
    expect(tokens.slice(-2)).toEqual([257, 259]);
    expect((await model.generate(messages, greedy)).promptTokens).toBe(tokens.length);
    await expect(model.generate([], greedy)).rejects.toThrow(InputError);
    await expect(model.generate([{ role: "user" }] as never, greedy)).rejects.toThrow(InputError);
    using plain = await open(tinyGguf({ chat: false }));
    await expect(plain.generate(messages, greedy)).rejects.toThrow(/no chat template/);
  });

  test("options out of range are refused", async () => {
    using model = await open();
    const bad: GenerateOptions[] = [
      { temperature: -1 },
      { temperature: Number.NaN },
      // With minP 1 there would be no candidates.
      { temperature: Infinity, minP: 1 },
      { stop: [5] as never },
      { stop: { bad: true } as never },
      { topP: 2 },
      { minP: -0.1 },
      { topK: -1 },
      { repetitionPenalty: 0 },
      { maxTokens: 1.5 },
      { logprobs: -1 },
      { logprobs: Number.NaN },
      { seed: Number.NaN },
    ];
    for (const options of bad) await expect(model.generate("x", options)).rejects.toThrow(InputError);
    expect((await model.generate("x", { maxTokens: 0 })).finish).toBe("length");
    model.dispose();
    await expect(model.generate("x")).rejects.toThrow(DisposedError);
  });
});

describe("sampling", () => {
  const logits = () => Float32Array.of(1, 3, 2, -1, 2.5);
  const share = (options: ConstructorParameters<typeof Sampler>[0], n = 4000): number[] => {
    const sampler = new Sampler({ topP: 1, temperature: 1, seed: 7, ...options });
    const counts = new Array<number>(5).fill(0);
    for (let i = 0; i < n; i++) counts[sampler.sample(logits(), [])]++;
    return counts.map((c) => c / n);
  };
  const softmax = (x: ArrayLike<number>, t = 1): number[] => {
    const e = Array.from(x, (v) => Math.exp(v / t));
    const sum = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / sum);
  };
  const near = (got: number[], want: number[]): void => {
    got.forEach((g, i) => {
      expect(Math.abs(g - want[i])).toBeLessThan(0.03);
    });
  };

  test("draws with the probabilities of the softmax, at any temperature", () => {
    near(share({}), softmax(logits()));
    near(share({ temperature: 2 }), softmax(logits(), 2));
    expect(share({ temperature: 0 }, 10)).toEqual([0, 1, 0, 0, 0]);
  });

  test("top-k, top-p and min-p leave the likeliest", () => {
    const only = (keep: number[]): number[] => softmax(Array.from(logits(), (v, i) => (keep.includes(i) ? v : -1e9)));
    near(share({ topK: 2 }), only([1, 4]));
    // 0.47, 0.28, 0.17, ...: the first two have 0.75.
    near(share({ topP: 0.7 }), only([1, 4]));
    near(share({ topP: 0.8 }), only([1, 4, 2]));
    near(share({ minP: 0.5 }), only([1, 4]));
    near(share({ topP: 0 }), only([1]));
    // Min-p leaves the first three, which have 0.93: top-p is of all, not of these.
    near(share({ topP: 0.8, minP: 0.36 }), only([1, 4, 2]));
    near(share({ topP: 0.8, minP: 0.5 }), only([1, 4]));
    // 0.62 and 0.38 of the first two.
    near(share({ topP: 0.6, topK: 2 }), only([1]));
  });

  test("draws what sorting the whole vocabulary would", () => {
    const random = randomFrom(5);
    for (const size of [40, 4000])
      for (const options of [
        { topP: 0.95 },
        { topP: 0.5, temperature: 3 },
        { topP: 0.999, temperature: 30 },
        { topP: 0, temperature: 30 },
        { topP: 0.9, minP: 0.2 },
        { topP: 0.9, topK: 30, temperature: 3 },
        { topK: 3000, topP: 0.9, minP: 1e-3, temperature: 9 },
      ]) {
        const { topP, minP = 0, topK = Infinity, temperature = 1 }: SamplingOptions = options;
        const sampler = new Sampler({ temperature, ...options, seed: 3 });
        const drawn = randomFrom(3);
        for (let i = 0; i < 20; i++) {
          // Some are equal, some may not come.
          const given = Float32Array.from({ length: size }, () => Math.round(random() * 2000) / 100 - 12);
          for (let k = 0; k < size; k += 7) given[k] = Number.NEGATIVE_INFINITY;
          const all = softmax(given, temperature);
          const order = [...given.keys()].sort((a, b) => given[b] - given[a] || a - b).slice(0, topK);
          const enough = topP! * order.reduce((sum, t) => sum + all[t], 0);
          let sum = 0;
          const kept = order.filter((t, n) => {
            const before = sum;
            sum += all[t];
            return n === 0 || (before < enough && all[t] >= minP * all[order[0]]);
          });
          let left = drawn() * kept.reduce((sum, t) => sum + all[t], 0);
          const want = kept.find((t) => (left -= all[t]) < 0);
          expect(sampler.sample(given, [])).toBe(want);
        }
      }
  });

  test("top-p is of the whole vocabulary where no few tokens are likely", () => {
    const drawnOf = (logits: Float32Array, topP: number): number[] => {
      const sampler = new Sampler({ topP, temperature: 5, seed: 1 });
      return Array.from({ length: 200 }, () => sampler.sample(logits, []));
    };
    const even = Math.max(...drawnOf(new Float32Array(32_000), 0.5));
    expect([even > 15_000, even < 16_000]).toEqual([true, true]);
    const slope = Float32Array.from({ length: 32_000 }, (_, i) => -i / 4000);
    const chances = softmax(slope, 5);
    let [sum, size] = [0, 0];
    while (sum < 0.95) sum += chances[size++];
    const last = Math.max(...drawnOf(slope, 0.95));
    expect(size).toBeGreaterThan(28_000);
    expect([last > 0.95 * size, last < size]).toEqual([true, true]);
    const upper = drawnOf(slope, 0.95).filter((t) => t < 4096).length / 200;
    expect(Math.abs(upper - chances.slice(0, 4096).reduce((a, b) => a + b, 0) / sum)).toBeLessThan(0.08);
  });

  test("seeds of more than 32 bits are seeds of their own; smaller ones keep their draws", () => {
    const firstOf = (seed: number): number => randomFrom(seed)();
    expect(firstOf(1)).toBeCloseTo(0.3678755429573357, 12);
    expect(firstOf(2 ** 32 - 1)).toBeCloseTo(0.9197099530138075, 12);
    const seeds = [1, 2 ** 32 + 1, 2 ** 33 + 1, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER, 2 ** 32 - 1];
    expect(new Set(seeds.map(firstOf)).size).toBe(seeds.length);
  });

  test("the repetition penalty divides positive logits and multiplies negative ones", () => {
    const s = new Sampler({ temperature: 0, repetitionPenalty: 2 });
    expect(s.sample(Float32Array.of(1, 3, 2), [1])).toBe(2);
    expect(s.sample(Float32Array.of(-3, -2, -9), [1])).toBe(0);
  });

  test("a large vocabulary: the candidates are the largest, however they lie", () => {
    const large = Float32Array.from({ length: 50_000 }, (_, i) => Math.sin(i * 12.9898) * 20);
    const best = Array.from(large.keys()).sort((a, b) => large[b] - large[a]);
    expect(topTokens(large, 100)).toEqual(best.slice(0, 100));
    const sampler = new Sampler({ topK: 5, topP: 1, temperature: 50, seed: 1 });
    const seen = new Set(Array.from({ length: 500 }, () => sampler.sample(large, [])));
    expect([...seen].sort()).toEqual(best.slice(0, 5).sort());
    expect(Math.exp(logProbabilities(Float32Array.of(0, 0), [0])[0])).toBeCloseTo(0.5, 12);
  });

  test("where few of a large vocabulary may come, these alone are candidates", { timeout: 20_000 }, () => {
    const few = new Set([7, 60_000, 127_999]);
    const filter: TokenFilter = {
      accepts: (token) => few.has(token),
      restrict(logits) {
        for (const t of logits.keys()) if (!few.has(t)) logits[t] = Number.NEGATIVE_INFINITY;
      },
    };
    const large = Float32Array.from({ length: 128_000 }, (_, i) => Math.sin(i * 12.9898) * 20);
    for (const topP of [0.999, 1]) {
      const sampler = new Sampler({ topP, temperature: 50, seed: 1 });
      // So many that it would not end in time if each took more than some passes over the logits.
      const seen = new Set(Array.from({ length: 40 }, () => sampler.sample(large.slice(), [], filter)));
      expect(seen).toEqual(few);
    }
    expect(topTokens(Float32Array.of(1, Number.NEGATIVE_INFINITY, 2), 2)).toEqual([2, 0]);
  });

  test("infinite logits have all of the probability", () => {
    const none = Number.NEGATIVE_INFINITY;
    const infinite = Float32Array.of(1, Infinity, none, Infinity, 3);
    for (const options of [{}, { topP: 1 }, { topK: 3 }, { topK: 2, topP: 1 }, { topP: 1, minP: 0.5 }]) {
      const sampler = new Sampler({ ...options, temperature: 1, seed: 1 });
      const drawn = Array.from({ length: 50 }, () => sampler.sample(infinite, []));
      expect([...new Set(drawn)].sort()).toEqual([1, 3]);
    }
    const half = Math.log(0.5);
    expect(logProbabilities(infinite, [0, 1, 2, 3])).toEqual(
      [none, half, none, half].map((v) => expect.closeTo(v, 12)),
    );
    expect(logProbabilities(Float32Array.of(1, Infinity), [0, 1])).toEqual([none, expect.closeTo(0, 12)]);
    for (const n of [1, 2, 3, 4, 5]) expect(topTokens(infinite, n)).toEqual([1, 3, 4, 0, 2].slice(0, n));
    const penalised = new Sampler({ topP: 1, repetitionPenalty: 1e-300, seed: 1 });
    expect(penalised.sample(Float32Array.of(1, 2, 3), [1])).toBe(1);
  });

  test("logits that are no numbers still give a token", () => {
    expect(new Sampler({ temperature: 1 }).sample(new Float32Array(5).fill(Number.NaN), [])).toBe(0);
    expect(new Sampler({ temperature: 0 }).sample(new Float32Array(5).fill(Number.NEGATIVE_INFINITY), [])).toBe(0);
    for (const temperature of [0, 1])
      expect(new Sampler({ temperature }).sample(Float32Array.of(Number.NaN, 1, 40), [])).toBe(2);
  });
});
