/** What goes wrong while texts are generated: each time a typed error that says what to do, and a model that goes on. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import { type ChatMessage, type TextGenerator, textGeneration } from "../../src/tasks/text-generation.ts";
import { HuggingFaceTokenizer } from "../../src/tasks/tokenizers/hugging-face.ts";
import { DeviceError, InputError, MissingPeerError } from "../../src/tensor/errors.ts";
import { loadPeer, providePeer } from "../../src/tensor/peer.ts";
import { inPage } from "../hosts.ts";
import { tinyGguf } from "./tiny-gguf.ts";

const options = { device: "wasm", threads: 1 } as const;
const greedy = { temperature: 0, maxTokens: 12 };
const user: ChatMessage = { role: "user", content: "hello" };
const system: ChatMessage = { role: "system", content: "Be brief." };

async function rejection(work: Promise<unknown>): Promise<Error> {
  return work.then(
    () => expect.unreachable("it did not fail"),
    (e) => e,
  );
}

describe("chat templates", () => {
  const withTemplate = (chatTemplate: string) => textGeneration(tinyGguf({ chatTemplate }), options);

  test.each([
    ["cut off", "{% for m in messages %}{{ m.content }}"],
    ["no Jinja", "{{ messages[ }}"],
    ["an unknown function", "{{ render_everything(messages) }}"],
    ["an unknown filter", "{{ messages | reticulate }}"],
    ["nothing said", "{% for m in messages %}{% endfor %}"],
    ["empty", ""],
  ])("%s: the error names the template and what helps", async (_, chatTemplate) => {
    using model = await withTemplate(chatTemplate);
    const error = await rejection(model.generate([user], greedy));
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(/chat template fails on these messages: .+\. Pass other messages, a text, or/);
    expect(error.cause).toBeInstanceOf(Error);
    // A text needs no template.
    expect((await model.generate("hello", greedy)).tokens).toHaveLength(12);
  });

  test("a role that the template refuses is told in its own words; another template can be given", async () => {
    const refusing =
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" +
      "<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>";
    using model = await withTemplate(refusing);
    const error = await rejection(model.generate([system, user], greedy));
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toContain("System role not supported");
    expect((await model.generate([user], greedy)).tokens).toHaveLength(12);

    const chatTemplate = "{% for m in messages %}{{ m.content }};{% endfor %}";
    using other = await textGeneration(tinyGguf({ chatTemplate: refusing }), { ...options, chatTemplate });
    expect(await other.tokensOf([system, user])).toEqual(other.tokenizer!.encode("Be brief.;hello;", { begin: false }));
  });
});

describe("peers that are not installed", () => {
  afterEach(() => {
    vi.doUnmock("@huggingface/jinja");
    vi.doUnmock("@huggingface/tokenizers");
  });
  const missing = (name: string) =>
    vi.doMock(name, () => {
      throw new Error(`Cannot find package '${name}'`);
    });

  test("are named, with the command that installs them", async () => {
    const error = await rejection(loadPeer("no-such-peer-of-forwardpass", "this test"));
    expect(error).toBeInstanceOf(MissingPeerError);
    expect(error.message).toBe(
      "this test needs the package no-such-peer-of-forwardpass: npm install no-such-peer-of-forwardpass",
    );
  });

  test("what a bundle provides is taken", async () => {
    const module = { there: true };
    providePeer("a-peer-of-this-test", module);
    expect(await loadPeer("a-peer-of-this-test", "this test")).toBe(module);
  });

  test("where there is no Node, the message says how to provide one", async () => {
    const error = await inPage(() => rejection(loadPeer("no-such-peer", "this test")));
    expect(error.message).toBe(
      'this test needs the package no-such-peer: npm install no-such-peer, then providePeer("no-such-peer", await import("no-such-peer"))',
    );
  });

  test("in workerd, which has no code for it, too", async () => {
    const code = `throw Error('No such module "' + import.meta.url + '".')`;
    const name = `data:text/javascript;base64,${btoa(code)}`;
    const error = await rejection(loadPeer(name, "this test"));
    expect(error.message).toBe(
      `this test needs the package ${name}: npm install ${name}, then providePeer("${name}", await import("${name}"))`,
    );
  });

  test("jinja: messages can't be answered, texts go on", async () => {
    missing("@huggingface/jinja");
    using model = await textGeneration(tinyGguf(), options);
    const error = await rejection(model.generate([user], greedy));
    expect(error).toBeInstanceOf(MissingPeerError);
    expect(error.message).toContain("a chat template needs the package @huggingface/jinja");
    expect((await model.generate("hello", greedy)).tokens).toHaveLength(12);
  });

  test("tokenizers: a tokenizer.json can't be read", async () => {
    missing("@huggingface/tokenizers");
    const error = await rejection(HuggingFaceTokenizer.open({}));
    expect(error).toBeInstanceOf(MissingPeerError);
    expect(error.message).toContain("tokenizer.json needs the package @huggingface/tokenizers");
  });
});

describe("aborts", () => {
  /** A signal that aborts when it is looked at for the n-th time. */
  function signalAt(n: number): AbortSignal & { looks: number } {
    const controller = new AbortController();
    const signal = controller.signal as AbortSignal & { looks: number };
    const check = signal.throwIfAborted.bind(signal);
    signal.looks = 0;
    signal.throwIfAborted = () => {
      if (++signal.looks === n) controller.abort();
      check();
    };
    return signal;
  }
  const prompt = "a prompt of more than thirty-two tokens";

  test("stop a prompt between any two steps; what comes after is right", async () => {
    using model = await textGeneration(tinyGguf(), options);
    using fresh = await textGeneration(tinyGguf(), options);
    const want = await fresh.generate(prompt, greedy);
    const count = signalAt(Infinity);
    await model.generate(prompt, { ...greedy, maxTokens: 1, signal: count });
    // Before the prompt, between its steps, before the first token, and once after it.
    expect(count.looks).toBeGreaterThan(20);
    for (let n = 1; n < count.looks; n += 3) {
      const signal = signalAt(n);
      const stream = model.stream(`${n} ${prompt}`.slice(0, prompt.length), { ...greedy, signal });
      const error = await rejection(
        (async () => {
          for await (const _ of stream);
        })(),
      );
      expect([error.name, stream.generation.tokens.length]).toEqual(["AbortError", 0]);
      const again = await model.generate(prompt, greedy);
      expect(again.tokens).toEqual(want.tokens);
    }
  });

  test("stop between any two tokens", async () => {
    using model = await textGeneration(tinyGguf(), options);
    const want = await model.generate("x", greedy);
    for (let n = 1; n <= 10; n++) {
      const controller = new AbortController();
      const stream = model.stream("x", { ...greedy, signal: controller.signal });
      const error = await rejection(
        (async () => {
          for await (const _ of stream) if (stream.generation.tokens.length >= n) controller.abort();
        })(),
      );
      expect(error.name).toBe("AbortError");
      expect(want.tokens.slice(0, stream.generation.tokens.length)).toEqual(stream.generation.tokens);
      expect((await model.generate("x", greedy)).tokens).toEqual(want.tokens);
    }
  });

  test("and readers that leave, errors and full contexts leak nothing", async () => {
    using model = await textGeneration(tinyGguf(), options);
    const round = async (): Promise<void> => {
      await Promise.all([
        rejection(model.generate(prompt, { ...greedy, signal: signalAt(12) })),
        rejection(model.generate("abc", { ...greedy, signal: signalAt(7) })),
        rejection(model.generate("x".repeat(80), greedy)),
        rejection(model.generate("y", { ...greedy, stop: { bad: true } as never, seed: Number.NaN })),
        model.generate("z".repeat(50), { ...greedy, maxTokens: 50 }),
        leave(model),
      ]);
    };
    for (let i = 0; i < 5; i++) await round();
    const before = model.decoder.session.bytes;
    for (let i = 0; i < 30; i++) await round();
    expect(model.decoder.session.bytes).toBe(before);
  });

  async function leave(model: TextGenerator): Promise<void> {
    for await (const _ of model.stream("leave", greedy)) return;
  }
});

describe("memory", () => {
  /** Leaves no room in a session's memory: what is given back is all that there is. */
  function fill(model: TextGenerator): void {
    const { memory } = (model.decoder.session as unknown as { store: WasmSession }).store;
    memory.memory.grow = () => {
      throw new RangeError("no more");
    };
    for (let size = 1 << 24; size >= 64; size /= 2)
      try {
        for (;;) memory.allocate(size);
      } catch {}
  }
  const prompts = ["first of all", "second to none", "third time lucky"];

  test("that runs out takes that of idle texts", async () => {
    using model = await textGeneration(tinyGguf(), options);
    using fresh = await textGeneration(tinyGguf(), options);
    for (const p of prompts.slice(0, 2)) await model.generate(p, greedy);
    fill(model);
    const want = await fresh.generate(prompts[2], greedy);
    expect((await model.generate(prompts[2], greedy)).tokens).toEqual(want.tokens);
  });

  test("that runs out with no idle text is told", async () => {
    using model = await textGeneration(tinyGguf(), options);
    fill(model);
    expect(await rejection(model.generate(prompts[0], greedy))).toBeInstanceOf(DeviceError);
  });

  test("that runs out on the way takes that of idle texts", async () => {
    using model = await textGeneration(tinyGguf(), options);
    using fresh = await textGeneration(tinyGguf(), options);
    const long = { ...greedy, maxTokens: 60 };
    for (const p of prompts.slice(0, 2)) await model.generate(p, long);
    const want = await fresh.generate("a", long);
    const stream = model.stream("a", long);
    for await (const _ of stream) if (stream.generation.tokens.length === 1) fill(model);
    expect(stream.generation.tokens).toEqual(want.tokens);
  });
});
