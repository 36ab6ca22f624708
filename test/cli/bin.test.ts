/** Programs in a process of their own: the command line, the demo, the start of the benchmarks. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bin = new URL("../../src/cli/bin.ts", import.meta.url).href;
/** (x) => drop(f32x4.relaxed_madd(x, x, x)) */
const relaxed = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 1, 123, 0, 3, 2, 1, 0, 10, 14, 1, 12, 0, 32, 0, 32, 0, 32, 0, 253, 133, 2,
  26, 11,
];

test("has relaxed SIMD where Node has it behind a flag", () => {
  const script = `await import(${JSON.stringify(bin)}); console.log(WebAssembly.validate(Uint8Array.of(${relaxed})))`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script, "--", "forwardpass", "--version"];
  const lines = execFileSync(process.execPath, args, { encoding: "utf8" }).trim().split("\n");
  const old = process.arch !== "x64" && process.versions.v8.startsWith("11.3.");
  expect(lines.sort()).toEqual([expect.stringMatching(/^\d+\.\d+\.\d+$/), String(!old)]);
});

test("a reader of the standard error that goes away is no error", { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "forwardpass-bin-"));
  const row = join(folder, "row.json");
  await writeFile(row, JSON.stringify(new Array(30).fill(0)));
  const model = fileURLToPath(new URL("../../examples/models/fraud-mlp/model.onnx", import.meta.url));
  const args = ["--import", "tsx", fileURLToPath(bin), "run", model, "--input", row, "--device", "cpu"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  child.stderr.destroy();
  let out = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) out += chunk;
  const code = child.exitCode ?? (await new Promise((done) => child.once("exit", done)));
  await rm(folder, { recursive: true });
  expect([code, out]).toEqual([0, expect.stringMatching(/^risk/)]);
});

test.skipIf(!existsSync("/dev/full"))("a standard output that takes nothing is told", () => {
  const full = openSync("/dev/full", "w");
  const args = ["--import", "tsx", fileURLToPath(bin), "--version"];
  const { status, stderr } = spawnSync(process.execPath, args, { stdio: ["ignore", full, "pipe"], encoding: "utf8" });
  closeSync(full);
  expect([status, stderr]).toEqual([1, "forwardpass: cannot write the standard output: no space left on device\n"]);
});

test("a terminal that was closed is no error", () => {
  const script = `await import(${JSON.stringify(bin)}); process.stderr.emit("error", { code: "EIO" })`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script, "--", "forwardpass", "--version"];
  expect(spawnSync(process.execPath, args).status).toBe(0);
});

test.skipIf(process.platform === "win32")("SIGHUP ends it as a signal does, once it is tidied up", async () => {
  const server = createServer(() => child.kill("SIGHUP"));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const model = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.gguf`;
  const args = ["--import", "tsx", fileURLToPath(bin), "convert", model, "out.gguf"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let err = "";
  for await (const chunk of child.stderr.setEncoding("utf8")) err += chunk;
  const signal = child.signalCode ?? (await new Promise((done) => child.once("exit", (_, s) => done(s))));
  server.closeAllConnections();
  server.close();
  expect([signal, err]).toEqual(["SIGHUP", "hung up\n"]);
});

test("the benchmarks' help installs nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "forwardpass-bench-"));
  await copyFile(new URL("../../bench/start.mjs", import.meta.url), join(folder, "start.mjs"));
  const { status, stderr } = spawnSync(process.execPath, [join(folder, "start.mjs"), "--help"], { encoding: "utf8" });
  expect([status, stderr]).toEqual([1, expect.stringMatching(/^bench: the help is there once the peers are .*\n$/)]);
  await rm(folder, { recursive: true });
});

test("the demo tells what its options are", () => {
  const demo = fileURLToPath(new URL("../../examples/demo/main.ts", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, ["--import", "tsx", demo, "--foo"], { encoding: "utf8" });
  expect([status, stderr]).toEqual([2, "demo: Unknown option '--foo'\nUsage: npm run demo [-- --device cpu|wasm]\n"]);
});
