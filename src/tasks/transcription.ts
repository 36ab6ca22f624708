/** Speech recognition: sound to text. */
import { openDevice } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import { openSource, type SourceInput } from "../formats/source.ts";
import { compile, type Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { InputError } from "../tensor/errors.ts";
import { framesOf, logMel } from "./audio/log-mel.ts";
import { resample } from "./audio/resample.ts";
import { readWav, type Sound } from "./audio/wav.ts";
import { argMax, logProbabilities } from "./language/sampling.ts";
import type { TaskOptions } from "./onnx-model.ts";
import { readSpeechModel } from "./speech/files.ts";
import type { Listening, SpeechModel, SpeechModelFile } from "./speech/model.ts";
import { TextStream } from "./tokenizers/tokenizer.ts";

export type { Sound } from "./audio/wav.ts";

export type TranscriptionOptions = TaskOptions;

export interface TranscribeOptions {
  /** ISO code or English name: `de`, `German`. Default: what the model hears. */
  language?: string;
  /** `translate` gives English whatever is spoken. Default `transcribe`. */
  task?: "transcribe" | "translate";
  signal?: AbortSignal;
  /** Called with the text as it is recognised. */
  onText?: (piece: string) => void;
}

/** What is said in a stretch of the sound, in seconds. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface Transcript {
  text: string;
  /** ISO code; undefined for models that know English only. */
  language?: string;
  segments: Segment[];
  tokens: number[];
  /** Of the sound. */
  seconds: number;
  /** Milliseconds until the first token, and of everything. */
  firstTokenMs: number;
  totalMs: number;
}

/** Sound: samples at 16 kHz of one channel, samples at any rate, or a WAV file (path, URL, bytes, Blob). */
export type SoundInput = Float32Array | Sound | SourceInput;

/** A window that may be silent has words that the model itself doubts: it is left out. */
const silence = { noSpeech: 0.6, logprob: -1 };
/** Seconds at the end of a window among which the quietest moment is looked for, and how long a moment is. */
const [cutRange, moment] = [5, 0.3];

/**
 * Loads a speech recogniser: a folder of Whisper, with `config.json`, `tokenizer.json` and either safetensors or ONNX graphs
 * (`encoder_model.onnx`, `decoder_model_merged.onnx`, quantised or not, also in `onnx/`).
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other kinds of models; MissingPeerError without
 * `@huggingface/tokenizers`
 */
export async function transcription(model: SourceInput, options: TranscriptionOptions = {}): Promise<Transcriber> {
  const { signal, onProgress } = options;
  const folder = await ModelFolder.openConfigured(model, sourceOptions(options));
  const file = await readSpeechModel(folder);
  const device = await openDevice(options.device, options);
  onProgress?.({ phase: "compile", loaded: 0, total: 1 });
  const transcriber = new Transcriber(
    file,
    await file.open(device, signal),
    await compile(logMel(file.mel), { device }),
  );
  onProgress?.({ phase: "compile", loaded: 1, total: 1 });
  return transcriber;
}

export class Transcriber {
  constructor(
    private readonly file: SpeechModelFile,
    private readonly model: SpeechModel,
    private readonly spectrogram: Session,
  ) {}

  /** ISO codes of the languages that the model tells apart. Empty where it knows English only. */
  get languages(): string[] {
    return [...this.file.tokens.languages.keys()];
  }

  /** Where it runs. */
  get device(): string {
    return this.spectrogram.device.name;
  }

  /**
   * The words of a recording of any length: windows of 30 seconds, cut where it is quiet, the likeliest token each time.
   * @throws InputError for no sound or an unknown language, FormatError for a file that is no WAV, the signal's reason when
   * aborted
   */
  async transcribe(sound: SoundInput, options: TranscribeOptions = {}): Promise<Transcript> {
    const { signal } = options;
    const started = performance.now();
    const wanted = this.languageOf(options.language);
    if (options.task === "translate" && this.file.tokens.translate === undefined)
      throw new InputError("transcribe: this model can't translate");
    const samples = await this.samplesOf(sound, signal);
    const { rate } = this.file.mel;
    const result: Transcript = {
      text: "",
      language: wanted,
      segments: [],
      tokens: [],
      seconds: samples.length / rate,
      firstTokenMs: 0,
      totalMs: 0,
    };
    for (let at = 0; at < samples.length; ) {
      const end = this.cut(samples, at);
      const window = new Window(this.file, result, options, started);
      const listening = await this.model.listen(await this.hear(samples.subarray(at, end), signal), signal);
      try {
        const text = await window.run(listening);
        if (text !== "") result.segments.push({ start: at / rate, end: end / rate, text: text.trim() });
        result.text += text;
      } finally {
        listening.dispose();
      }
      at = end;
    }
    result.text = result.text.trim();
    result.totalMs = performance.now() - started;
    return result;
  }

  dispose(): void {
    this.model.dispose();
    this.spectrogram.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private languageOf(name: string | undefined): string | undefined {
    const { languages } = this.file.tokens;
    if (name === undefined) return undefined;
    const asked = name.toLowerCase();
    if (languages.size === 0 && /^en(glish)?$/.test(asked)) return undefined;
    const names = new Intl.DisplayNames("en", { type: "language" });
    const found = [...languages.keys()].find((code) => code === asked || names.of(code)?.toLowerCase() === asked);
    if (found === undefined)
      throw new InputError(
        languages.size === 0
          ? `transcribe: this model knows English only, not "${name}"`
          : `transcribe: "${name}" is none of the model's languages: ${[...languages.keys()].sort().join(" ")}`,
      );
    return found;
  }

  private async samplesOf(input: SoundInput, signal?: AbortSignal): Promise<Float32Array> {
    const { rate } = this.file.mel;
    let sound: Sound;
    if (input instanceof Float32Array) sound = { rate, samples: input };
    else if (isSound(input)) sound = input;
    else {
      const source = await openSource(input, { signal });
      sound = readWav(await source.read(0, source.size, signal), source.name);
    }
    if (sound.samples.length === 0) throw new InputError("transcribe: there is no sound");
    if (!sound.samples.every(Number.isFinite)) throw new InputError("transcribe: samples that are no finite numbers");
    return resample(sound.samples, sound.rate, rate);
  }

  /** Where the window that begins at `at` ends. */
  private cut(samples: Float32Array, at: number): number {
    const { windowSamples, mel } = this.file;
    if (samples.length - at <= windowSamples) return samples.length;
    const length = Math.round(moment * mel.rate);
    let [best, least] = [at + windowSamples, Number.POSITIVE_INFINITY];
    for (let end = at + windowSamples; end > at + windowSamples - cutRange * mel.rate; end -= length >> 2) {
      let power = 0;
      for (let i = end - length; i < end; i++) power += samples[i] ** 2;
      if (power < least) [best, least] = [end - (length >> 1), power];
    }
    return best;
  }

  private async hear(samples: Float32Array, signal?: AbortSignal) {
    const { mel: config, windowSamples } = this.file;
    const { mel } = await this.spectrogram.run({ frames: framesOf(samples, windowSamples, config) }, { signal });
    return { ...mel, shape: [1, ...mel.shape] };
  }
}

/** The text of one window, token by token. */
class Window {
  constructor(
    private readonly file: SpeechModelFile,
    private readonly result: Transcript,
    private readonly options: TranscribeOptions,
    private readonly started: number,
  ) {}

  async run(listening: Listening): Promise<string> {
    const { result } = this;
    const { tokens, positions, tokenizer } = this.file;
    const { signal, onText } = this.options;
    const first = await listening.feed([tokens.start]);
    const noSpeech = tokens.noSpeech === undefined ? 0 : Math.exp(logProbabilities(first, [tokens.noSpeech])[0]);
    const prompt = this.prompt(first);
    let logits = await listening.feed(prompt);
    const stream = new TextStream(tokenizer, false);
    const pieces: string[] = [];
    const own: number[] = [];
    let logprob = 0;
    const doubtful = (): boolean => noSpeech > silence.noSpeech && logprob / (own.length + 1) < silence.logprob;
    // As much of the positions as OpenAI's decoder takes for an answer.
    while (own.length < positions / 2) {
      signal?.throwIfAborted();
      const token = this.next(logits, own.length === 0);
      logprob += logProbabilities(logits, [token])[0];
      if (result.firstTokenMs === 0) result.firstTokenMs = performance.now() - this.started;
      if (token === tokens.end) break;
      own.push(token);
      const piece = stream.push(token);
      pieces.push(piece);
      // Words that may have to be taken back are not shown before it is known.
      if (noSpeech <= silence.noSpeech && piece !== "")
        onText?.(result.text === "" && own.length === 1 ? piece.trimStart() : piece);
      logits = await listening.feed([token]);
    }
    if (doubtful()) return "";
    pieces.push(stream.end());
    const text = pieces.join("");
    if (noSpeech > silence.noSpeech) onText?.(result.text === "" ? text.trimStart() : text);
    for (const t of own) result.tokens.push(t);
    return text;
  }

  /** What comes after the token of the start: language, task, no timestamps. */
  private prompt(logits: Float32Array): number[] {
    const { result, options } = this;
    const { languages, transcribe, translate, noTimestamps } = this.file.tokens;
    if (languages.size === 0) return [noTimestamps];
    const codes = [...languages];
    // The first window decides for the others.
    result.language ??= codes.reduce((a, b) => (logits[b[1]] > logits[a[1]] ? b : a))[0];
    const task = options.task === "translate" ? translate : transcribe;
    return [languages.get(result.language)!, ...(task === undefined ? [] : [task]), noTimestamps];
  }

  private next(logits: Float32Array, first: boolean): number {
    const { suppressed, suppressedFirst, noTimestamps } = this.file.tokens;
    const forbid = (t: number): void => {
      logits[t] = Number.NEGATIVE_INFINITY;
    };
    suppressed.forEach(forbid);
    if (first) suppressedFirst.forEach(forbid);
    // Timestamps have the last numbers.
    logits.fill(Number.NEGATIVE_INFINITY, noTimestamps);
    return argMax(logits);
  }
}

const isSound = (v: SoundInput): v is Sound =>
  typeof v === "object" && "samples" in v && v.samples instanceof Float32Array && typeof v.rate === "number";
