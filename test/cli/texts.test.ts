/** `classify`, `answer` and `rank` on folders with small random weights. */
import { PassThrough, Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { questionAnswering } from "../../src/tasks/question-answering.ts";
import { textClassification } from "../../src/tasks/text-classification.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { bertJson, folderOf, shape, weights } from "../tasks/encoder-folders.ts";

type Chunks = Iterable<string | Uint8Array>;

async function run(argv: string[], input: string | Chunks = ""): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const argvs = [...argv, "--device", "wasm", "--threads", "1"];
  const code = await main(argvs, {
    stdout,
    stderr,
    stdin: Readable.from(typeof input === "string" ? [input] : input) as never,
  });
  return { code, out: String(stdout.read() ?? ""), err: String(stderr.read() ?? "") };
}
const named = (...labels: string[]) => ({
  "config.json": { ...bertJson, id2label: Object.fromEntries(labels.entries()) },
});

test("texts of the standard input are whole, wherever its chunks end", async () => {
  const path = await folderOf("bert");
  const bytes = new TextEncoder().encode("na\u00efve \u{1f408}\n\u732b\n");
  const chunks = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
  const { out } = await run(["embed", path, "-", "--json"], chunks);
  expect(JSON.parse(out).map((row: { text: string }) => row.text)).toEqual(["na\u00efve \u{1f408}", "\u732b"]);
});

test("embed pools and prompts as it is told, and as the model says of queries and documents", async () => {
  const prompts = { prompts: { query: "the cat ", passage: "sat on ", other: "mat " } };
  const path = await folderOf("bert", { "config_sentence_transformers.json": prompts });
  using model = await embeddings(path, { device: "wasm", threads: 1, pooling: ["cls", "max"] });
  const vectors = async (...argv: string[]): Promise<{ vector: number[]; similarity?: number }[]> =>
    JSON.parse((await run(["embed", path, "dog", "--json", "--pooling", "max,cls", ...argv])).out);
  const of = async (prompt: string) => Array.from(await model.embed("dog", { prompt }));
  expect((await vectors())[0].vector).toEqual(await of(""));
  expect((await vectors("--prompt", "other"))[0].vector).toEqual(await of("other"));
  const [asked] = await vectors("--query", "dog");
  expect(asked.vector).toEqual(await of("passage"));
  const query = await of("query");
  expect(asked.similarity).toBeCloseTo(
    asked.vector.reduce((sum, v, i) => sum + v * query[i], 0),
    5,
  );
  const { code, err } = await run(["embed", path, "dog", "--prompt", "none"]);
  expect([code, err]).toEqual([1, expect.stringMatching(/no prompt "none"; there are: query, passage, other/)]);
});

test("texts can't write control characters into a table, nor lines", async () => {
  const path = await folderOf("bert", named("calm", "glad", "sad"));
  const text = "the cat\u001b[2J\n\tsat\u009b1A";
  for (const argv of [
    ["embed", path, text, "dog"],
    ["classify", path, text, "dog"],
  ]) {
    const lines = (await run(argv)).out.trimEnd().split("\n");
    expect(lines).toEqual([
      expect.stringMatching(/ {2}the cat\ufffd\[2J {2}sat\ufffd1A$/),
      expect.stringMatching(/ {2}dog$/),
    ]);
  }
  expect(JSON.parse((await run(["embed", path, text, "--json"])).out)[0].text).toBe(text);
});

test("no texts give no lines", async () => {
  const path = await folderOf("bert");
  for (const argv of [
    ["embed", path, "-"],
    ["embed", path, "-", "--query", "dog"],
    ["classify", path, "-"],
  ]) {
    const { code, out, err } = await run(argv, []);
    expect([code, out, err]).toEqual([0, "", expect.stringMatching(/^0 texts in/)]);
  }
  expect((await run(["embed", path, "-", "--json"], [])).out).toBe("[]\n");
});

describe("classify", () => {
  test("labels texts, of the command line and the standard input", async () => {
    const path = await folderOf("bert", named("calm", "glad", "sad"));
    using model = await textClassification(path, { device: "wasm", threads: 1 });
    const [[best], [other]] = await model.classify(["the cat sat", "dog"]);
    const { code, out, err } = await run(["classify", path, "the cat sat", "-"], "dog\n");
    expect(code).toBe(0);
    expect(out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      [best.label, best.score.toFixed(3), "the cat sat"],
      [other.label, other.score.toFixed(3), "dog"],
      [""],
    ]);
    expect(err).toMatch(/2 texts in .* on wasm/);
    const json = JSON.parse((await run(["classify", path, "dog", "--json"])).out);
    expect(json[0].labels[0].label).toBe(other.label);
    expect(json[0].labels[0].score).toBeCloseTo(other.score, 5);
  });

  test("by labels of one's own, and what is named", async () => {
    const nli = await folderOf("bert", named("contradiction", "neutral", "entailment"));
    const own = await run(["classify", nli, "the cat sat", "--labels", "cat, dog", "--json"]);
    expect(
      JSON.parse(own.out)[0]
        .labels.map((l: { label: string }) => l.label)
        .sort(),
    ).toEqual(["cat", "dog"]);
    const ner = await folderOf("bert", named("A", "B", "C"));
    expect(
      (await run(["classify", ner, "the cats sat", "--entities"])).out.split("\n").map((l) => l.split(/ {2,}/)[2]),
    ).toEqual(["the", "cats", "sat", undefined]);
    const nothing = await folderOf("bert", named("O", "O", "O"));
    expect((await run(["classify", nothing, "the", "--entities"])).out).toBe("(nothing is named)\n");
  });

  test("mistakes are told", async () => {
    const path = await folderOf("bert");
    expect((await run(["classify", path])).code).toBe(2);
    expect((await run(["classify", path, "x", "--labels", "a,,b"])).err).toMatch(/--labels takes names/);
    expect((await run(["classify", path, "x", "--labels", "a"])).err).toMatch(/model of inference/);
    const both = await run(["classify", path, "x", "--labels", "a,b", "--entities"]);
    expect([both.code, both.err]).toEqual([2, expect.stringMatching(/--labels .* --entities .* one of the two/)]);
  });
});

test("answer", async () => {
  const path = await folderOf("bert");
  using model = await questionAnswering(path, { device: "wasm", threads: 1 });
  const want = await model.answer("the dog", "the cat\nsat on");
  const got = await run(["answer", path, "the dog", "-"], "the cat\nsat on\n");
  expect(got.out).toBe(want ? `${want.text}  ${want.score.toFixed(3)}\n` : "(there is no answer in the text)\n");
  expect((await run(["answer", path, "the dog", "", "--json"])).out).toBe("null\n");
  expect((await run(["answer", path, "the dog"])).code).toBe(2);
});

test("rank", async () => {
  const one = ["weight", "bias"].map((p): [string, HostTensor] => {
    const data = (weights.get(`classifier.${p}`)!.data as Float32Array).slice(0, p === "bias" ? 1 : shape.width);
    return [`classifier.${p}`, { dtype: "f32", shape: p === "bias" ? [1] : [1, shape.width], data }];
  });
  const path = await folderOf("bert", {}, new Map(one));
  const { out, err } = await run(["rank", path, "cat", "the cat", "dog", "mat"]);
  const lines = out
    .trim()
    .split("\n")
    .map((line) => line.split(/ {2,}/));
  expect(lines.map(([, text]) => text).sort()).toEqual(["dog", "mat", "the cat"]);
  expect(lines.map(([score]) => Number(score))).toEqual(lines.map(([score]) => Number(score)).sort((a, b) => b - a));
  expect(err).toMatch(/3 texts in/);
  expect(JSON.parse((await run(["rank", path, "cat", "dog", "--json"])).out)[0]).toMatchObject({
    text: "dog",
    index: 0,
  });
  expect((await run(["rank", path, "cat"])).err).toMatch(/TEXT is missing/);
});
