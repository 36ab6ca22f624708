/** `forwardpass chat` on a terminal: keys as a terminal sends them, and what it shows. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-terminal-"));
afterAll(() => rm(folder, { recursive: true }));
const model = join(folder, "model.gguf");
await writeFile(model, tinyGguf({ contextLength: 4096 }));

const keys = { interrupt: "\x03", end: "\x04", up: "\x1b[A", enter: "\r" };

/** A program on a terminal whose both outputs are one screen. */
class Screen {
  text = "";
  /** Of the text, what came from the standard output. */
  answer = "";
  private seen = 0;
  private readonly keyboard = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} });
  readonly exit: Promise<number>;

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
  await screen.shows("Ctrl-D or /quit leaves");
  screen.type(`/history${keys.enter}`);
  await screen.shows("user: hello");
  await screen.shows("assistant: ");
  screen.type(`/reset${keys.enter}/history${keys.enter}`);
  await screen.shows("forgotten");
  await screen.shows("nothing was said yet");
  screen.type(keys.end);
  expect(await screen.exit).toBe(0);
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
