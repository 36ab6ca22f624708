/** Weights in other files. */
import { describe, expect, test } from "vitest";
import { importOnnx, type OpenExternal } from "../../src/formats/onnx/index.ts";
import { bytesSource } from "../../src/formats/source.ts";
import { FormatError, load as loadModel } from "../../src/index.ts";
import { encodeModel, type TensorSpec } from "./encode.ts";

const file = new Uint8Array(Float32Array.of(0, 1, 2, 3).buffer);

const weight = (external: Record<string, string>): Uint8Array => {
  const w: TensorSpec = { dtype: "f32", shape: [2], data: new Float32Array(0), external };
  return encodeModel({
    nodes: [{ type: "Neg", inputs: ["w"], outputs: ["y"] }],
    outputs: [{ name: "y" }],
    initializers: { w },
  });
};

describe("external weights", () => {
  test("are read by ranges, and each file is opened once", async () => {
    const opened: string[] = [];
    const { graph } = await importOnnx(weight({ location: "./data/w.bin", offset: "4", length: "8" }), {
      loadExternal: (path) => {
        opened.push(path);
        return bytesSource(file);
      },
    });
    expect(opened).toEqual(["data/w.bin"]);
    const [constant] = graph.constants.values();
    expect(constant.data).toEqual(Float32Array.of(1, 2));
  });

  const load = (external: Record<string, string>, open: OpenExternal = () => bytesSource(file)): Promise<unknown> =>
    importOnnx(weight(external), { loadExternal: open }).catch((e) => e);

  test("are where `externalData` says, also for bytes, which have nothing beside them", async () => {
    const model = weight({ location: "data/w.bin", offset: "4", length: "8" });
    const asked: string[] = [];
    const externalData = (path: string): Uint8Array => {
      asked.push(path);
      return file;
    };
    using session = await loadModel(model, { device: "cpu", externalData });
    expect(asked).toEqual(["data/w.bin"]);
    expect((await session.run({})).y.data).toEqual(Float32Array.of(-1, -2));
    expect(file).toEqual(new Uint8Array(Float32Array.of(0, 1, 2, 3).buffer));
    await expect(loadModel(model, { device: "cpu" })).rejects.toThrow(/"data\/w.bin".*pass \{ externalData \}/);
  });

  const outside: [string, RegExp][] = [
    ["../secret", /"w": its data file "..\/secret" is outside the model's folder/],
    ["/etc/passwd", /outside the model's folder/],
    ["a/../../b", /outside the model's folder/],
    ["..\\b", /outside the model's folder/],
    ["file:///b", /outside the model's folder/],
    ["", /without a location/],
  ];
  test.each(outside)("at %j are refused", async (location, message) => {
    const e = await load({ location });
    expect(e).toBeInstanceOf(FormatError);
    expect(String(e)).toMatch(message);
  });

  test("that are missing or too short are named", async () => {
    const missing = await load({ location: "w.bin" }, () => {
      throw new Error("no such file");
    });
    expect(missing).toBeInstanceOf(FormatError);
    expect(String(missing)).toMatch(/tensor "w": its data file "w.bin" cannot be opened: no such file/);
    expect(String(await load({ location: "w.bin", offset: "12" }))).toMatch(
      /"w": cannot read 8 bytes at 12 of "w.bin"/,
    );
    expect(String(await load({ location: "w.bin", length: "999" }))).toMatch(/takes 8 bytes, external data has 999/);
    expect(String(await load({ location: "w.bin", offset: "-1" }))).toMatch(/offset "-1"/);
    const closed = await importOnnx(weight({ location: "w.bin" })).catch((e) => e);
    expect(String(closed)).toMatch(/no way to open other files/);
  });
});
