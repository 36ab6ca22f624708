/** BERT, ViT and Whisper with small random weights, against the naive float64 implementation. */
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { type EncoderHead, transformerEncoder } from "../../src/models/transformer/encoder.ts";
import { vit } from "../../src/models/transformer/vit.ts";
import { whisperDecoder, whisperEncoder } from "../../src/models/transformer/whisper.ts";
import { InputError, ShapeError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import type { Matrices } from "../goldens/decoder.ts";
import { NaiveEncoder, type Rows } from "../goldens/encoder.ts";
import { bertWeights, randomWeights, vitWeights, whisperWeights } from "./tiny-encoders.ts";

const devices = { cpu: () => cpu(), wasm: () => wasm({ threads: 1 }) };
const width = 16;
const block = { width, heads: 2, hidden: 24, layers: 2, epsilon: 1e-5, activation: "gelu" } as const;

function expectClose(got: HostTensor, want: ArrayLike<number>): void {
  const data = got.data as Float32Array;
  expect(data.length).toBe(want.length);
  let worst = 0;
  for (let i = 0; i < want.length; i++) worst = Math.max(worst, Math.abs(data[i] - want[i]));
  expect(worst).toBeLessThan(1e-4);
}
const flat = (rows: Rows): number[] => rows.flatMap((r) => [...r]);
const i32 = (shape: number[], values: readonly number[]): HostTensor => ({
  dtype: "i32",
  shape,
  data: Int32Array.from(values),
});

for (const [device, open] of Object.entries(devices)) {
  describe(`BERT on ${device}`, () => {
    const config = { ...block, vocabSize: 30, positions: 20 };
    const weights = randomWeights(bertWeights(config, 3));
    const naive = new NaiveEncoder(config, weights as unknown as Matrices);
    const short = [3, 1, 4];
    const long = [9, 2, 6, 5, 3, 5];
    const feeds = {
      tokens: i32([2, 6], [...short, 0, 0, 0, ...long]),
      positions: i32([2, 6], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]),
      mask: { dtype: "bool", shape: [2, 1, 1, 6], data: Uint8Array.of(1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1) },
    } satisfies Record<string, HostTensor>;
    const run = async (head: EncoderHead, more: Record<string, HostTensor>) => {
      using session = await compile(transformerEncoder(config, weights, head), { device: open() });
      return session.run({ ...feeds, ...more });
    };

    test("states, whatever the padding, and their share in a vector", async () => {
      const share = Float32Array.of(1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 1, 0, 0, 0, 0, 0);
      const { hidden, pooled } = await run({ kind: "pool" }, { pool: { dtype: "f32", shape: [2, 1, 6], data: share } });
      const [a, b] = [naive.bert(short), naive.bert(long)];
      const states = hidden.data as Float32Array;
      expectClose({ ...hidden, data: states.slice(0, 3 * width) }, flat(a));
      expectClose({ ...hidden, data: states.slice(6 * width) }, flat(b));
      const mean = Array.from({ length: width }, (_, j) => a.reduce((sum, r) => sum + r[j] / 3, 0));
      expectClose(pooled, [...mean, ...b[0]]);
    });

    test("words", async () => {
      const { logits } = await run({ kind: "words" }, { rows: i32([2], [1, 2]) });
      expect(logits.shape).toEqual([2, 2, 30]);
      const want = [short, long].flatMap((t) => [1, 2].flatMap((i) => [...naive.word(naive.bert(t)[i])]));
      expectClose(logits, want);
    });

    test.each(["tanh", "relu"] as const)("classes, %s", async (activation) => {
      const { logits } = await run({ kind: "classes", classes: 3, activation }, {});
      const f = activation === "tanh" ? Math.tanh : (v: number) => Math.max(0, v);
      const want = [short, long].flatMap((t) => [
        ...naive.linear("classifier", naive.linear("pooler.dense", naive.bert(t)[0]).map(f)),
      ]);
      expectClose(logits, want);
    });
  });

  test(`ViT on ${device}`, async () => {
    const config = { ...block, channels: 3, imageSize: 12, patchSize: 4, classes: 5 };
    const weights = randomWeights(vitWeights(config));
    const naive = new NaiveEncoder(config, weights as unknown as Matrices);
    const pixels = tensorFrom(9, "f32", [1, 3, 12, 12], { min: -1, max: 1 });
    const planes = [0, 1, 2].map((c) =>
      Float64Array.from((pixels.data as Float32Array).subarray(c * 144, (c + 1) * 144)),
    );
    const want = naive.vit(planes, 12, 4);
    using session = await compile(vit(config, weights), { device: open() });
    const { hidden, logits } = await session.run({ pixels });
    expectClose(hidden, flat(want));
    expectClose(logits, naive.linear("classifier", want[0]));
    using bare = await compile(vit({ ...config, classes: undefined }, weights), { device: open() });
    expect(bare.outputs.map((o) => o.name)).toEqual(["hidden"]);
  });

  test.each<[string, Record<string, number[]>]>([
    ["", {}],
    [", whose projection to words is no embedding,", { "proj_out.weight": [40, width] }],
  ])(`Whisper%s on ${device}`, async (_, more) => {
    const config = { ...block, melBands: 6, frames: 10, vocabSize: 40, positions: 12 };
    const weights = randomWeights({ ...whisperWeights(config), ...more });
    const naive = new NaiveEncoder(config, weights as unknown as Matrices);
    using encoder = await compile(whisperEncoder(config, weights), { device: open() });
    using decoder = await compile(whisperDecoder(config, weights), { device: open() });
    // Two recordings at once: states do not mix.
    const texts = [1, 2].map((seed) => {
      const mel = tensorFrom(seed, "f32", [1, 6, 20], { min: -1, max: 1 });
      const bands = Array.from({ length: 6 }, (_, b) =>
        Float64Array.from((mel.data as Float32Array).subarray(b * 20, (b + 1) * 20)),
      );
      return { mel, sound: naive.hear(bands), state: decoder.openState(), tokens: [] as number[] };
    });
    for (let position = 0; position < 8; position++)
      for (const { mel, sound, state, tokens } of texts) {
        tokens.push((position * 7 + tokens.length * mel.data.length) % 40);
        let hidden: HostTensor = { dtype: "f32", shape: [1, 0, width], data: new Float32Array(0) };
        if (position === 0) {
          ({ hidden } = await encoder.run({ mel }));
          expectClose(hidden, flat(sound));
        }
        const feeds = { token: i32([1, 1], [tokens[position]]), position: i32([1], [position]), hidden };
        const { logits } = await decoder.run(feeds, { state, rows: config.positions });
        expectClose(logits, naive.say(sound, tokens));
      }
  });
}

test("weights that are missing or of another shape are told by name", () => {
  const config = { ...block, vocabSize: 30, positions: 20 };
  const weights = randomWeights(bertWeights(config, 3));
  const without = new Map(weights);
  without.delete("encoder.layer.1.output.dense.weight");
  expect(() => transformerEncoder(config, without, { kind: "pool" })).toThrow(InputError);
  const wrong = new Map(weights).set("encoder.layer.1.output.dense.weight", tensorFrom(1, "f32", [2, 2]));
  expect(() => transformerEncoder(config, wrong, { kind: "pool" })).toThrow(ShapeError);
});
