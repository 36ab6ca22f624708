/** The voice activity detector Silero VAD v5: speech probability of every 32 ms of sound. */
import type { HostTensor, Session } from "../../src/index.ts";

/** Samples a second that the model is run with here. */
export const rate = 16000;
/** Samples of one step. */
export const step = 512;
/** Samples of the step before that go in front of it. */
const context = 64;

/** One probability for each whole step. The model's memory goes from one step to the next. */
export async function* detectSpeech(session: Session, samples: Float32Array): AsyncGenerator<number> {
  const frame = new Float32Array(context + step);
  let state: HostTensor = { dtype: "f32", shape: [2, 1, 128], data: new Float32Array(256) };
  const sr: HostTensor = { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(rate)) };
  for (let at = 0; at + step <= samples.length; at += step) {
    frame.copyWithin(0, step);
    frame.set(samples.subarray(at, at + step), context);
    const input: HostTensor = { dtype: "f32", shape: [1, frame.length], data: frame };
    const { output, stateN } = await session.run({ input, state, sr });
    state = stateN;
    yield Number(output.data[0]);
  }
}

export interface Span {
  /** Seconds. */
  readonly start: number;
  readonly end: number;
}

/** Stretches over one half, without gaps and blips of less than a quarter of a second. */
export function speechSpans(probabilities: readonly number[]): Span[] {
  const seconds = step / rate;
  const spans: Span[] = [];
  probabilities.forEach((p, i) => {
    if (p < 0.5) return;
    const last = spans[spans.length - 1];
    const [start, end] = [i * seconds, (i + 1) * seconds];
    if (last && start - last.end < 0.25) spans[spans.length - 1] = { start: last.start, end };
    else spans.push({ start, end });
  });
  return spans.filter((s) => s.end - s.start >= 0.25);
}
