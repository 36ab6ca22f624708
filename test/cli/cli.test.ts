/** The command line as a person meets it: what it prints, where, and its exit codes. */
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, describe, expect, test, vi } from "vitest";
import { type CliIO, onCommandLine } from "../../src/cli/command.ts";
import { main } from "../../src/cli/main.ts";
import { readNpy } from "../../src/cli/npy.ts";
import { progressBar } from "../../src/cli/progress.ts";
import { offlineHelps } from "../../src/formats/sources/download.ts";
import { FormatError, InputError } from "../../src/index.ts";
import { encodeModel, encodeTensor, node } from "../onnx/encode.ts";

const model = (name: string): string =>
  fileURLToPath(new URL(`../../examples/models/${name}/model.onnx`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "forwardpass-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function cli(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const text = { out: "", err: "" };
  const sink = (key: "out" | "err"): Writable =>
    new Writable({
      write(chunk, _, done) {
        text[key] += chunk;
        done();
      },
    });
  const io: CliIO = { stdout: sink("out"), stderr: sink("err"), stdin: process.stdin };
  return { code: await main(argv, io), ...text };
}

/** A file in the test's folder. */
function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function npy(descr: string, shape: string, data: Uint8Array, fortran = "False"): Uint8Array {
  const header = `${`{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`.padEnd(117)}\n`;
  const head = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  return Buffer.concat([head, Buffer.from(header, "latin1"), data]);
}

const row = Array.from({ length: 30 }, (_, i) => (i === 29 ? 10.57 : i === 0 ? 133741 : 0.1 * (i % 5)));

describe("forwardpass", () => {
  test("without a command, or with --help, lists the commands", async () => {
    expect(await cli()).toMatchObject({ code: 2, out: expect.stringContaining("Commands:") });
    const help = await cli("--help");
    expect(help.code).toBe(0);
    for (const name of ["run", "inspect", "bench"]) expect(help.out).toContain(`  ${name} `);
  });

  test("every command explains itself", async () => {
    for (const name of ["run", "inspect", "bench"]) {
      const { code, out } = await cli(name, "--help");
      expect(code).toBe(0);
      expect(out).toMatch(new RegExp(`^Usage: forwardpass ${name} `));
      expect(await cli("help", name)).toEqual({ code, out, err: "" });
    }
    expect(await cli("help", "fly")).toEqual(await cli("fly"));
  });

  test("a wrong command line is exit code 2, with a hint", async () => {
    expect(await cli("fly")).toMatchObject({ code: 2, err: expect.stringContaining('no command "fly"') });
    expect(await cli("run", "--bogus")).toMatchObject({
      code: 2,
      err: expect.stringContaining("forwardpass run --help"),
    });
    expect(await cli("run")).toMatchObject({ code: 2, err: expect.stringContaining("MODEL is missing") });
    for (const given of ["features=", ""])
      expect(await cli("run", model("fraud-mlp"), "-i", given)).toMatchObject({
        code: 2,
        err: expect.stringContaining(`--input ${given}: a file is missing, as in NAME=FILE`),
      });
    expect(await cli("bench", model("fraud-mlp"), "--runs", "x")).toMatchObject({ code: 2 });
    for (const device of ["abacus", "gpujs"])
      expect(await cli("inspect", model("fraud-mlp"), "--device", device)).toMatchObject({
        code: 2,
        err: expect.stringContaining(`--device takes one of cpu, wasm, webgpu, got "${device}"`),
      });
    expect(await cli("run", model("fraud-mlp"), "-i", "wrong=x.json")).toMatchObject({
      code: 2,
      err: expect.stringContaining("the model's inputs are features"),
    });
    const zeros = file("zeros.json", JSON.stringify(new Array(30).fill(0)));
    for (const [name, ...twice] of [
      ["run", "--input", `features=${zeros}`, "-i", zeros],
      ["bench", "--input", zeros, "-i", zeros],
      ["inspect", "--shape", "features=1,30", "--shape", "features=2,30"],
    ])
      expect(await cli(name, model("fraud-mlp"), ...twice)).toMatchObject({
        code: 2,
        err: expect.stringContaining(`${twice[2]} ${twice[3]}: "features" is given twice`.replace("-i", "--input")),
      });
  });

  test("a bad file is exit code 1, in one line", async () => {
    const missing = await cli("inspect", join(folder, "no.onnx"));
    expect(missing.code).toBe(1);
    expect(missing.err.trim().split("\n")).toHaveLength(1);
    expect(await cli("inspect", file("bad.onnx", "this is no model"))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^FormatError: /),
    });
  });

  test("what the system refuses is told in one line", async () => {
    const there = file("there", "");
    for (const [code, told, ...argv] of [
      [2, `forwardpass compile: --out is a folder to write to, and "${there}" is a file\n`, "--out", there],
      [1, `InputError: --out ${there}/in: the folder cannot be made: not a directory\n`, "--out", join(there, "in")],
    ] as const) {
      const compiled = await cli("compile", model("fraud-mlp"), "--shape", "features=1,30", ...argv);
      expect([compiled.code, compiled.err.replace(/Try: .*\n/, "")]).toEqual([code, told]);
    }
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const code = await main(["generate", "none.gguf", "-"], { stdout, stderr, stdin: createReadStream(folder) });
    expect([code, String(stderr.read())]).toEqual([1, "EISDIR: illegal operation on a directory, read\n"]);
  });

  test("compile writes all of its files, or none", async () => {
    const out = join(folder, "compiled");
    mkdirSync(join(out, "model.wasm"), { recursive: true });
    const { code, err } = await cli("compile", model("fraud-mlp"), "--shape", "features=1,30", "--out", out);
    expect([code, err]).toEqual([1, expect.stringMatching(/^InputError: .*model\.wasm: EISDIR/)]);
    expect(readdirSync(out)).toEqual(["model.wasm"]);
  });

  test("run: json and npy inputs, text and JSON outputs", async () => {
    const json = file("row.json", JSON.stringify([row]));
    const flat = file("flat.json", JSON.stringify(row));
    const array = file("row.npy", npy("<f4", "(1, 30)", new Uint8Array(Float32Array.from(row).buffer)));
    const outputs = [];
    for (const given of [json, flat, array]) {
      const { code, out } = await cli("run", model("fraud-mlp"), "--input", `features=${given}`, "--json");
      expect(code).toBe(0);
      outputs.push(JSON.parse(out));
    }
    expect(outputs[0].risk).toMatchObject({ dtype: "f32", shape: [1, 1] });
    expect(outputs[0].risk.data[0]).toBeGreaterThan(0);
    expect(outputs[0].risk.data[0]).toBeLessThan(1);
    expect(outputs[1]).toEqual(outputs[0]);
    expect(outputs[2]).toEqual(outputs[0]);
    const text = await cli("run", model("fraud-mlp"), "-i", json, "--device", "cpu");
    expect(text.out).toMatch(/^risk: f32\[1,1\]\n {2}0\.\d+\n$/);
    expect(text.err).toMatch(/ on cpu\n$/);
  });

  test("run, bench and compile: some of a model's outputs", async () => {
    const x = { name: "x", dtype: "f32" as const, shape: [2] };
    const nodes = [node("Neg", ["x"], ["y"]), node("Add", ["x", "w"], ["sum"])];
    const bytes = encodeModel({ nodes, inputs: [x, { ...x, name: "w" }], outputs: [{ name: "y" }, { name: "sum" }] });
    const path = file("two.onnx", bytes);
    const given = file("two.json", "[1, -2]");
    expect(await cli("run", path, "-i", `x=${given}`, "--output", "y")).toMatchObject({
      code: 0,
      out: "y: f32[2]\n  -1 2\n",
    });
    expect(await cli("run", path, "-i", `x=${given}`, "--output", "z")).toMatchObject({
      code: 1,
      err: expect.stringContaining('the model has no output "z"; it has "y", "sum"'),
    });
    const timed = await cli("bench", path, "--output", "y", "--runs", "1", "--profile", "--json");
    expect(JSON.parse(timed.out).steps.map((s: { op: string }) => s.op)).toEqual(["neg"]);
    const out = join(folder, "of-two");
    expect(await cli("compile", path, "--out", out, "--output", "y")).toMatchObject({ code: 0 });
    expect(readFileSync(join(out, "model.d.mts"), "utf8")).not.toMatch(/sum|w: /);
  });

  test("run: an image of any kind, where sharp is installed", async () => {
    const png = fileURLToPath(new URL("../../examples/models/mnist-cnn/samples/mnist-t10k-0-7.png", import.meta.url));
    const { data: grey } = await sharp(png).greyscale().raw().toBuffer({ resolveWithObject: true });
    const images = [png, file("seven.pgm", Buffer.concat([Buffer.from("P5 28 28 255\n"), grey]))];
    for (const kind of ["jpeg", "webp", "gif", "tiff", "avif"] as const)
      images.push(file(`seven.${kind}`, await sharp(png).toFormat(kind).toBuffer()));
    images.push(file("seven.TIF", await sharp(png).tiff().toBuffer()));
    for (const path of images) {
      const { code, out } = await cli("run", model("mnist-cnn"), "-i", path, "--json");
      expect(code, path).toBe(0);
      const { data } = JSON.parse(out).logits;
      expect(data.indexOf(Math.max(...data)), path).toBe(7);
    }
    // Said by who reads it.
    for (const name of ["x.bmp", "x.pbm", "x.ppm", "x.pnm"])
      expect(await cli("run", model("mnist-cnn"), "-i", file(name, "x"))).toMatchObject({
        code: 1,
        err: expect.stringMatching(/not an image that can be read/),
      });
  });

  test("run: what is wrong with an input", async () => {
    const short = file("short.json", JSON.stringify([[1, 2]]));
    expect(await cli("run", model("fraud-mlp"), "-i", short)).toMatchObject({
      code: 1,
      err: expect.stringContaining('input "features" is f32[batch,30], got f32[1,2]'),
    });
    expect(await cli("run", model("fraud-mlp"), "-i", file("x.txt", "1"))).toMatchObject({ code: 1 });
    expect(await cli("run", model("fraud-mlp"), "-i", file("x.json", "{"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("FormatError"),
    });
    expect(await cli("run", model("fraud-mlp"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("the model needs --input features=FILE (f32[batch, 30])"),
    });
    expect(await cli("run", model("fraud-mlp"), "-i", "none.npy")).toMatchObject({
      code: 1,
      err: expect.stringContaining('input "features": there is no file none.npy'),
    });
    expect(await cli("run", model("fraud-mlp"), "-i", folder)).toMatchObject({
      code: 1,
      err: expect.stringContaining(`input "features": ${folder} is a folder, not a file`),
    });
    expect(await cli("run", model("fraud-mlp"), "-i", file("few.json", '{ "data": [1], "shape": [2] }'))).toMatchObject(
      {
        code: 1,
        err: expect.stringMatching(/^FormatError: .*few\.json: tensor: 1 elements do not fill f32\[2\]/),
      },
    );
    expect(await cli("run", model("fraud-mlp"), "-i", file("bad.pb", "no tensor"))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^FormatError: .*bad\.pb: /),
    });
    expect(await cli("run", "none.onnx")).toMatchObject({
      code: 1,
      err: expect.stringContaining("none.onnx: there is no such file"),
    });
  });

  test("messages name options of the command line", () => {
    const { message } = offlineHelps(new InputError("no answer")) as Error;
    for (const [said, told] of [
      [message, "no answer; a copy is in the cache: --offline uses it"],
      ["there is no vocabulary in it; pass { tokenizer }", "there is no vocabulary in it; take a file that has one"],
      ["modules.json has no Pooling; pass { pooling }", "modules.json has no Pooling; pass --pooling"],
      ["does it need a token? pass { token }, or set HF_TOKEN", "does it need a token? set HF_TOKEN"],
    ])
      expect(onCommandLine(said)).toBe(told);
  });

  test("a bar on a terminal for what takes over a second, nothing in a pipe", () => {
    const now = vi.spyOn(performance, "now").mockReturnValue(0);
    const written = (isTTY: boolean, columns?: number): string[] => {
      const text: string[] = [];
      now.mockReturnValue(0);
      const bar = progressBar({ stderr: { isTTY, columns, write: (s: string) => text.push(s) } } as never, "loading");
      for (const ms of [999, 1001]) {
        now.mockReturnValue(ms);
        bar.update({ phase: "read", loaded: 5e5, total: 1e6 });
      }
      bar.done();
      return text;
    };
    expect(written(true)).toEqual(["\r\x1b[Kloading [############............] 500 kB of 1.0 MB", "\r\x1b[K"]);
    expect(written(false)).toEqual([]);
    // In one row, which is all that is cleared, and not in the last column, behind which terminals begin another.
    expect([40, 28, 24, 10].map((columns) => written(true, columns)[0].slice("\r\x1b[K".length))).toEqual([
      "loading [######......] 500 kB of 1.0 MB",
      "loading 500 kB of 1.0 MB",
      "loading 500 kB of 1.0 M",
      "loading 5",
    ]);
    now.mockRestore();
  });

  test("inspect: text and JSON", async () => {
    const { out } = await cli("inspect", model("mnist-cnn"), "--shape", "image=8,1,28,28");
    expect(out).toContain("image  f32[batch, 1, 28, 28]");
    expect(out).toContain("logits  f32[batch, 10]");
    expect(out).toMatch(/conv\s+2\n/);
    expect(out).toContain("image f32[8,1,28,28]");
    const report = JSON.parse((await cli("inspect", model("mnist-cnn"), "--json")).out);
    expect(report.parameters).toBeGreaterThan(40_000);
    expect(report.activationBytes).toBeGreaterThan(0);
    expect(report.operators.conv).toBe(2);
  });

  test("inspect: packed weights count as many as they hold", async () => {
    const [n, k] = [3, 32];
    // Blocks of GGUF are made of 4 bits.
    for (const bits of [4, 8]) {
      const packed = file(
        "packed.onnx",
        encodeModel({
          domains: { "com.microsoft": 1 },
          nodes: [
            {
              type: "MatMulNBits",
              domain: "com.microsoft",
              inputs: ["x", "w", "scales"],
              outputs: ["y"],
              attributes: { N: { int: n }, K: { int: k }, bits: { int: bits }, block_size: { int: 32 } },
            },
          ],
          inputs: [{ name: "x", dtype: "f32", shape: ["rows", k] }],
          outputs: [{ name: "y", dtype: "f32" }],
          initializers: {
            w: { dtype: "u8", shape: [n, 1, 4 * bits], data: new Uint8Array(n * 4 * bits) },
            scales: { dtype: "f32", shape: [n], data: new Float32Array(n).fill(1) },
          },
        }),
      );
      expect(JSON.parse((await cli("inspect", packed, "--json")).out).parameters).toBe(n * k);
    }
  });

  test("inspect and bench: free dimensions that can't be 1", async () => {
    const pooled = file(
      "pooled.onnx",
      encodeModel({
        nodes: [{ type: "MaxPool", inputs: ["x"], outputs: ["y"], attributes: { kernel_shape: { ints: [5, 5] } } }],
        inputs: [{ name: "x", dtype: "f32", shape: ["n", 3, "h", "w"] }],
        outputs: [{ name: "y", dtype: "f32" }],
      }),
    );
    expect(await cli("inspect", pooled)).toMatchObject({ code: 0, out: expect.stringContaining("x f32[1,3,64,64]") });
    expect(await cli("inspect", pooled, "--shape", "x=1,3,7,9")).toMatchObject({
      code: 0,
      out: expect.stringContaining("x f32[1,3,7,9]"),
    });
    expect(await cli("inspect", pooled, "--shape", "x=1,3,2,2")).toMatchObject({ code: 1 });
    expect(await cli("inspect", pooled, "--shape", "z=1")).toMatchObject({ code: 2 });
    for (const wrong of ["x=1,", "x=", "x=,1", "x=1,3,7,9,", "x=1.5", "=1", "x"])
      expect(await cli("inspect", pooled, "--shape", wrong)).toMatchObject({
        code: 2,
        err: expect.stringContaining(`--shape ${wrong}: write NAME=1,3,224,224`),
      });
    expect(await cli("bench", pooled, "--runs", "1", "--shape", "x=1,3,9,9")).toMatchObject({
      code: 0,
      out: expect.stringContaining("(1 run, "),
    });
  });

  test("inspect and bench: a dimension's name has one size, except where inputs are given whole", async () => {
    const [x, y] = ["x", "y"].map((name) => ({ name, dtype: "f32" as const, shape: ["n"] }));
    const nodes = [node("Add", ["x", "y"], ["z"])];
    const path = file("sum.onnx", encodeModel({ nodes, inputs: [x, y], outputs: [{ name: "z", dtype: "f32" }] }));
    const [one, three] = [file("one.json", "[1]"), file("three.json", "[1, 2, 3]")];
    expect((await cli("inspect", path, "--shape", "y=3")).out).toContain("x f32[3], y f32[3]");
    const bench = ["bench", path, "--runs", "1", "--profile", "--json", "-i", `x=${three}`];
    expect(JSON.parse((await cli(...bench)).out).steps[0].inputs).toEqual(["f32[3]", "f32[3]"]);
    expect(JSON.parse((await cli(...bench, "-i", `y=${one}`)).out).steps[0].inputs).toEqual(["f32[3]", "f32[1]"]);
    for (const argv of [["inspect", path, "--shape", "x=3"], bench])
      expect(await cli(...argv, "--shape", "y=1")).toMatchObject({
        code: 1,
        err: expect.stringMatching(/^ShapeError: input "y": its dimension "n" is 1, but 3 in input "x": /),
      });
  });

  test("run: a .pb input; what JSON can't say is a string", async () => {
    const log = file(
      "log.onnx",
      encodeModel({
        nodes: [{ type: "Log", inputs: ["x"], outputs: ["y"] }],
        inputs: [{ name: "x", dtype: "f32", shape: ["n"] }],
        outputs: [{ name: "y", dtype: "f32" }],
      }),
    );
    const x = file("x.pb", encodeTensor({ dtype: "f32", shape: [3], data: Float32Array.of(1, 0, -1) }));
    const { out } = await cli("run", log, "-i", `x=${x}`, "--json", "--device", "cpu");
    expect(JSON.parse(out)).toEqual({ y: { dtype: "f32", shape: [3], data: [0, "-Infinity", "NaN"] } });
  });

  test("run: JSON inputs as --json writes them, also behind a byte order mark", async () => {
    const same = (dtype: "i64" | "f32") =>
      file(
        `same-${dtype}.onnx`,
        encodeModel({
          nodes: [{ type: "Identity", inputs: ["x"], outputs: ["y"] }],
          inputs: [{ name: "x", dtype, shape: ["n"] }],
          outputs: [{ name: "y", dtype }],
        }),
      );
    for (const y of [
      { dtype: "i64", shape: [3], data: [1, "9007199254740993", "-9007199254740993"] },
      { dtype: "f32", shape: [4], data: [1, "NaN", "Infinity", "-Infinity"] },
    ] as const) {
      const x = file("plain.json", `\uFEFF${JSON.stringify(y)}`);
      const { out, err } = await cli("run", same(y.dtype), "-i", x, "--json", "--device", "cpu");
      expect(out && JSON.parse(out), err).toEqual({ y });
    }
    for (const [dtype, data, told] of [
      ["i64", "[9007199254740993]", /9007199254740992 may not be what the file says: write .* as strings/],
      ["i64", '["NaN"]', /element 0 is "NaN"; i64 takes whole numbers/],
      ["f32", '["1"]', /element 0 is "1"; f32 takes numbers/],
      ["f32", '{"dtype":"f31","data":[1]}', /f31/],
    ] as const)
      expect(await cli("run", same(dtype), "-i", file("wrong.json", data))).toMatchObject({
        code: 1,
        err: expect.stringMatching(told),
      });
  });

  test("inspect: numbers in attributes count", async () => {
    const columns = {
      inputs: [{ name: "x", dtype: "f32" as const, shape: ["rows", 2] }],
      domains: { "ai.onnx.ml": 3 },
    };
    const domain = "ai.onnx.ml";
    const linear = { coefficients: { floats: [1, 2] }, intercepts: { floats: [3] } };
    const stump = {
      nodes_treeids: { ints: [0, 0, 0] },
      nodes_nodeids: { ints: [0, 1, 2] },
      nodes_modes: { strings: ["BRANCH_LEQ", "LEAF", "LEAF"] },
      nodes_values: { floats: [2, 0, 0] },
      nodes_featureids: { ints: [0, 0, 0] },
      nodes_truenodeids: { ints: [1, 0, 0] },
      nodes_falsenodeids: { ints: [2, 0, 0] },
      target_treeids: { ints: [0, 0] },
      target_nodeids: { ints: [1, 2] },
      target_ids: { ints: [0, 0] },
      target_weights: { floats: [1, 2] },
    };
    for (const [type, attributes] of Object.entries({ LinearRegressor: linear, TreeEnsembleRegressor: stump })) {
      const nodes = [{ type, domain, inputs: ["x"], outputs: ["y"], attributes }];
      const path = file("classical.onnx", encodeModel({ ...columns, nodes, outputs: [{ name: "y", dtype: "f32" }] }));
      const { out } = await cli("inspect", path, "--json");
      expect(JSON.parse(out), type).toMatchObject({ parameters: 3, weightBytes: 24 });
    }
  });

  test("inspect: everything that isn't supported, and exit code 1", async () => {
    const strange = file(
      "strange.onnx",
      encodeModel({
        nodes: ["Teleport", "Timewarp"].map((type) => ({ type, inputs: ["x"], outputs: [type] })),
        inputs: [{ name: "x", dtype: "f32", shape: [1] }],
        outputs: [{ name: "Teleport" }, { name: "Timewarp" }],
      }),
    );
    const { code, out } = await cli("inspect", strange);
    expect(code).toBe(1);
    expect(out).toContain("Teleport");
    expect(out).toContain("Timewarp");
  });

  test("bench: times and, with --profile, steps", async () => {
    const { out } = await cli("bench", model("mnist-mlp"), "--runs", "3", "--profile");
    expect(out).toMatch(/median +.* per second/);
    expect(out).toMatch(/kernel .*\n/);
    // One rate for each of its three products.
    expect(out.match(/\d GFLOP\/s/g)).toHaveLength(3);
    const report = JSON.parse((await cli("bench", model("mnist-mlp"), "--runs", "2", "--json")).out);
    expect(report.medianMs).toBeGreaterThan(0);
  });
});

describe(".npy files", () => {
  test("column-major arrays are turned", () => {
    const data = new Uint8Array(Float64Array.of(1, 4, 2, 5, 3, 6).buffer);
    expect(readNpy(npy("<f8", "(2, 3)", data, "True"))).toEqual({
      dtype: "f64",
      shape: [2, 3],
      data: Float64Array.of(1, 2, 3, 4, 5, 6),
    });
  });

  test("what is cut off, foreign or unknown is refused", () => {
    const good = npy("<i8", "(2,)", new Uint8Array(16));
    expect(readNpy(good).shape).toEqual([2]);
    for (let n = 0; n < good.length; n += 7) expect(() => readNpy(good.subarray(0, n))).toThrow(FormatError);
    expect(() => readNpy(npy(">f4", "(1,)", new Uint8Array(4)))).toThrow(FormatError);
    expect(() => readNpy(npy("<c8", "(1,)", new Uint8Array(8)))).toThrow(FormatError);
    for (const type of ["<U5", "|S3", "|O"])
      expect(() => readNpy(npy(type, "(1,)", new Uint8Array(20)))).toThrow(`element type '${type}' is not supported`);
    expect(() => readNpy(npy("<f4", "(-1,)", new Uint8Array(8)))).toThrow(FormatError);
  });
});
