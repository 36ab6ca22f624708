/** What `forwardpass transcribe` asks of a model. */
import { PassThrough, Readable } from "node:stream";
import { expect, test, vi } from "vitest";
import { main } from "../../src/cli/main.ts";

const asked: object[] = [];
vi.mock("../../src/tasks/transcription.ts", () => ({
  transcription: async () => ({
    device: "cpu",
    transcribe: async (_: string, { language, task }: { language?: string; task?: string }) => {
      asked.push({ language, task });
      return { text: "", tokens: [], segments: [], seconds: 1, firstTokenMs: 0, totalMs: 0 };
    },
    [Symbol.dispose]() {},
  }),
}));

test("what is not said is left to the model's files", async () => {
  const io = () => ({ stdout: new PassThrough(), stderr: new PassThrough(), stdin: Readable.from([""]) as never });
  const given = [[], ["--language", "de"], ["--translate"]];
  for (const more of given)
    expect(await main(["transcribe", "x.wav", "--model", "whisper", "--device", "cpu", ...more], io())).toBe(0);
  expect(asked).toEqual([
    { language: undefined, task: undefined },
    { language: "de", task: undefined },
    { language: undefined, task: "translate" },
  ]);
});
