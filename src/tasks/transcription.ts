/** Speech recognition: sound to text. */

import { deviceFor } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import { openSource, type SourceInput } from "../formats/source.ts";
import { compile } from "../graph/compile.ts";
import { drive, type Work } from "../graph/drive.ts";
import type { Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { InputError } from "../tensor/errors.ts";
import type { HostType } from "../tensor/host-type.ts";
import { framesOf, logMel } from "./audio/log-mel.ts";
import { resample } from "./audio/resample.ts";
import { type Sound, soundIn } from "./audio/wav.ts";
import {
  checkOptions,
  type OptionNames,
  type SignalOptions,
  signalOptions,
  type TaskOptions,
  taskOptions,
} from "./options.ts";
import { readSpeechModel } from "./speech/files.ts";
import { languageNamed } from "./speech/languages.ts";
import type { SpeechModel, SpeechModelFile, SpeechTask } from "./speech/model.ts";
import { type Heard, transcribeWindow } from "./speech/window.ts";

export type { Sound } from "./audio/wav.ts";

export type TranscriptionOptions = TaskOptions;

export interface TranscribeOptions extends SignalOptions {
  /**
   * ISO code or English name: `de`, `German`, also as Whisper has it (`Myanmar`). Default: that of `generation_config.json`,
   * else what the model hears. Its older `forced_decoder_ids` hold where neither here nor there a language or a task is given.
   */
  language?: string;
  /** `translate` gives English whatever is spoken. Default: that of the files, as for `language`, else `transcribe`. */
  task?: "transcribe" | "translate";
  /** Called with the text of each window of 30 seconds, once it is sure. */
  onText?: (piece: string) => void;
}

const transcribeOptions: OptionNames<TranscribeOptions> = {
  ...signalOptions,
  language: true,
  task: true,
  onText: true,
};

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

/**
 * Sound: samples at 16 kHz of one channel, samples at any rate, an AudioBuffer (the mean of its channels), or a WAV file (path,
 * URL, bytes, Blob).
 */
export type SoundInput = Float32Array | Sound | HostType<"AudioBuffer", never> | SourceInput;

/** Samples a second that a sound may have: beyond them, it would be another thing, or fill the memory as it is resampled. */
const [lowestRate, highestRate] = [1000, 10_000_000];
/** Root mean square below which no moment of a window holds words: ten steps of 16-bit samples, -70 dB of full scale. */
const silentBelow = 3e-4;
/** Samples that are looked at before other tasks may have a turn. */
const samplesAtOnce = 2 ** 16;
/** Seconds at the end of a window among which the quietest moment is looked for, and how long a moment is. */
const [cutRange, moment] = [5, 0.3];

/** See `index.ts`. */
export async function transcription(model: SourceInput, options: TranscriptionOptions = {}): Promise<Transcriber> {
  checkOptions("transcription", options, taskOptions);
  const { signal, onProgress } = options;
  const folder = await ModelFolder.openConfigured(model, sourceOptions(options));
  const file = await readSpeechModel(folder);
  const device = await deviceFor(options.device, options);
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
   * The words of a recording of any length: windows of 30 seconds, cut where it is quiet, the likeliest token each time
   * unless that leads nowhere (see `speech/window.ts`). Nothing where nothing is said.
   * @throws InputError for no sound, a rate that is none, an unknown language or task, FormatError for a file that is no WAV,
   * the signal's reason when aborted
   */
  async transcribe(sound: SoundInput, options: TranscribeOptions = {}): Promise<Transcript> {
    checkOptions("transcribe", options, transcribeOptions);
    const { signal, onText } = options;
    if (onText !== undefined && typeof onText !== "function")
      throw new InputError("transcribe: onText takes a function, as (piece) => console.log(piece)");
    if (isSound(sound)) checkSound(sound);
    const started = performance.now();
    const { language } = options;
    const named = language === undefined ? undefined : this.languageOf(language);
    const { defaults } = this.file;
    const said = defaults.onlyTogether && (language ?? options.task) !== undefined ? {} : defaults;
    const { task = said.task ?? "transcribe" } = options;
    if (task !== "transcribe" && task !== "translate")
      throw new InputError(`transcribe: the task is transcribe or translate, got ${JSON.stringify(task)}`);
    if (task === "translate" && this.file.tokens.translate === undefined)
      throw new InputError("transcribe: this model can't translate");
    const samples = await this.samplesOf(sound, signal);
    const { rate } = this.file.mel;
    const result: Transcript = {
      text: "",
      language: named ?? said.language,
      segments: [],
      tokens: [],
      seconds: samples.length / rate,
      firstTokenMs: 0,
      totalMs: 0,
    };
    for (let at = 0; at < samples.length; ) {
      const end = this.cut(samples, at);
      const window = samples.subarray(at, end);
      const heard = this.isSilent(window) ? undefined : await this.wordsOf(window, result.language, task, signal);
      if (heard) {
        // The first window with words decides for the others.
        result.language ??= heard.language;
        if (result.firstTokenMs === 0) result.firstTokenMs = heard.firstTokenAt - started;
        if (heard.text !== "") {
          result.segments.push({ start: at / rate, end: end / rate, text: heard.text.trim() });
          onText?.(result.text === "" ? heard.text.trimStart() : heard.text);
        }
        result.text += heard.text;
        for (const t of heard.tokens) result.tokens.push(t);
      }
      signal?.throwIfAborted();
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

  [symbolDispose](): void {
    this.dispose();
  }

  private async wordsOf(
    samples: Float32Array,
    language: string | undefined,
    task: SpeechTask,
    signal?: AbortSignal,
  ): Promise<Heard | undefined> {
    const listening = await this.model.listen(await this.hear(samples, signal), signal);
    try {
      return await transcribeWindow(this.file, listening, { language, task, signal });
    } finally {
      listening.dispose();
    }
  }

  /** The moments of a window are all too quiet for words. */
  private isSilent(samples: Float32Array): boolean {
    const length = Math.round(moment * this.file.mel.rate);
    for (let at = 0; at < samples.length; at += length)
      if (powerOf(samples, at, Math.min(at + length, samples.length)) > silentBelow ** 2) return false;
    return true;
  }

  private languageOf(name: string): string | undefined {
    const { languages } = this.file.tokens;
    if (typeof name !== "string") throw new InputError('transcribe: language takes a name or a code, as "en"');
    if (languages.size === 0 && /^en(glish)?$/i.test(name)) return undefined;
    const found = languageNamed(name, languages.keys());
    if (found === undefined)
      throw new InputError(
        languages.size === 0
          ? `transcribe: this model knows English only, not "${name}"`
          : `transcribe: "${name}" is none of the model's languages: ${[...languages.keys()].sort().join(" ")}`,
      );
    return found;
  }

  /** Other tasks have their turns while it is worked out, also where there is no signal: of an hour it takes seconds. */
  private async samplesOf(input: SoundInput, signal = new AbortController().signal): Promise<Float32Array> {
    signal.throwIfAborted();
    const { rate } = this.file.mel;
    let sound: Sound;
    if (input instanceof Float32Array) sound = { rate, samples: input };
    else if (isSound(input)) sound = input;
    else if (isBuffer(input)) checkSound((sound = await drive(mixed(input), signal)));
    else {
      const source = await openSource(
        input,
        { signal },
        "samples as a Float32Array or { samples, rate }, an AudioBuffer, ",
      );
      sound = await drive(soundIn(await source.read(0, source.size, signal), source.name), signal);
      checkSound(sound);
    }
    if (sound.samples.length === 0) throw new InputError("transcribe: there is no sound");
    await drive(checkFinite(sound.samples), signal);
    return drive(resample(sound.samples, sound.rate, rate), signal);
  }

  /** Where the window that begins at `at` ends. */
  private cut(samples: Float32Array, at: number): number {
    const { windowSamples, mel } = this.file;
    if (samples.length - at <= windowSamples) return samples.length;
    const length = Math.round(moment * mel.rate);
    let [best, least] = [at + windowSamples, Number.POSITIVE_INFINITY];
    for (let end = at + windowSamples; end > at + windowSamples - cutRange * mel.rate; end -= length >> 2) {
      const power = powerOf(samples, end - length, end);
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

/** Mean of the squares. */
function powerOf(samples: Float32Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += samples[i] ** 2;
  return sum / (to - from);
}

const isSound = (v: SoundInput): v is Sound => typeof v === "object" && v !== null && "samples" in v;

const isBuffer = (v: SoundInput): v is AudioBuffer => typeof v === "object" && v !== null && "getChannelData" in v;

/** The mean of the channels. */
function* mixed(buffer: AudioBuffer): Work<Sound> {
  const { sampleRate: rate, numberOfChannels: count } = buffer;
  const channels = Array.from({ length: count }, (_, c) => buffer.getChannelData(c));
  if (count === 1) return { rate, samples: channels[0] };
  const samples = new Float32Array(buffer.length);
  for (let at = 0; at < samples.length; at += samplesAtOnce) {
    yield;
    const end = Math.min(samples.length, at + samplesAtOnce);
    for (const channel of channels) for (let i = at; i < end; i++) samples[i] += channel[i] / count;
  }
  return { rate, samples };
}

/** @throws InputError */
function checkSound({ rate, samples }: Sound): void {
  if (!(samples instanceof Float32Array)) throw new InputError("transcribe: samples of a sound are a Float32Array");
  if (!(typeof rate === "number" && rate >= lowestRate && rate <= highestRate))
    throw new InputError(
      `transcribe: the rate of a sound is its samples a second, from ${lowestRate} to ${highestRate}; got ${String(rate)}`,
    );
}

/** @throws InputError */
function* checkFinite(samples: Float32Array): Work<void> {
  for (let at = 0; at < samples.length; at += samplesAtOnce) {
    yield;
    if (!samples.subarray(at, at + samplesAtOnce).every(Number.isFinite))
      throw new InputError("transcribe: samples that are no finite numbers");
  }
}
