/** Ctrl-C in a download, by every command that loads a model. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, expect, test, vi } from "vitest";
import { main } from "../../src/cli/main.ts";
import { loading } from "../../src/cli/model.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-interrupt-"));
vi.stubEnv("FORWARDPASS_CACHE", folder);
let asked = (): void => {};
/** Begins to answer, and goes on for ever. */
const server = createServer((_, response) => {
  response.writeHead(200, { "content-length": 1_000_000 }).write("some of it");
  asked();
});
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});
const model = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.onnx`;

test.each([
  ["run", model],
  ["inspect", model],
  ["bench", model],
  ["generate", model, "text"],
  ["chat", model],
  ["compile", model, "--out", folder],
  ["convert", model, join(folder, "out.gguf")],
  ["classify", model, "text"],
  ["classify", model, "text", "--entities"],
  ["classify", model, "text", "--labels", "a,b"],
  ["answer", model, "question", "text"],
  ["rank", model, "query", "text"],
  ["embed", model, "text"],
  ["transcribe", "speech.wav", "--model", model],
])("%s", async (...argv) => {
  const stderr = new PassThrough();
  const downloads = new Promise<void>((begun) => {
    asked = begun;
  });
  const code = main(argv, { stdout: new PassThrough(), stderr, stdin: new PassThrough() as never });
  await downloads;
  // Without a listener the program would end by it, and the tests with it.
  expect(process.listenerCount("SIGINT")).toBe(1);
  process.emit("SIGINT");
  expect([await code, String(stderr.read())]).toEqual([130, "interrupted\n"]);
  expect(process.listenerCount("SIGINT")).toBe(0);
});

test("what is loaded when it comes is given back", async () => {
  const model = { [Symbol.dispose]: vi.fn() };
  const io = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() as never };
  const interrupt = (): unknown => process.emit("SIGINT");
  // While the event loop is held up, a signal comes out in its next turn, or in the one after that.
  for (const come of [interrupt, () => setImmediate(interrupt), () => setImmediate(() => setImmediate(interrupt))]) {
    model[Symbol.dispose].mockClear();
    const work = async () => {
      come();
      return model;
    };
    await expect(loading("loading", { positionals: [], options: {} }, io, work)).rejects.toThrow("aborted");
    expect(model[Symbol.dispose]).toHaveBeenCalledOnce();
  }
});
