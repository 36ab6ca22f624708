/** How the text of a window is found, with models that say what the tests want. */
import { expect, test, vi } from "vitest";
import type { Listening, SpeechModelFile } from "../../src/tasks/speech/model.ts";
import { compression, transcribeWindow } from "../../src/tasks/speech/window.ts";
import type { Tokenizer } from "../../src/tasks/tokenizers/tokenizer.ts";

const words = ["the ", "light ", "is ", "on "];
const [end, start, noSpeech, en, de, transcribe, noTimestamps, translate] = [4, 5, 6, 7, 8, 9, 10, 11];
const size = 12;

const tokenizer = {
  bytes: (t: number) => new TextEncoder().encode(words[t] ?? ""),
} as unknown as Tokenizer;
const file = {
  positions: 120,
  tokenizer,
  tokens: {
    start,
    end,
    noSpeech,
    noTimestamps,
    transcribe,
    translate,
    languages: new Map([
      ["en", en],
      ["de", de],
    ]),
    suppressed: [3],
    suppressedFirst: [end],
  },
} as unknown as SpeechModelFile;

/** A model that gives logits by the tokens so far; all that is not named is unlikely. */
function speaking(next: (said: number[], attempt: number) => Record<number, number>, silence = -8) {
  const log: { attempts: number; prompts: number[][] } = { attempts: 0, prompts: [] };
  let fed: number[] = [];
  const listening: Listening = {
    async feed(tokens) {
      fed.push(...tokens);
      const logits = new Float32Array(size).fill(-20);
      const given = fed.length === 1 ? { [en]: 1, [de]: 3, [noSpeech]: 3 + silence } : next(fed.slice(4), log.attempts);
      for (const [t, v] of Object.entries(given)) logits[Number(t)] = v;
      if (fed.length === 4) log.prompts.push([...fed]);
      return logits;
    },
    restart() {
      fed = [];
      log.attempts++;
    },
    dispose() {},
  };
  return { listening, log };
}
const sentence = (said: number[]): Record<number, number> => ({ [[0, 1, 2, end][said.length]]: 5 });

test("the likeliest tokens, in the language that is heard or asked for", async () => {
  const { listening, log } = speaking(sentence);
  const heard = await transcribeWindow(file, listening, {});
  expect(heard).toMatchObject({ text: "the light is ", tokens: [0, 1, 2], language: "de" });
  expect(log).toEqual({ attempts: 1, prompts: [[start, de, transcribe, noTimestamps]] });
  const asked = speaking(sentence);
  expect((await transcribeWindow(file, asked.listening, { language: "en" }))?.language).toBe("en");
  expect(asked.log.prompts[0][1]).toBe(en);
  const translated = speaking(sentence);
  expect((await transcribeWindow(file, translated.listening, { task: "translate" }))?.language).toBe("de");
  expect(translated.log.prompts).toEqual([[start, de, translate, noTimestamps]]);
});

test("an abort is seen while the text is written", async () => {
  // Each look at the clock finds it later than a turn of other tasks may be put off.
  let time = 0;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => (time += 13));
  const later = new AbortController();
  const { listening } = speaking(() => ({ 1: 5 }));
  const signals: (AbortSignal | undefined)[] = [];
  const watched: Listening = {
    ...listening,
    async feed(tokens, signal) {
      signals.push(signal);
      // The sound and the prompt are read, and two tokens are said.
      if (signals.length === 4) setImmediate(() => later.abort(new Error("enough")));
      return listening.feed(tokens);
    },
  };
  try {
    await expect(transcribeWindow(file, watched, { signal: later.signal })).rejects.toThrow("enough");
  } finally {
    clock.mockRestore();
  }
  expect(signals.length).toBeLessThan(8);
  expect(new Set(signals)).toEqual(new Set([later.signal]));
});

test("tokens that are suppressed, and an end at once, never come", async () => {
  const { listening } = speaking((said) => (said.length === 0 ? { [end]: 9, 3: 8, 0: 5 } : { [end]: 5 }));
  expect((await transcribeWindow(file, listening, {}))?.tokens).toEqual([0]);
});

test("a text that repeats itself is tried again at higher temperatures", async () => {
  const { listening, log } = speaking((said, attempt) => (attempt < 3 ? { 1: 5 } : sentence(said)));
  expect((await transcribeWindow(file, listening, {}))?.text).toBe("the light is ");
  expect(log.attempts).toBe(3);
  // And stands after the last: nothing better is known.
  const stuck = speaking(() => ({ 1: 5 }));
  expect((await transcribeWindow(file, stuck.listening, {}))?.tokens).toEqual(new Array(60).fill(1));
  expect(stuck.log.attempts).toBe(6);
});

test("a text that the model doubts is tried again, unless silence is likelier", async () => {
  // Four words as likely as each other, and the end: less than e^-1 each.
  const unsure = (said: number[], attempt: number): Record<number, number> =>
    attempt > 1 ? sentence(said) : said.length > 4 ? { [end]: 5 } : { 0: 1, 1: 1, 2: 1, [end]: 0.9 };
  const doubted = speaking(unsure);
  expect((await transcribeWindow(file, doubted.listening, {}))?.text).toBe("the light is ");
  expect(doubted.log.attempts).toBe(2);
  // Doubted to the end: the least doubtful of all, the third, which says fifteen words.
  const never = speaking((said, attempt) => {
    if (attempt === 3) return said.length < 15 ? { 0: 1, 1: 1, 2: 1 } : { [end]: 5 };
    return unsure(said, 1);
  });
  expect((await transcribeWindow(file, never.listening, {}))?.tokens).toHaveLength(15);
  expect(never.log.attempts).toBe(6);
  const silent = speaking(unsure, 1);
  expect(await transcribeWindow(file, silent.listening, {})).toBeUndefined();
  expect(silent.log.attempts).toBe(1);
});

test("words that the model is sure of are heard even where it took the window for silent", async () => {
  for (const silence of [1, 4])
    expect((await transcribeWindow(file, speaking(sentence, silence).listening, {}))?.text).toBe("the light is ");
  // Words of probability one half do where silence is likely, not where it is nearly certain.
  const half = (said: number[]): Record<number, number> =>
    said.length === 3 ? { [end]: 1, 0: 0.999 } : { [[0, 1, 2][said.length]]: 1, [[1, 2, 0][said.length]]: 0.999 };
  expect(await transcribeWindow(file, speaking(half, 1).listening, {})).toBeDefined();
  expect(await transcribeWindow(file, speaking(half, 4).listening, {})).toBeUndefined();
});

test("what is the same each time compresses well", async () => {
  expect(await compression("")).toBe(0);
  expect(await compression("Please open the window and turn on the light.")).toBeLessThan(1.5);
  expect(await compression("turn on the light ".repeat(10))).toBeGreaterThan(4);
});
