/** `forwardpass chat` on a terminal: keys as a terminal sends them, and what it shows. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { Conversation } from "../../src/cli/conversation.ts";
import { main } from "../../src/cli/main.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-terminal-"));
const cache = process.env["FORWARDPASS_CACHE"];
process.env["FORWARDPASS_CACHE"] = folder;
afterAll(() => {
  if (cache === undefined) delete process.env["FORWARDPASS_CACHE"];
  else process.env["FORWARDPASS_CACHE"] = cache;
  return rm(folder, { recursive: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
});
const model = join(folder, "model.gguf");
await writeFile(model, tinyGguf({ contextLength: 4096 }));

const keys = { interrupt: "\x03", end: "\x04", up: "\x1b[A", enter: "\r" };
const pasted = (text: string): string => `\x1b[200~${text}\x1b[201~`;

/** A program on a terminal whose both outputs are one screen. */
class Screen {
  text = "";
  /** Of the text, what came from the standard output. */
  answer = "";
  private seen = 0;
  private readonly keyboard = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} });
  readonly exit: Promise<number>;

  /** Whether the program waits for keys, which keeps it alive. */
  get listens(): boolean {
    return !this.keyboard.isPaused();
  }

  constructor(...argv: string[]) {
    const output = () => Object.assign(new PassThrough(), { isTTY: true, columns: 60 });
    const [stdout, stderr] = [output(), output()];
    stdout.on("data", (d) => {
      this.answer += d;
    });
    for (const stream of [stdout, stderr])
      stream.on("data", (d) => {
        this.text += d;
      });
    this.exit = main(argv, { stdout, stderr, stdin: this.keyboard as never });
  }

  type(text: string): void {
    this.keyboard.write(text);
  }

  /** Waits until nothing more is shown. */
  async settles(): Promise<void> {
    for (let length = -1; length !== this.text.length; ) {
      length = this.text.length;
      await new Promise((next) => setTimeout(next, 100));
    }
  }

  /** Waits until something is shown, after what was waited for before. Gives what came until then. */
  async shows(what: string): Promise<string> {
    for (;;) {
      const at = this.text.indexOf(what, this.seen);
      if (at >= 0) {
        const between = this.text.slice(this.seen, at);
        this.seen = at + what.length;
        return between;
      }
      await new Promise((next) => setImmediate(next));
    }
  }
}

/** What stands on a terminal after all that was written to it: the sequences that line editors write, and plain text. */
function rowsOf(text: string, columns: number): string[] {
  const rows: string[][] = [[]];
  let [x, y] = [0, 0];
  const row = (): string[] => (rows[y] ??= []);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a terminal obeys
  for (const [c, n, command] of text.matchAll(/\x1b\[\??(\d*)([A-Za-z])|./gs)) {
    const by = Math.max(1, Number(n ?? 1));
    if (c === "\r") x = 0;
    else if (c === "\n") [x, y] = [0, y + 1];
    else if (command === undefined) {
      if (x === columns) [x, y] = [0, y + 1];
      row()[x++] = c;
    } else if (command === "G") x = by - 1;
    else if (command === "A") y -= by;
    else if (command === "B") y += by;
    else if (command === "C") x += by;
    else if (command === "D") x -= by;
    else if (command === "K") row().length = Math.min(row().length, x);
    else if (command === "J") {
      row().length = Math.min(row().length, x);
      rows.length = y + 1;
    }
  }
  return Array.from(rows, (r) =>
    Array.from(r ?? [], (c) => c ?? " ")
      .join("")
      .trimEnd(),
  );
}

test("Ctrl-C stops the answer and not the program; history, /stats, /reset, Ctrl-D", { timeout: 60_000 }, async () => {
  const screen = new Screen("chat", model, "-n", "4000", "--device", "wasm", "--threads", "1", "--seed", "1");
  await screen.shows("/help for help");
  await screen.shows("> ");
  screen.type(`hello${keys.enter}`);
  await screen.shows("...");
  // The first words.
  await screen.shows("\r\x1b[K");
  screen.type(keys.interrupt);
  await screen.shows("(stopped");
  await screen.shows("> ");
  screen.type(`/stats${keys.enter}`);
  await screen.shows("prompt tokens, first token after");
  await screen.shows("> ");
  // Two lines back is the question.
  screen.type(`${keys.up}${keys.up}`);
  await screen.shows("hello");
  screen.type(keys.interrupt);
  await screen.shows("> ");
  // What was typed is dropped; an empty line says how to leave.
  screen.type(keys.interrupt);
  await screen.shows("Ctrl-D or /quit leaves)\n");
  screen.type("x");
  // The prompt is there once, also where something is dropped.
  expect((await screen.shows("x")).split("> ")).toHaveLength(2);
  screen.type(keys.interrupt);
  screen.type("y");
  expect((await screen.shows("y")).split("> ")).toHaveLength(2);
  screen.type(keys.interrupt);
  await screen.shows("> ");
  screen.type(`/history${keys.enter}`);
  await screen.shows("user: hello");
  await screen.shows("assistant: ");
  screen.type(`/reset${keys.enter}/history${keys.enter}`);
  await screen.shows("forgotten");
  await screen.shows("nothing was said yet");
  screen.type(keys.end);
  expect(await screen.exit).toBe(0);
});

test("what is pasted is one message, sent with Enter", { timeout: 60_000 }, async () => {
  const screen = new Screen("chat", model, "-n", "2", "--device", "wasm", "--threads", "1", "--seed", "1");
  await screen.shows("\x1b[?2004h");
  await screen.shows("> ");
  screen.type(pasted("first line\rsecond line\r\r/history"));
  await screen.shows("/history");
  screen.type(` is no command here${keys.enter}`);
  await screen.shows("> ");
  screen.type(`/history${keys.enter}`);
  await screen.shows("user: first line\nsecond line\n\n/history is no command here\n");
  // With the line's end behind it, too.
  await screen.shows("> ");
  screen.type(pasted("third line\r"));
  await screen.shows("... ");
  screen.type(`${keys.enter}/history${keys.enter}`);
  await screen.shows("user: third line\n");
  screen.type(`/quit${keys.enter}`);
  expect(await screen.exit).toBe(0);
  expect(screen.text).toContain("\x1b[?2004l");
});

test("what was typed comes back in the next session, and is nobody else's", { timeout: 60_000 }, async () => {
  const argv = ["chat", model, "-n", "2", "--device", "wasm", "--threads", "1", "--seed", "1"];
  const first = new Screen(...argv);
  await first.shows("> ");
  first.type(`/history remember me${keys.enter}`);
  await first.shows("nothing was said");
  await first.shows("> ");
  first.type(keys.end);
  expect(await first.exit).toBe(0);
  expect((await stat(join(folder, "chat-history"))).mode & 0o077).toBe(0);
  const second = new Screen(...argv);
  await second.shows("> ");
  second.type(keys.up);
  await second.shows("/history remember me");
  second.type(`${keys.interrupt}/quit${keys.enter}`);
  expect(await second.exit).toBe(0);
  expect((await readFile(join(folder, "chat-history"), "utf8")).split("\n").slice(0, 2)).toEqual([
    "/quit",
    "/history remember me",
  ]);
});

test("a terminal that does not know its width is as wide as usual", async () => {
  using generator = await textGeneration(model, { device: "wasm", threads: 1 });
  const said = async (columns: number): Promise<string> => {
    const output = () => Object.assign(new PassThrough(), { isTTY: true, columns });
    const io = { stdout: output(), stderr: output(), stdin: new PassThrough() as never };
    await new Conversation(generator, { maxTokens: 300, seed: 1, topP: 1, temperature: 5 }, io, undefined).say("hello");
    return String(io.stdout.read());
  };
  expect(await said(0)).toBe(await said(80));
  expect(await said(20)).not.toBe(await said(80));
});

test("SIGTERM leaves the terminal as it was", async () => {
  const screen = new Screen("chat", model, "-n", "4000", "--device", "wasm", "--threads", "1", "--seed", "1");
  await screen.shows("> ");
  screen.type(`hello${keys.enter}`);
  await screen.shows("\r\x1b[K");
  process.emit("SIGTERM");
  expect(await screen.exit).toBe(143);
  expect(screen.text.endsWith("\x1b[?2004lterminated\n")).toBe(true);
  expect(process.listenerCount("SIGTERM") + process.listenerCount("SIGINT")).toBe(0);
});

test("a dumb terminal gets no escape sequences; what was said breaks between words", async () => {
  vi.stubEnv("TERM", "dumb");
  const screen = new Screen("chat", model, "-n", "2", "--device", "wasm", "--threads", "1", "--seed", "1");
  await screen.shows("> ");
  screen.type(`${"wordy ".repeat(20)}${keys.enter}`);
  await screen.shows("> ");
  screen.type(`/history${keys.enter}`);
  await screen.shows("user: ");
  const said = (await screen.shows("assistant: ")).trimEnd().split("\n");
  expect(said).toHaveLength(3);
  for (const line of said) expect(line).toMatch(/^(wordy ?){1,10}$/);
  await screen.shows("> ");
  screen.type(`/help${keys.enter}`);
  await screen.shows("(or Ctrl-D)\n");
  expect((await screen.shows("> ")).split("\n")).toEqual([
    "What you paste is one message, sent with Enter. A line that",
    'ends with \\ goes on in the next one; """ begins and ends a',
    "text of several lines.",
    "Ctrl-C stops an answer. Arrow keys bring back what you",
    "typed, also in earlier sessions.",
    "",
  ]);
  screen.type(keys.end);
  expect(await screen.exit).toBe(0);
  expect(screen.text).not.toContain("\x1b");
});

test("Ctrl-D during an answer leaves after it", { timeout: 60_000 }, async () => {
  const screen = new Screen("chat", model, "-n", "200", "--device", "wasm", "--threads", "1", "--seed", "1");
  await screen.shows("> ");
  expect(screen.listens).toBe(true);
  screen.type(`hello${keys.enter}`);
  // The first words.
  await screen.shows("\r\x1b[K");
  screen.type(keys.end);
  expect(await screen.exit).toBe(0);
  expect(screen.listens).toBe(false);
  const rest = await screen.shows("\x1b[?2004l");
  expect(rest).toContain("tokens/s");
  // What a model with random weights says may look like a prompt.
  expect(rest.slice(rest.lastIndexOf("tokens/s"))).not.toContain("> ");
});

test("Ctrl-C drops a line that takes several rows: one prompt is left, and what is above it", {
  timeout: 60_000,
}, async () => {
  const left = "\x1b[D";
  for (const [typed, moves] of [
    ["a".repeat(300), 0],
    ["a".repeat(58), 0],
    ["b".repeat(300), 250],
    ["b".repeat(300), 100],
  ] as const) {
    const screen = new Screen("chat", model, "-n", "2", "--device", "wasm", "--threads", "1");
    await screen.shows("> ");
    screen.type(typed + left.repeat(moves));
    await screen.settles();
    const before = rowsOf(screen.text, 60);
    screen.type(keys.interrupt);
    await screen.settles();
    const rows = rowsOf(screen.text, 60);
    // What was shown before the line, rows of the line, and an empty prompt.
    const first = before.findIndex((row) => row.startsWith("> "));
    expect(rows.slice(0, first)).toEqual(before.slice(0, first));
    expect(rows.at(-1)).toBe(">");
    for (const row of rows.slice(first, -1)) expect(row).toMatch(/^(> )?(a+|b+)$/);
    screen.type(`/history${keys.enter}`);
    await screen.shows("nothing was said yet");
    screen.type(keys.end);
    expect(await screen.exit).toBe(0);
  }
});

test("a model can't write control characters to the terminal", { timeout: 60_000 }, async () => {
  // Random weights say anything.
  const argv = ["generate", model, "x", "-n", "600", "--seed", "3", "--top-p", "1", "--temperature", "5"];
  const screen = new Screen(...argv);
  expect(await screen.exit).toBe(0);
  expect(screen.answer.length).toBeGreaterThan(100);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(screen.answer).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f]/);
  // Without a terminal the text is as it is.
  const stdout = new PassThrough();
  const io = { stdout, stderr: new PassThrough(), stdin: new PassThrough() as never };
  await main(argv, io);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(String(stdout.read())).toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f]/);
});
