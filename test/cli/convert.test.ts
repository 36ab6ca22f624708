/** `forwardpass convert`: models that say the same afterwards, and mistakes in a line. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { readGguf } from "../../src/formats/gguf/index.ts";
import { bytesSource } from "../../src/formats/source.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-convert-"));
afterAll(() => rm(root, { recursive: true }));
let folder: string;
let model: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, "case-"));
  model = join(folder, "model.gguf");
  await writeFile(model, tinyGguf());
});

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await main(argv, { stdout, stderr, stdin: Readable.from([]) as never });
  return { code, out: String(stdout.read() ?? ""), err: String(stderr.read() ?? "") };
}
const told = async (path: string): Promise<string> =>
  (await run("generate", path, "hello", "-n", "8", "--temperature", "0", "--device", "cpu")).out;

describe("convert", () => {
  test("to safetensors and back: a folder and a file that say the same", async () => {
    const there = join(folder, "new/folder/model.safetensors");
    const first = await run("convert", model, there);
    expect([first.code, first.err]).toEqual([0, ""]);
    expect(first.out).toMatch(/model\.safetensors: \d.*B, tensors: \d+ f32; beside it config\.json, tokenizer\.json/);
    expect(first.out).toContain(`; the folder ${join(folder, "new/folder")} is new\n`);
    const back = join(folder, "back.gguf");
    expect(await run("convert", join(folder, "new/folder"), back)).toMatchObject({
      code: 0,
      out: expect.not.stringMatching(/is new/),
    });
    const want = await told(model);
    expect(want).toMatch(/^hello./);
    expect([await told(join(folder, "new/folder")), await told(back)]).toEqual([want, want]);
  });

  test("with other weights, over the file itself, without a tokenizer", async () => {
    const before = (await readFile(model)).length;
    const { code, out } = await run("convert", model, model, "--quant", "f16", "--no-tokenizer");
    expect([code, /f16.*; without a tokenizer\n$/.test(out)]).toEqual([0, true]);
    expect((await readFile(model)).length).toBeLessThan(before);
    expect(await readdir(folder)).toEqual(["model.gguf"]);
    expect((await run("generate", model, "hello")).err).toMatch(
      /no tokenizer: there is no vocabulary .* give tokens to forwardpass run\n$/,
    );
  });

  test("inspect counts the weights of the file, whatever holds them", async () => {
    const sizes = [...(await readGguf(bytesSource(await readFile(model), model))).tensors.values()].map((t) =>
      sizeOf(t.shape),
    );
    const parameters = sizes.reduce((sum, n) => sum + n, 0);
    const bytes: number[] = [];
    for (const quant of ["f32", "q8_0", "q4_0"]) {
      const path = join(folder, `${quant}.gguf`);
      await run("convert", model, path, "--quant", quant);
      const report = JSON.parse((await run("inspect", path, "--device", "cpu", "--json")).out);
      expect(report.parameters).toBe(parameters);
      bytes.push(report.weightBytes);
    }
    expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
  });

  test("through links to files, which stay links, there or not yet", async () => {
    await mkdir(join(folder, "far"));
    await symlink("far/real.gguf", join(folder, "link.gguf"));
    await symlink("link.gguf", join(folder, "out.gguf"));
    for (const quant of ["f16", "q8_0"]) {
      expect((await run("convert", model, join(folder, "out.gguf"), "--quant", quant)).code).toBe(0);
      expect(await readdir(join(folder, "far"))).toEqual(["real.gguf"]);
      expect(await readlink(join(folder, "out.gguf"))).toBe("link.gguf");
      expect(await readlink(join(folder, "link.gguf"))).toBe("far/real.gguf");
    }
    await symlink("b.gguf", join(folder, "a.gguf"));
    await symlink("a.gguf", join(folder, "b.gguf"));
    expect(await run("convert", model, join(folder, "a.gguf"))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^InputError: .*links lead in a circle/),
    });
  });

  test("two at once to the same file: it is whole, and a file of a like name stays", async () => {
    const [out, own] = [join(folder, "out.gguf"), join(folder, "out.gguf.partial")];
    await writeFile(own, "mine");
    const results = await Promise.all(["f16", "q8_0"].map((quant) => run("convert", model, out, "--quant", quant)));
    expect(results.map((r) => [r.code, r.err])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    expect(await readFile(own, "utf8")).toBe("mine");
    expect((await readdir(folder)).sort()).toEqual(["model.gguf", "out.gguf", "out.gguf.partial"]);
    const alone: Buffer[] = [];
    for (const quant of ["f16", "q8_0"]) {
      await run("convert", model, join(folder, "alone.gguf"), "--quant", quant);
      alone.push(await readFile(join(folder, "alone.gguf")));
    }
    expect(alone).toContainEqual(await readFile(out));
  });

  test("files beside it that can't be written: a line that names one, and nothing is left", async () => {
    const there = join(folder, "there");
    await mkdir(there);
    const name = join(there, "tokenizer.json");
    const fails = async (what: string) => {
      expect(await run("convert", model, join(there, "model.safetensors"))).toMatchObject({
        code: 1,
        err: expect.stringMatching(new RegExp(`^InputError: .*there/tokenizer\\.json: ${what}.*\n$`)),
      });
      expect(await readdir(there)).toEqual(["tokenizer.json"]);
    };
    await symlink("missing/tokenizer.json", name);
    await fails("ENOENT");
    await rm(name);
    await mkdir(name);
    await fails("there already, and no regular file");
  });

  test.skipIf(process.platform === "win32")("a pipe stays one, also behind a link", async () => {
    const pipe = join(folder, "pipe.gguf");
    execFileSync("mkfifo", [pipe]);
    await symlink("pipe.gguf", join(folder, "link.gguf"));
    for (const out of [pipe, join(folder, "link.gguf")])
      expect(await run("convert", model, out)).toMatchObject({
        code: 2,
        err: expect.stringContaining("OUT is a pipe or a device"),
      });
    expect((await stat(pipe)).isFIFO()).toBe(true);
  });

  test("a wrong command line is exit code 2", async () => {
    const out = join(folder, "out.gguf");
    expect(await run("convert")).toMatchObject({ code: 2, err: expect.stringContaining("MODEL is missing") });
    expect(await run("convert", model)).toMatchObject({ code: 2, err: expect.stringContaining("OUT is missing") });
    expect(await run("convert", model, out, "x")).toMatchObject({
      code: 2,
      err: expect.stringContaining('"x" is one'),
    });
    expect(await run("convert", model, join(folder, "out.bin"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("OUT is a .gguf or a .safetensors file"),
    });
    expect(await run("convert", model, out, "--quant", "q9")).toMatchObject({
      code: 2,
      err: expect.stringMatching(/--quant takes one of .*q8_0.*, got "q9"/),
    });
    expect(await readdir(folder)).toEqual(["model.gguf"]);
  });

  test("files that can't be read or written are told in a line, and leave nothing behind", async () => {
    const broken = join(folder, "broken.gguf");
    await writeFile(broken, (await readFile(model)).subarray(0, 5000));
    const results = [
      await run("convert", join(folder, "none.gguf"), join(folder, "out.gguf")),
      await run("convert", broken, join(folder, "out.gguf")),
      await run("convert", model, join(model, "out.gguf")),
    ];
    for (const { code, err } of results) expect([code, err.trimEnd().split("\n").length]).toEqual([1, 1]);
    expect(results.map((r) => r.err)).toEqual([
      expect.stringMatching(/^InputError: .*none\.gguf: there is no such file/),
      expect.stringMatching(/^FormatError: /),
      expect.stringMatching(/^InputError: .*model\.gguf\/out\.gguf: /),
    ]);
    expect((await readdir(folder)).sort()).toEqual(["broken.gguf", "model.gguf"]);
  });

  test("a folder's own files stay as they are, but for the type of the weights", async () => {
    const source = join(folder, "source");
    await run("convert", model, join(source, "model.safetensors"));
    const config = JSON.parse(await readFile(join(source, "config.json"), "utf8"));
    const files: Record<string, string> = {
      "config.json": JSON.stringify({ ...config, torch_dtype: "float32", bos_token_id: 1, my_note: "kept" }),
      "generation_config.json": '{"eos_token_id":[2],"temperature":0.6,"top_p":0.9}',
      "tokenizer_config.json": '{"eos_token":"</s>","model_max_length":1000000000000000019884624838656}',
      "tokenizer.json": await readFile(join(source, "tokenizer.json"), "utf8"),
      "chat_template.jinja": "{{ messages[0].content }}",
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(source, name), text);
    const check = async (path: string, type: string) => {
      for (const [name, text] of Object.entries(files)) {
        const got = await readFile(join(path, name), "utf8");
        if (name === "config.json") expect(JSON.parse(got)).toEqual({ ...JSON.parse(text), torch_dtype: type });
        else expect(got).toBe(text);
      }
    };
    const there = join(folder, "there/model.safetensors");
    for (const [quant, type] of [
      ["f16", "float16"],
      ["bf16", "bfloat16"],
    ]) {
      expect(await run("convert", source, there, "--quant", quant)).toMatchObject({ code: 0, err: "" });
      await check(join(folder, "there"), type);
    }
    // Over itself.
    expect(await run("convert", source, join(source, "model.safetensors"), "--quant", "f16")).toMatchObject({
      code: 0,
    });
    await check(source, "float16");
  });

  test("files of another model stay, and what would be in vain is told before it begins", async () => {
    const there = join(folder, "there");
    await mkdir(there);
    await writeFile(join(there, "config.json"), '{"model_type":"bert"}');
    const out = join(there, "model.safetensors");
    expect(await run("convert", model, out)).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        /^InputError: .*there\/config\.json: there already, and of another model\. Choose another/,
      ),
    });
    await writeFile(join(there, "model.safetensors.index.json"), "{}");
    expect(await run("convert", join(folder, "none.gguf"), out)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^InputError: .*index\.json: a folder with it is read by it/),
    });
    expect((await readdir(there)).sort()).toEqual(["config.json", "model.safetensors.index.json"]);
    await mkdir(join(folder, "d.gguf"));
    expect(await run("convert", join(folder, "none.gguf"), join(folder, "d.gguf"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("OUT is a folder"),
    });
  });

  test.each([
    ["SIGTERM", 143, "terminated\n"],
    ["SIGHUP", 129, "hung up\n"],
  ] as const)("%s stops it too: exit code %i, no half file", async (signal, code, err) => {
    const pending = run("convert", model, join(folder, "out.gguf"));
    while (process.listenerCount("SIGINT") === 0) await new Promise((next) => setImmediate(next));
    expect(process.emit(signal, signal)).toBe(true);
    expect(await pending).toMatchObject({ code, err });
    expect(await readdir(folder)).toEqual(["model.gguf"]);
    expect(process.listenerCount(signal)).toBe(0);
  });

  test("Ctrl-C stops it: exit code 130, no half file", async () => {
    const pending = run("convert", model, join(folder, "out.gguf"));
    // The signal as the process gets it; somebody has to listen, or it would end the tests.
    while (process.listenerCount("SIGINT") === 0) await new Promise((next) => setImmediate(next));
    process.emit("SIGINT");
    expect(await pending).toMatchObject({ code: 130, err: "interrupted\n" });
    expect(await readdir(folder)).toEqual(["model.gguf"]);
  });
});
