/** Silero VAD finds the speech in a recording with noise. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { readWav } from "../../src/tasks/audio/wav.ts";
import { demoPath, readJson } from "./golden.ts";
import { ms, say, sparkline, style } from "./print.ts";
import { open, type Section, timed } from "./section.ts";
import { detectSpeech, rate, speechSpans, step } from "./silero.ts";

/** Steps that share a character of the timeline: 128 ms. */
const stepsPerCharacter = 4;

export const speech: Section = {
  title: "Where does somebody speak?",
  about: "sound -> Silero VAD (LSTM) -> probability of speech",
  async run(device, check) {
    const model = createRequire(import.meta.url).resolve("@ricky0123/vad-web/dist/silero_vad_v5.onnx");
    const session = await open(model, "silero_vad_v5", device);
    const sound = readWav(await readFile(demoPath("audio/speech.wav")));
    if (sound.rate !== rate) throw new Error(`speech.wav has ${sound.rate} samples a second instead of ${rate}`);
    const { probabilities: expected } = await readJson<{ probabilities: number[] }>(
      demoPath("audio/speech.golden.json"),
    );
    const [probabilities, time] = await timed(async () => {
      const all: number[] = [];
      for await (const p of detectSpeech(session, sound.samples)) all.push(p);
      return all;
    });
    probabilities.forEach((p, i) => {
      check.compare([p], expected.slice(i, i + 1));
    });
    const seconds = sound.samples.length / rate;
    const marks = Array.from({ length: Math.ceil(seconds) }, (_, s) => `${s}s`);
    const width = rate / step / stepsPerCharacter;
    const scale = marks.reduce((line, mark, s) => line.padEnd(Math.round(s * width)) + mark, "");
    say(`  loudness  ${style("dim", sparkline(pool(loudness(sound.samples))))}`);
    say(`  speech    ${style("cyan", sparkline(pool(probabilities)))}`);
    say(style("dim", `            ${scale}`));
    for (const { start, end } of speechSpans(probabilities))
      say(`  somebody speaks from ${start.toFixed(2)} s to ${end.toFixed(2)} s`);
    const each = time / probabilities.length;
    const speed = Math.round((1000 * seconds) / time);
    say(`  ${seconds.toFixed(1)} s of sound took ${ms(time)} (${ms(each)} for 32 ms: ${speed} times real time)`);
    session.dispose();
  },
};

/** Root mean square of each step, on a scale of 50 dB. */
function loudness(samples: Float32Array): number[] {
  return Array.from({ length: Math.floor(samples.length / step) }, (_, i) => {
    const chunk = samples.subarray(i * step, (i + 1) * step);
    const power = chunk.reduce((sum, v) => sum + v * v, 0) / step;
    return 1 + Math.log10(Math.max(power, 1e-5)) / 5;
  });
}

/** The mean of what shares a character. */
const pool = (values: readonly number[]): number[] =>
  Array.from({ length: Math.ceil(values.length / stepsPerCharacter) }, (_, i) => {
    const group = values.slice(i * stepsPerCharacter, (i + 1) * stepsPerCharacter);
    return group.reduce((a, b) => a + b) / group.length;
  });
