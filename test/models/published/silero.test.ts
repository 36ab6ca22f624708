/** Silero VAD v5 (MIT; packed as @ricky0123/vad-web) finds the speech in a recording: `If`, an LSTM, and state. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { detectSpeech, rate, speechSpans, step } from "../../../examples/demo/silero.ts";
import { load } from "../../../src/index.ts";
import { readWav } from "../../../src/tasks/audio/wav.ts";

const audio = new URL("../../../examples/demo/audio/", import.meta.url);
const model = createRequire(import.meta.url).resolve("@ricky0123/vad-web/dist/silero_vad_v5.onnx");

async function probabilitiesOf(samples: Float32Array, device: "cpu" | "wasm"): Promise<number[]> {
  using session = await load(model, { device, threads: 1 });
  const all: number[] = [];
  for await (const p of detectSpeech(session, samples)) all.push(p);
  return all;
}

test.each(["cpu", "wasm"] as const)("speech is found on %s, as onnxruntime-web finds it", async (device) => {
  const { samples } = readWav(await readFile(new URL("speech.wav", audio)));
  const golden = JSON.parse(await readFile(new URL("speech.golden.json", audio), "utf8")) as {
    probabilities: number[];
  };
  const got = await probabilitiesOf(samples, device);
  expect(got.length).toBe(golden.probabilities.length);
  expect(Math.max(...got.map((p, i) => Math.abs(p - golden.probabilities[i])))).toBeLessThan(1e-4);
  // Two sentences, with noise before, between and after them.
  const spans = speechSpans(got);
  expect(spans.length).toBe(2);
  const inside = (i: number) =>
    spans.some(({ start, end }) => i * step >= start * rate && (i + 1) * step <= end * rate);
  expect(got.filter((p, i) => p > 0.5 && inside(i)).length).toBeGreaterThan(50);
  expect(got.filter((p, i) => p > 0.5 && !inside(i)).length).toBeLessThan(5);
});

test("noise is not speech", async () => {
  let state = 1;
  const samples = Float32Array.from({ length: 2 * rate }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 0.1 * (state / 2 ** 31 - 1);
  });
  expect(Math.max(...(await probabilitiesOf(samples, "cpu")))).toBeLessThan(0.5);
});
