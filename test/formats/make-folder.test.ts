/** Folders that are made for what is kept and written. */
import fs from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { writeHistory } from "../../src/cli/history.ts";
import { main } from "../../src/cli/main.ts";
import { openSource } from "../../src/formats/source.ts";
import { makeFolder } from "../../src/formats/sources/store-files.ts";
import { InputError } from "../../src/index.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-folders-"));
afterAll(() => rm(root, { recursive: true }));
afterEach(() => vi.restoreAllMocks());

/** As Node 20 does in /proc: no folder can be made in it, and with `recursive` nobody hears of it. */
function refuse(): void {
  vi.spyOn(fs.promises, "mkdir").mockImplementation((_, options) =>
    typeof options === "object" && options?.recursive
      ? new Promise(() => {})
      : Promise.reject(Object.assign(new Error("ENOENT: no such file or directory, mkdir"), { code: "ENOENT" })),
  );
}

async function run(...argv: string[]): Promise<{ code: number; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await main(argv, { stdout, stderr, stdin: Readable.from([]) as never });
  return { code, err: String(stderr.read() ?? "") };
}

describe("a folder", () => {
  test("is made with those around it, once", async () => {
    const path = join(root, "a", "b", "d");
    const made = await Promise.all([makeFolder(path), makeFolder(`${path}/`), makeFolder(join(path, "e"))]);
    expect(made).toContain(join(root, "a"));
    expect(await readdir(join(root, "a"))).toEqual(["b"]);
    expect(await readdir(path)).toEqual(["e"]);
    expect(await makeFolder(path)).toBeUndefined();
    expect(await makeFolder(".")).toBeUndefined();
    expect(await makeFolder(join(path, "f", "g"))).toBe(join(path, "f"));
  });

  test("is made whoever makes those around it meanwhile", async () => {
    for (let n = 0; n < 20; n++) {
      const path = join(root, `at once ${n}`, "a", "b", "c");
      await Promise.all(Array.from({ length: 30 }, (_, i) => makeFolder(join(path, `${i % 3}`))));
      expect(await readdir(path)).toEqual(["0", "1", "2"]);
    }
  });

  test("that cannot be made is an error", async () => {
    await writeFile(join(root, "file"), "");
    await expect(makeFolder(join(root, "file"))).rejects.toThrow("EEXIST");
    await expect(makeFolder(join(root, "file", "x"))).rejects.toThrow("ENOTDIR");
    await expect(makeFolder("")).rejects.toThrow("ENOENT");
    refuse();
    await expect(makeFolder(join(root, "x"))).rejects.toThrow("ENOENT");
    await expect(makeFolder(join(root, "x", "y"))).rejects.toThrow("ENOENT");
  });

  test("that cannot be made ends what needs it: a cache, commands that write", async () => {
    const model = join(root, "model.gguf");
    await writeFile(model, tinyGguf());
    const [cache, old] = [join(root, "cache"), process.env["FORWARDPASS_CACHE"]];
    await mkdir(cache);
    process.env["FORWARDPASS_CACHE"] = cache;
    try {
      refuse();
      const open = openSource("http://localhost/m.bin", { cache: join(root, "none", "x") });
      await expect(open).rejects.toThrow(InputError);
      await expect(open).rejects.toThrow(/the cache in .*none.x: ENOENT/);
      const converted = await run("convert", model, join(root, "none", "out.gguf"));
      expect(converted).toEqual({ code: 1, err: expect.stringContaining("ENOENT") });
      const onnx = new URL("../../examples/models/fraud-mlp/model.onnx", import.meta.url).pathname;
      const compiled = await run("compile", onnx, "--shape", "features=1,30", "--out", join(root, "none"));
      expect(compiled).toEqual({ code: 1, err: expect.stringContaining("the folder cannot be made: no such file") });
      process.env["FORWARDPASS_CACHE"] = join(root, "none");
      await writeHistory(["a line"]);
    } finally {
      if (old === undefined) delete process.env["FORWARDPASS_CACHE"];
      else process.env["FORWARDPASS_CACHE"] = old;
    }
  });
});
