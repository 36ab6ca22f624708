/** Tags, answers, labels of one's own and ranks, by encoders with small random weights, against the naive float64 implementation. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { encodePair } from "../../src/tasks/language/pieces.ts";
import { questionAnswering } from "../../src/tasks/question-answering.ts";
import { reranking } from "../../src/tasks/reranking.ts";
import { tokenClassification } from "../../src/tasks/token-classification.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import { zeroShotClassification } from "../../src/tasks/zero-shot-classification.ts";
import { InputError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { encodeModel, type ModelSpec, node } from "../onnx/encode.ts";
import {
  bertJson,
  cls,
  exportedFolder,
  folderOf,
  kinds,
  naiveOf,
  separator,
  shape,
  tokenizer,
  weights,
  words,
} from "./encoder-folders.ts";

const options = { device: "wasm", threads: 1 } as const;
const softmax = (v: readonly number[]): number[] => {
  const e = v.map((x) => Math.exp(x));
  return e.map((x) => x / e.reduce((a, b) => a + b, 0));
};
const ids = (text: string): number[] => text.split(" ").map((w) => words.indexOf(w));
/** As the template of the tokenizer says it. */
const pair = (a: number[], b: number[]) => ({
  tokens: [cls, ...a, separator, ...b, separator],
  types: [...new Array<number>(a.length + 2).fill(0), ...new Array<number>(b.length + 1).fill(1)],
});
const squash = (kind: string) => (kind === "distilbert" ? (v: number) => Math.max(0, v) : Math.tanh);

for (const [kind, { json, first, types }] of Object.entries(kinds))
  describe(kind, () => {
    const own = naiveOf(kind);
    const states = (tokens: number[], given: number[]) => own.bert(tokens, first, types > 1 ? given : undefined);
    const classesOf = ({ tokens, types: given }: ReturnType<typeof pair>): number[] => [
      ...own.linear("classifier", own.linear("pooler.dense", states(tokens, given)[0]).map(squash(kind))),
    ];

    test("words are tagged as their first piece is, entities by beginning and inside", async () => {
      const labels = ["O", "B-X", "I-X"];
      const text = "The cats sat on mat.";
      const tokens = [cls, ...ids("the cat ##s sat on mat ."), separator];
      const logits = own.bert(tokens, first).map((s) => [...own.linear("classifier", s)]);
      const best = logits.map((l) => l.indexOf(Math.max(...l)));
      const score = logits.map((l) => Math.max(...softmax(l)));
      const places = [
        { at: 1, start: 0, end: 3 },
        { at: 2, start: 4, end: 8 },
        { at: 4, start: 9, end: 12 },
        { at: 5, start: 13, end: 15 },
        { at: 6, start: 16, end: 19 },
        { at: 7, start: 19, end: 20 },
      ];
      const want: { start: number; end: number; scores: number[] }[] = [];
      let inside = false;
      for (const { at, start, end } of places) {
        if (best[at] === 2 && inside) {
          want.at(-1)!.end = end;
          want.at(-1)!.scores.push(score[at]);
        } else if (best[at] > 0) want.push({ start, end, scores: [score[at]] });
        inside = best[at] > 0;
      }
      const named = { "config.json": { ...json, id2label: Object.fromEntries(labels.entries()) } };
      const tagger = kind.includes("roberta") ? tokenHead() : new Map<string, HostTensor>();
      using model = await tokenClassification(await folderOf(kind, named, tagger), options);
      const got = await model.classify(text);
      expect(got.map(({ start, end }) => [start, end])).toEqual(want.map(({ start, end }) => [start, end]));
      got.forEach((entity, i) => {
        expect(entity.text).toBe(text.slice(entity.start, entity.end));
        expect(entity.label).toBe("X");
        expect(entity.score).toBeCloseTo(want[i].scores.reduce((a, b) => a + b, 0) / want[i].scores.length, 4);
      });
      // With names for all, every word is told apart; a long text goes in parts.
      const all = { ...json, id2label: { 0: "a", 1: "b", 2: "c" } };
      using apart = await tokenClassification(await folderOf(kind, { "config.json": all }, tagger), options);
      const many = await apart.classify("the cats sat on the mat. ".repeat(5));
      expect(many.map((e) => e.text).join(" ")).toBe("the cats sat on the mat . ".repeat(5).trim());
      expect(await apart.classify("")).toEqual([]);
    });

    test("an answer is the likeliest span, of the whole context and of its parts", async () => {
      using model = await questionAnswering(await folderOf(kind), options);
      const question = "the dog";
      const room = shape.positions - first - 5;
      const context = "The cat sat on the mat. The dog sat.";
      const pieces = ids("the cat sat on the mat . the dog sat .");
      const starts = [0, 4, 8, 12, 15, 19, 22, 24, 28, 32, 35];
      const ends = [3, 7, 11, 14, 18, 22, 23, 27, 31, 35, 36];
      let want: { start: number; end: number; score: number } | undefined;
      for (let at = 0; at < pieces.length; at += Math.ceil(room / 2)) {
        const part = pieces.slice(at, at + room);
        const { tokens, types: given } = pair(ids(question), part);
        const logits = states(tokens, given).map((s) => own.linear("qa_outputs", s));
        const taken = [0, ...part.map((_, i) => 4 + i)];
        const [begin, end] = [0, 1].map((k) => softmax(taken.map((t) => logits[t][k])));
        let best = { i: 0, j: 0, score: 0 };
        for (let i = 1; i < taken.length; i++)
          for (let j = i; j < Math.min(i + 3, taken.length); j++)
            if (begin[i] * end[j] > best.score) best = { i, j, score: begin[i] * end[j] };
        if (best.score > begin[0] * end[0] && best.score > (want?.score ?? 0))
          want = { start: starts[at + best.i - 1], end: ends[at + best.j - 1], score: best.score };
        if (at + room >= pieces.length) break;
      }
      const got = await model.answer(question, context, { maxTokens: 3 });
      expect(got && { start: got.start, end: got.end }).toEqual(want && { start: want.start, end: want.end });
      if (got && want) {
        expect(got.score).toBeCloseTo(want.score, 4);
        expect(got.text).toBe(context.slice(want.start, want.end));
      }
      expect(await model.answer(question, "")).toBeUndefined();
      await expect(model.answer("the cat sat on the mat. ".repeat(3), context)).rejects.toThrow(/no room/);
      await expect(model.answer(question, 1 as never)).rejects.toThrow(InputError);
      await expect(model.answer(question, context, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    });

    test("labels of one's own by what follows from the text", async () => {
      const labels = ["contradiction", "neutral", "entailment"];
      const named = { "config.json": { ...json, id2label: Object.fromEntries(labels.entries()) } };
      using model = await zeroShotClassification(await folderOf(kind, named), options);
      const candidates = ["cat", "dog", "mat"];
      const text = "The cat sat.";
      const logits = candidates.map((c) => classesOf(pair(ids("the cat sat ."), ids(`the ${c}`))));
      const hypothesis = "the {}";
      const share = softmax(logits.map((l) => l[2]));
      const got = await model.classify(text, candidates, { hypothesis });
      expect(got.map((r) => r.label)).toEqual(
        [...candidates].sort((a, b) => share[candidates.indexOf(b)] - share[candidates.indexOf(a)]),
      );
      for (const { index, score } of got) expect(score).toBeCloseTo(share[index], 4);
      for (const { index, score } of await model.classify(text, candidates, { hypothesis, several: true }))
        expect(score).toBeCloseTo(softmax([logits[index][0], logits[index][2]])[1], 4);
      // One label alone is judged, not compared with itself.
      const [alone] = await model.classify(text, ["dog"], { hypothesis });
      expect(alone.score).toBeCloseTo(softmax([logits[1][0], logits[1][2]])[1], 4);
      expect(await model.classify(text, [], { hypothesis })).toEqual([]);
      // The text is cut, the label is not.
      const [cut] = await model.classify("the cat sat on the mat the cat sat on the mat", ["dog"], { hypothesis });
      const kept = ids("the cat sat on the mat the").slice(0, shape.positions - first - 5);
      expect(cut.logit).toBeCloseTo(classesOf(pair(kept, ids("the dog")))[2], 4);
      await expect(model.classify(text, candidates, { hypothesis: "none" })).rejects.toThrow(/no \{\}/);
      await expect(zeroShotClassification(await folderOf(kind), options)).rejects.toThrow(/model of inference/);
    });

    test("texts by how they answer a query", async () => {
      const one = new Map<string, HostTensor>(
        ["classifier.weight", "classifier.bias"].map((name) => {
          const { dtype, data } = weights.get(name)!;
          const isMatrix = name.endsWith("weight");
          const part = (data as Float32Array).slice(0, isMatrix ? shape.width : 1);
          return [name, { dtype, shape: isMatrix ? [1, shape.width] : [1], data: part } as HostTensor];
        }),
      );
      using model = await reranking(await folderOf(kind, {}, one), options);
      const texts = ["The cat sat.", "dog", "on the mat on the mat on the mat"];
      const cut = ids("on the mat on the mat on the mat").slice(0, shape.positions - first - 4);
      const logits = [ids("the cat sat ."), ids("dog"), cut].map((b) => classesOf(pair(ids("cat"), b))[0]);
      const got = await model.rank("cat", texts);
      expect(got.map((r) => r.index)).toEqual([0, 1, 2].sort((a, b) => logits[b] - logits[a]));
      for (const { index, logit, score, text } of got) {
        expect(text).toBe(texts[index]);
        expect(logit).toBeCloseTo(logits[index], 4);
        expect(score).toBeCloseTo(1 / (1 + Math.exp(-logits[index])), 4);
      }
      await expect(model.rank("the cat sat on the mat. ".repeat(3), ["dog"])).rejects.toThrow(/leaves? no room/);
      await expect(model.rank("cat", texts, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
      using several = await reranking(await folderOf(kind), options);
      await expect(several.rank("cat", texts)).rejects.toThrow(/has one class, this model has 3/);
    });
  });

/** RoBERTa's heads of tokens are called what its heads of texts are not. */
function tokenHead(): Map<string, HostTensor> {
  return new Map(["weight", "bias"].map((p) => [`classifier.${p}`, weights.get(`classifier.${p}`)!]));
}

test("a model for something else is told", async () => {
  const saved = { ...bertJson, architectures: ["BertForSequenceClassification"] };
  const path = await folderOf("bert", { "config.json": saved });
  await expect(tokenClassification(path, options)).rejects.toThrow(
    /is a BertForSequenceClassification; this task takes/,
  );
  await expect(questionAnswering(path, options)).rejects.toThrow(InputError);
  const alone = { ...tokenizer, post_processor: { ...tokenizer.post_processor, pair: [] } };
  using model = await questionAnswering(await folderOf("bert", { "tokenizer.json": alone }), options);
  await expect(model.answer("the", "cat")).rejects.toThrow(/how two texts go together/);
});

test("graphs from input_ids to logits of tokens, or to ends and beginnings", async () => {
  const table = (at: number, columns: number, rank: number): HostTensor => ({
    dtype: "f32",
    shape: rank === 1 ? [words.length] : [words.length, columns],
    data: Float32Array.from({ length: words.length * columns }, (_, i) => ((i * 7 + at) % 11) / 2),
  });
  const ports = { inputs: [{ name: "input_ids", dtype: "i64" as const, shape: ["batch", "tokens"] }], opset: 17 };
  const gather = (name: string, output: string) => node("Gather", [name, "input_ids"], [output]);
  const graphOf = async (spec: ModelSpec, id2label: object = {}): Promise<string> => {
    const path = await folderOf("bert", { "config.json": { ...bertJson, id2label } });
    await rm(join(path, "model.safetensors"));
    await writeFile(join(path, "model.onnx"), encodeModel({ ...ports, ...spec }));
    return path;
  };
  const classes = table(3, 2, 2);
  const tags = await graphOf(
    { nodes: [gather("w", "logits")], outputs: [{ name: "logits" }], initializers: { w: classes } },
    { 0: "O", 1: "PER" },
  );
  using tagger = await tokenClassification(tags, options);
  const values = classes.data as Float32Array;
  const want = ["the", "cat", "sat"].filter((w) => values[2 * words.indexOf(w) + 1] > values[2 * words.indexOf(w)]);
  expect(want.length).toBeGreaterThan(0);
  expect((await tagger.classify("the cats sat")).map((e) => e.text.replace("cats", "cat"))).toEqual(want);

  const [starts, ends] = [table(0, 1, 1), table(5, 1, 1)];
  const spans = await graphOf({
    nodes: [gather("e", "end_logits"), gather("s", "start_logits")],
    outputs: [{ name: "end_logits" }, { name: "start_logits" }],
    initializers: { s: starts, e: ends },
  });
  using reader = await questionAnswering(spans, options);
  const context = ids("the cat sat on mat");
  const [begin, end] = [starts, ends].map((t) => softmax([cls, ...context].map((id) => (t.data as Float32Array)[id])));
  let best = { i: 0, j: 0, score: begin[0] * end[0] };
  for (let i = 1; i <= 5; i++)
    for (let j = i; j <= 5; j++) if (begin[i] * end[j] > best.score) best = { i, j, score: begin[i] * end[j] };
  expect(best.i).toBeGreaterThan(0);
  const got = await reader.answer("dog", "the cat sat on mat");
  expect(got?.text).toBe(
    "the cat sat on mat"
      .split(" ")
      .slice(best.i - 1, best.j)
      .join(" "),
  );
  expect(got?.score).toBeCloseTo(best.score, 5);
  await expect(questionAnswering(tags, options)).rejects.toThrow(/gives logits; answers have a beginning and an end/);
});

test("words are tagged whatever marks a tokenizer puts around a text", async () => {
  const named = { ...bertJson, id2label: { 0: "a", 1: "b", 2: "c" } };
  const own = naiveOf("bert");
  const mark = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const text = { Sequence: { id: "A", type_id: 0 } };
  for (const [single, before, behind] of [
    [[text], [], []],
    [[mark("[CLS]"), text], [cls], []],
    [[text, mark("[SEP]")], [], [separator]],
    [
      [mark("[CLS]"), mark("[SEP]"), text, mark("[SEP]"), mark("[CLS]")],
      [cls, separator],
      [separator, cls],
    ],
  ] as const) {
    const changed = { ...tokenizer, post_processor: { ...tokenizer.post_processor, single } };
    using model = await tokenClassification(
      await folderOf("bert", { "tokenizer.json": changed, "config.json": named }),
      options,
    );
    const logits = own
      .bert([...before, ...ids("the cat sat"), ...behind], 0)
      .slice(before.length, before.length + 3)
      .map((state) => softmax([...own.linear("classifier", state)]));
    const got = await model.classify("the cat sat");
    expect(got.map((e) => e.text)).toEqual(["the", "cat", "sat"]);
    got.forEach(({ label, score }, i) => {
      const best = logits[i].indexOf(Math.max(...logits[i]));
      expect(label).toBe("abc"[best]);
      expect(score).toBeCloseTo(logits[i][best], 4);
    });
    expect(await model.classify("")).toEqual([]);
  }
});

describe.each([
  ["[CLS] $A [SEP] $B [SEP]"],
  ["$A [SEP] $B [SEP]"],
  ["$A [SEP] $B"],
  ["$A $B"],
  ["$A [SEP] $B [SEP] [CLS]"],
  ["[CLS] [SEP] $A [SEP] [CLS] $B [SEP] [CLS]"],
])("pairs as %s", (template) => {
  const steps = template.split(" ");
  const typeOf = (step: string): number => (step === "$B" ? 1 : 0);
  const pair = steps.map((step) =>
    step.startsWith("$")
      ? { Sequence: { id: step[1], type_id: typeOf(step) } }
      : { SpecialToken: { id: step, type_id: 0 } },
  );
  const source = { ...tokenizer, post_processor: { ...tokenizer.post_processor, pair } };
  const want = (a: string, b: string) => {
    const texts: Record<string, string> = { $A: a, $B: b };
    const tokens = steps.map((step) => ids(texts[step] ?? step).filter((id) => id >= 0));
    return { ids: tokens.flat(), types: steps.flatMap((step, i) => tokens[i].map(() => typeOf(step))) };
  };

  test("of one that is too long the end of one text is left out, and no mark", async () => {
    const opened = await HuggingFaceTokenizer.open(source);
    const [short, long] = ["the cat sat", "the cat sat on the cat"];
    const cut = { tokenizer: opened, maxTokens: want(short, short).ids.length };
    expect(encodePair(cut, long, short, "first")).toEqual(want(short, short));
    expect(encodePair(cut, short, long, "second")).toEqual(want(short, short));
    expect(() => encodePair(cut, short, long.repeat(2), "first")).toThrow(/leaves? no room/);
  });

  test("both are of one type where the model takes none", async () => {
    const untyped = await HuggingFaceTokenizer.open(source, { model_input_names: ["input_ids", "attention_mask"] });
    const { ids: wanted } = want("the cat", "dog");
    expect(untyped.pair("the cat", "dog")).toEqual({ ids: wanted, types: wanted.map(() => 0) });
    const typed = { model_input_names: ["input_ids", "token_type_ids"] };
    expect((await HuggingFaceTokenizer.open(source, typed)).pair("the cat", "dog")).toEqual(want("the cat", "dog"));
  });

  test("texts may be empty", async () => {
    const opened = await HuggingFaceTokenizer.open(source);
    for (const [a, b] of [
      ["the cat .", ""],
      ["", "dog"],
      ["", ""],
    ]) {
      const { ids: wanted, types } = want(a, b);
      expect(opened.pair(a, b)).toEqual({ ids: wanted, types });
      // A graph takes one token at least.
      const given = encodePair({ tokenizer: opened, maxTokens: 9 }, a, b, "second");
      expect(given.ids).toEqual(wanted.length ? wanted : [0]);
      expect(given.types).toHaveLength(given.ids.length);
    }
  });

  test("answers stand in the context, and the first [CLS] for none, or the first token", async () => {
    const logit = (id: number): number => (words[id] === "cat" ? 4 : id / 5);
    const gather = (output: string) => node("Gather", ["w", "input_ids"], [output]);
    const port = (name: string) => ({ name, dtype: "i64" as const, shape: ["batch", "tokens"] });
    const data = Float32Array.from(words, (_, id) => logit(id));
    const graph = encodeModel({
      opset: 17,
      inputs: [port("input_ids"), port("token_type_ids")],
      nodes: [gather("start_logits"), gather("end_logits")],
      outputs: [{ name: "start_logits" }, { name: "end_logits" }],
      initializers: { w: { dtype: "f32", shape: [words.length], data } },
    });
    using model = await questionAnswering(await exportedFolder(graph, { "tokenizer.json": source }), options);
    const run = vi.spyOn(model.session, "run");
    const got = await model.answer("dog", "the cat sat");
    const whole = want("dog", "the cat sat");
    const big = (list: readonly number[]) => expect.objectContaining({ data: BigInt64Array.from(list, BigInt) });
    expect(run.mock.calls.map(([inputs]) => inputs)).toEqual([
      { input_ids: big(whole.ids), token_type_ids: big(whole.types) },
    ]);
    const none = whole.ids.includes(cls) ? cls : whole.ids[0];
    const [, , best] = softmax([none, ...ids("the cat sat")].map(logit));
    expect(got?.text).toBe("cat");
    expect(got?.score).toBeCloseTo(best ** 2, 5);
  });
});
