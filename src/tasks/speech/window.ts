/**
 * The text of one window of sound, as OpenAI's Whisper finds it (https://arxiv.org/abs/2212.04356, section 4.5): the likeliest
 * token each time; where that text repeats itself or the model doubts it, drawn at rising temperatures; and nothing where
 * the model is surer that nothing is said.
 */
import { nextTurn } from "../../graph/drive.ts";
import { argMax, logProbabilities, Sampler } from "../language/sampling.ts";
import { decode } from "../tokenizers/tokenizer.ts";
import type { Listening, SpeechModelFile, SpeechTask } from "./model.ts";

export interface WindowOptions {
  /** ISO code. Default: what the model hears. */
  readonly language?: string;
  readonly task?: SpeechTask;
  readonly signal?: AbortSignal;
}

export interface Heard {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly language?: string;
  /** `performance.now()` when the first token was there. */
  readonly firstTokenAt: number;
}

/** Milliseconds after which other tasks get a turn between two tokens. */
const turnAfter = 12;
const temperatures = [0, 0.2, 0.4, 0.6, 0.8, 1];
/** A text is doubted below this mean logarithm of its tokens' probabilities. */
const leastLogprob = -1;
/** A text that gets so much shorter by compression repeats itself. */
const mostCompression = 2.4;
/** Beyond this probability of silence doubted words are dropped; where silence is nearly certain, words need to be surer. */
const silence = { likely: 0.6, nearlyCertain: 0.9, logprob: -0.4 };

interface Attempt {
  readonly tokens: number[];
  readonly meanLogprob: number;
  readonly noSpeech: number;
  readonly language?: string;
  readonly firstTokenAt: number;
}

/**
 * Undefined where nothing is said.
 * @throws the signal's reason when aborted
 */
export async function transcribeWindow(
  file: SpeechModelFile,
  listening: Listening,
  options: WindowOptions,
): Promise<Heard | undefined> {
  let language = options.language;
  /** Of the doubted ones: rather what does not repeat itself, then what the model doubts least. */
  let best: (Attempt & { text: string; repeats: boolean }) | undefined;
  for (const temperature of temperatures) {
    listening.restart();
    const attempt = await listen(file, listening, { ...options, language }, temperature);
    const { tokens, meanLogprob, noSpeech } = attempt;
    language = attempt.language;
    const text = decode(file.tokenizer, tokens);
    const bound = noSpeech > silence.nearlyCertain ? silence.logprob : leastLogprob;
    if (noSpeech > silence.likely && meanLogprob < bound) return undefined;
    const repeats = (await compression(text)) > mostCompression;
    if (!repeats && meanLogprob >= leastLogprob) return { ...attempt, text };
    if (!best || (best.repeats === repeats ? meanLogprob > best.meanLogprob : best.repeats))
      best = { ...attempt, text, repeats };
  }
  // Words that are doubted to the end are none where silence is likely.
  return best && best.noSpeech <= silence.likely ? best : undefined;
}

async function listen(
  { tokens: known, positions }: SpeechModelFile,
  listening: Listening,
  { language: wanted, task, signal }: WindowOptions,
  temperature: number,
): Promise<Attempt> {
  const first = await listening.feed([known.start], signal);
  const noSpeech = known.noSpeech === undefined ? 0 : Math.exp(logProbabilities(first, [known.noSpeech])[0]);
  const codes = [...known.languages];
  const likeliest = (): string | undefined =>
    codes.length ? codes.reduce((a, b) => (first[b[1]] > first[a[1]] ? b : a))[0] : undefined;
  const language = wanted ?? likeliest();
  const asked = task === "translate" ? known.translate : known.transcribe;
  const prompt =
    language === undefined ? [] : [known.languages.get(language)!, ...(asked === undefined ? [] : [asked])];
  let logits = await listening.feed([...prompt, known.noTimestamps], signal);
  // Seeded: the same sound gives the same text.
  const sampler = new Sampler({ temperature, topP: 1, seed: 1 });
  const tokens: number[] = [];
  let sum = 0;
  let firstTokenAt = 0;
  let lastTurn = performance.now();
  // As much of the positions as OpenAI's decoder takes for an answer.
  while (tokens.length < positions / 2) {
    signal?.throwIfAborted();
    forbid(logits, known, tokens.length === 0);
    const token = temperature === 0 ? argMax(logits) : sampler.sample(logits, []);
    sum += logProbabilities(logits, [token])[0];
    firstTokenAt ||= performance.now();
    if (token === known.end) break;
    tokens.push(token);
    if (performance.now() - lastTurn > turnAfter) {
      await nextTurn();
      lastTurn = performance.now();
      signal?.throwIfAborted();
    }
    logits = await listening.feed([token], signal);
  }
  return { tokens, meanLogprob: sum / (tokens.length + 1), noSpeech, language, firstTokenAt };
}

function forbid(logits: Float32Array, known: SpeechModelFile["tokens"], first: boolean): void {
  for (const t of known.suppressed) logits[t] = Number.NEGATIVE_INFINITY;
  if (first) for (const t of known.suppressedFirst) logits[t] = Number.NEGATIVE_INFINITY;
  // Timestamps have the last numbers.
  logits.fill(Number.NEGATIVE_INFINITY, known.noTimestamps);
}

/** How many times shorter a text gets. */
export async function compression(text: string): Promise<number> {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length === 0) return 0;
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return bytes.length / (await new Response(packed).arrayBuffer()).byteLength;
}
