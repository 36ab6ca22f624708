import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { WordWrap } from "../../src/cli/wrap.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-cli-"));
afterAll(() => rm(folder, { recursive: true }));
const model = join(folder, "model.gguf");
await writeFile(model, tinyGguf());
const story = join(folder, "plain.gguf");
await writeFile(story, tinyGguf({ chat: false }));
/** Its template takes neither instructions nor the message "stop". */
const particular = join(folder, "particular.gguf");
const refusing = ["m.role == 'system'", "m.content == 'stop'"].map(
  (what, i) => `{% if ${what} %}{{ raise_exception('no ${["system", "stop"][i]}') }}{% endif %}`,
);
const chatTemplate = `{% for m in messages %}${refusing.join("")}{{ m.content }};{% endfor %}`;
await writeFile(particular, tinyGguf({ chatTemplate }));

async function run(argv: string[], input: string | Buffer = ""): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await main(argv, { stdout, stderr, stdin: Readable.from([input]) as never });
  return { code, out: String(stdout.read() ?? ""), err: String(stderr.read() ?? "") };
}

const sampled = ["--temperature", "2", "--device", "cpu"];
const common = ["--temperature", "0", "--device", "wasm", "--threads", "1"];

describe("generate", () => {
  test("prints prompt and continuation, and statistics beside them", async () => {
    const { code, out, err } = await run(["generate", model, "hello", "--max-tokens", "8", ...common]);
    expect([code, out.startsWith("hello"), out.endsWith("\n")]).toEqual([0, true, true]);
    expect(err).toMatch(/6 prompt tokens, first token after .*, 8 tokens at [\d.]+ tokens\/s on wasm/);
    const json = JSON.parse((await run(["generate", model, "hello", "--max-tokens", "8", "--json", ...common])).out);
    expect(`hello${json.text}\n`).toBe(out);
    expect([json.tokens.length, json.finish, json.promptTokens]).toEqual([8, "length", 6]);
  });

  test("keeps keys and values in f16", async () => {
    const { code, out } = await run(["generate", model, "hello", "--max-tokens", "8", "--kv-cache", "f16", ...common]);
    expect([code, out.startsWith("hello")]).toEqual([0, true]);
  });

  test("takes a prompt as a message", async () => {
    const { code, out } = await run(["generate", model, "hello", "--chat", "-n", "4", ...common]);
    expect([code, out.startsWith("hello")]).toEqual([0, false]);
    expect((await run(["generate", story, "hello", "--chat", ...common])).err).toBe(
      "InputError: generate: this model has no chat template; without --chat, the prompt is a text that the model continues\n",
    );
    expect((await run(["generate", particular, "stop", "--chat", ...common])).err).toBe(
      "InputError: the model's chat template fails on these messages: no stop; without --chat, the prompt is a text that the model continues\n",
    );
  });

  test("reads a prompt from the standard input, for - and where there is none", async () => {
    const want = await run(["generate", model, "h\u00e9", "-n", "4", ...common]);
    for (const given of [[], ["-"]])
      for (const end of ["", "\n", "\r\n"]) {
        const { code, out } = await run(["generate", model, ...given, "-n", "4", ...common], `h\u00e9${end}`);
        expect([code, out]).toEqual([0, want.out]);
      }
    const missing = await run(["generate", model, ...common]);
    expect([missing.code, missing.out, /PROMPT is missing/.test(missing.err)]).toEqual([2, "", true]);
    expect((await run(["generate", model, "", "-n", "1", ...common], "unread")).err).toMatch(/1 prompt token,/);
    // A terminal is not waited for.
    const stdin = Object.assign(new PassThrough(), { isTTY: true }) as never;
    const io = { stdout: new PassThrough(), stderr: new PassThrough(), stdin };
    expect(await main(["generate", model], io)).toBe(2);
    // Nor an input that stays open, where there is a prompt.
    const open = { ...io, stdin: new PassThrough() as never };
    expect(await main(["generate", model, "x", "-n", "1", ...common], open)).toBe(0);
  });

  test("an answer is all of the standard output, and what cuts it is told", async () => {
    const schema = join(folder, "bit.json");
    await writeFile(schema, '{ "enum": [0, 1] }');
    const whole = await run(["generate", model, "hello", "--schema", schema, "-n", "4", ...common]);
    expect([JSON.parse(whole.out), whole.err.split("\n").length]).toEqual([expect.any(Number), 2]);
    const remark = async (...argv: string[]) =>
      (await run(["generate", model, "hello", "-n", "2", ...argv, ...common])).err.split("\n").slice(1, -1);
    await writeFile(schema, '{ "const": "a text" }');
    expect(await remark("--schema", schema)).toEqual(["(cut off by --max-tokens: the JSON is not whole)"]);
    const full = ["--schema", schema, "-n", "9", "--context", "9"];
    expect(await remark(...full)).toEqual(["(cut off by the end of the context: the JSON is not whole)"]);
    expect(await remark("--chat")).toEqual(["(cut off by --max-tokens)"]);
    expect(await remark()).toEqual([]);
  });

  test("an error leaves the standard output empty", async () => {
    const schema = join(folder, "schema.json");
    await writeFile(schema, '{ "type": "nothing" }');
    for (const argv of [
      [model, "x".repeat(100)],
      [story, "x", "--chat"],
      [model, "x", "--schema", schema],
      [model, "x", "--schema", folder],
      [model, "x", "--schema", join(folder, "none.json")],
    ]) {
      const { code, out, err } = await run(["generate", ...argv, ...common]);
      expect([code, out, err.startsWith("InputError")]).toEqual([1, "", true]);
    }
    expect((await run(["generate", model, "x", "-n", "0", ...common])).out).toBe("x\n");
  });

  test("without a token there is no time of the first", async () => {
    const argv = ["generate", model, "x", "-n", "0", ...common];
    expect((await run(argv)).err).toBe("2 prompt tokens, 0 tokens on wasm\n");
    expect(JSON.parse((await run([...argv, "--json"])).out)).not.toHaveProperty("firstTokenMs");
  });

  test("mistakes are told in a line", async () => {
    expect((await run(["generate"])).code).toBe(2);
    for (const wrong of [
      ["--temperature", "Infinity"],
      ["--repeat-penalty", "Infinity"],
      ["--seed", "1e300"],
      ["--top-k", "1e17"],
    ])
      expect((await run(["generate", "none.gguf", "x", ...wrong])).code).toBe(2);
    expect((await run(["generate", model, "x", "--temperature", "warm"])).err).toMatch(/--temperature takes a number/);
    expect((await run(["generate", model, "x", "--top-p", "3"])).code).toBe(2);
    expect((await run(["generate", model, "x", "--max-tokens", "-3"])).code).toBe(2);
    expect((await run(["generate", model, "x", "--kv-cache", "q8_0"])).code).toBe(2);
    const missing = await run(["generate", join(folder, "none.gguf"), "x"]);
    expect([missing.code, missing.err.split("\n").length]).toEqual([1, 2]);
    const long = await run(["generate", model, "x".repeat(100), ...common]);
    expect([long.code, /context of 64/.test(long.err)]).toEqual([1, true]);
  });
});

test("what is wrong with options is told before a model is looked for, and a prompt waited for", async () => {
  const schema = join(folder, "bad-schema.json");
  // Read behind a byte order mark.
  await writeFile(schema, '\uFEFF{ "type": "nothing" }');
  const stdin = new PassThrough() as never;
  for (const [code, told, ...argv] of [
    [1, 'no type "nothing"', "--schema", schema],
    [1, "is not JSON", "--schema", model],
    [2, "context", "--context", "0"],
    [2, "kv-cache", "--kv-cache", "q8_0"],
    [2, "seed", "--seed", "0.5"],
  ] as const) {
    const stderr = new PassThrough();
    const io = { stdout: new PassThrough(), stderr, stdin };
    expect(await main(["generate", "none.gguf", "-", ...argv], io)).toBe(code);
    expect(String(stderr.read())).toContain(told);
  }
});

test("seeds below zero are seeds", async () => {
  const told = async (seed: string) =>
    (await run(["generate", model, "x", "-n", "8", `--seed=${seed}`, ...sampled])).out;
  expect(await told("-1")).toBe(await told("-1"));
  expect(await told("-1")).not.toBe(await told("-2"));
});

describe("chat", () => {
  test("has the length in its help that it has", async () => {
    expect((await run(["chat", "--help"])).out).toMatch(/--max-tokens N +length of the answer; default 512/);
    expect((await run(["generate", "--help"])).out).toMatch(/--max-tokens N +length of the answer; default 256/);
  });

  test("what the input ends in is a message, also one that would have gone on", async () => {
    const whole = (await run(["chat", model, "-n", "4", ...common], "one\ntwo\n")).out;
    for (const input of ['"""one\ntwo', "one\\\ntwo\\\n", "one\\\ntwo"]) {
      const { code, out } = await run(["chat", model, "-n", "4", ...common], input);
      expect([code, out.split("\n").length > 1, out === whole]).toEqual([0, true, false]);
      expect(out).toBe((await run(["chat", model, "-n", "4", ...common], '"""one\ntwo"""\n')).out);
    }
  });

  test("answers, remembers, forgets", async () => {
    const lines = [
      "hi",
      "/stats",
      "more",
      "/history",
      "/reset",
      "/history",
      "/system Be brief.",
      "/nonsense",
      "/help",
      "/quit",
    ];
    const { code, out, err } = await run(["chat", model, "-n", "4", ...common], `${lines.join("\n")}\n`);
    expect(code).toBe(0);
    expect(out.split("\n").length).toBeGreaterThanOrEqual(3);
    expect(err).toMatch(/user: hi\nassistant: [\s\S]*user: more\nassistant: /);
    // The second question comes after what is known already.
    expect(err).toMatch(/prompt tokens, first token/);
    expect(err).toMatch(/forgotten\nnothing was said yet\na new conversation\n\/nonsense is no command/);
  });

  test("several lines are one message; the last one can be answered again", async () => {
    const lines = ["one \\", "two", '"""', "three", 'four"""', "/retry", "/history"];
    const { code, out, err } = await run(["chat", model, "-n", "2", ...common], `${lines.join("\n")}\n`);
    expect(code).toBe(0);
    expect(err).toMatch(/user: one \ntwo\nassistant: [\s\S]*user: three\nfour\nassistant: /);
    expect(err.match(/user: /g)).toHaveLength(2);
    expect(out.split("\n").length).toBeGreaterThanOrEqual(4);
    expect((await run(["chat", model, ...common], "/retry\n")).err).toMatch(/nothing was asked yet/);
  });

  test("without a template a text goes on, also without a word", async () => {
    const { out, err } = await run(["chat", story, "-n", "3", ...common], "hello\n\n/history\n");
    const [first, second] = out.split("\n");
    expect(err).toContain(`hello${first}${second}`);
  });

  test("without a template the latest continuation can be made again", async () => {
    expect((await run(["chat", story, ...common], "/retry\n")).err).toMatch(/nothing was asked yet/);
    for (const input of ["hello\n", "hello\n\n", "hello\nyou\n"]) {
      const once = await run(["chat", story, "-n", "3", ...common], `${input}/history\n`);
      const again = await run(["chat", story, "-n", "3", ...common], `${input}/retry\n/retry\n/history\n`);
      expect(again.err).toBe(once.err.replace(/(\(cut off[^\n]*\n)(?!\(cut)/, "$1$1$1"));
      const last = once.out.trimEnd().split("\n").at(-1);
      expect(again.out.trimEnd().split("\n").slice(-3)).toEqual([last, last, last]);
    }
    const reset = await run(["chat", story, "-n", "3", ...common], "hello\n/reset\n/retry\n");
    expect(reset.err).toMatch(/forgotten\nnothing was asked yet/);
  });

  test("without a template there are no instructions, which is told", async () => {
    const { code, out, err } = await run(["chat", story, "--system", "Be brief.", ...common], "hello\n");
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(/--system does nothing here: the model has no chat template/);
    const later = await run(["chat", story, "-n", "3", ...common], "hello\n/system Be brief.\n/history\n");
    expect(later.err).toMatch(/nothing has changed: the model has no chat template.*\nhello/);
  });

  test("what a template does not take is told, with what helps", async () => {
    const told = async (input: string, ...more: string[]) =>
      (await run(["chat", particular, "-n", "2", ...more, ...common], input)).err.split("\n").slice(2, -1);
    const fails = "(the model's chat template fails on these messages: ";
    expect(await told("hello\n/system\nhello\n", "--system", "Be brief.")).toEqual([
      `${fails}no system; /system without a text begins anew without instructions)`,
      "a new conversation",
      "(cut off by --max-tokens)",
    ]);
    expect(await told("stop\nhello\nstop\n")).toEqual([
      `${fails}no stop; forwardpass generate continues texts without it)`,
      "(cut off by --max-tokens)",
      `${fails}no stop; /reset begins anew)`,
    ]);
  });

  test("a context that is full is told, and the program goes on", async () => {
    const long = "x".repeat(100);
    const { code, err } = await run(["chat", model, ...common], `${long}\n/stats\n/help\n`);
    expect([code, err]).toEqual([
      0,
      expect.stringMatching(/context of 64.*a larger --context.*\nnothing was answered yet\n/s),
    ]);
    expect(err).not.toContain("begins anew");
    const later = await run(["chat", model, ...common, "-n", "3"], `hello\n${long}\n/stats\n`);
    expect(later.err).toMatch(/context of 64.*\/reset begins anew.*3 tokens/s);
  });
});

describe("words at the edge", () => {
  test("break between words, however they come in pieces", () => {
    const text = "one two  three\n\nfour fivesixseven e";
    const shown = (pieces: string[]): string => {
      const wrap = new WordWrap(9, "  ");
      return pieces.map((p) => wrap.push(p)).join("") + wrap.end();
    };
    const want = "one two\n  three\n  \n  four\n  fivesixseven\n  e";
    expect(shown([text])).toBe(want);
    expect(shown([...text])).toBe(want);
    expect(shown(["a ", "b"])).toBe("a b");
  });
});

describe("embed", () => {
  test("mistakes are told", async () => {
    expect((await run(["embed", model])).code).toBe(2);
    expect((await run(["embed", model, "x", "--pooling", "cls,middle"])).code).toBe(2);
  });

  test("a language model's states are vectors, too", async () => {
    const { code, out } = await run(["embed", model, "x", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(out)[0].vector).toHaveLength(32);
  });
});

describe("transcribe", () => {
  test("mistakes are told", async () => {
    expect((await run(["transcribe"])).err).toMatch(/FILE\.wav is missing/);
    expect((await run(["transcribe", "x.wav"])).err).toMatch(/--model is missing/);
    expect((await run(["transcribe", "x.wav", "--model", join(folder, "nowhere")])).code).toBe(1);
  });
});
