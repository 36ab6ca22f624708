/** Files beside a model: how they are named, and what it means when one can't be read. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ModelFolder } from "../../src/formats/folder.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { openSource } from "../../src/formats/source.ts";
import { FormatError, InputError, load } from "../../src/index.ts";
import { send, TestServer } from "./server.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

let server: TestServer;
/** By path, as the server sees it. */
let files: Record<string, string | number>;
beforeAll(async () => {
  server = await TestServer.open();
});
afterAll(() => server.close());
beforeEach(() => {
  files = {};
  server.serve((q, r) => {
    const file = files[q.url!];
    if (typeof file === "string") return send(q, r, bytes(file));
    r.writeHead(file ?? 404).end();
  });
});
const paths = () => server.requests.map((r) => r.url);
const hostile = [" //evil.example/x", "%2e%2e/%2e%2e/secret", ".\t./.\t./secret", " file:///etc/passwd", " http://x/y"];
const options = { retries: 0, headers: { authorization: "secret" } };

describe("a name stands for a file beside the model, whatever else it would be in an address", () => {
  test("on a server", async () => {
    files["/m/model.onnx"] = "model";
    const source = await openSource(`${server.base}/m/model.onnx`, options);
    for (const name of hostile) await expect(source.sibling!(name), name).rejects.toThrow(/HTTP 404/);
    for (const path of paths()) expect(path).toMatch(/^\/m\//);
    for (const name of ["../x", "a/../../x", "/x", "\\x", "http://x/y", "C:\\x", "\ud800"])
      await expect(source.sibling!(name), name).rejects.toThrow(/outside its own folder/);
    files["/m/a%20b%23c%3F.bin"] = "beside";
    expect((await source.sibling!("./a b#c?.bin")).size).toBe(6);
  });

  test("on disk", async () => {
    const folder = await mkdtemp(join(tmpdir(), "beside-"));
    await writeFile(join(folder, "model.onnx"), "model");
    await writeFile(join(folder, "a b#c%3F.bin"), "beside");
    for (const at of [join(folder, "model.onnx"), pathToFileURL(join(folder, "model.onnx"))]) {
      const source = await openSource(at);
      for (const name of hostile) await expect(source.sibling!(name), name).rejects.toThrow(InputError);
      expect((await source.sibling!("a b#c%3F.bin")).size).toBe(6);
    }
    await rm(folder, { recursive: true });
  });
});

test.each(["model.safetensors.bak", "other.bin", "OTHER.SAFETENSORS", "blob"])(
  "safetensors called %s are that file, not one of a usual name beside it",
  async (name) => {
    const folder = await mkdtemp(join(tmpdir(), "named-"));
    const write = (file: string, value: number) =>
      writeFile(
        join(folder, file),
        writeSafetensors(new Map([["w", { dtype: "f32", shape: [1], data: Float32Array.of(value) }]])),
      );
    await write(name, 2);
    const weight = async () => {
      const model = await ModelFolder.open(join(folder, name));
      expect(await model.hasWeights()).toBe(true);
      return [...(await (await model.weights()).tensors.get("w")!.read()).data];
    };
    expect(await weight()).toEqual([2]);
    await expect(load(join(folder, name))).rejects.toThrow(/no config\.json beside it.*reads the tensors alone/);
    await write("model.safetensors", 1);
    expect(await weight()).toEqual([2]);
    await rm(folder, { recursive: true });
  },
);

describe("what an address has behind its path is no part of a name", () => {
  test("an address of safetensors is that file, not one of a usual name beside it", async () => {
    files["/m/tuned.safetensors?download=true"] = "{}";
    files["/m/model.safetensors"] = "other";
    const folder = await ModelFolder.openConfigured(`${server.base}/m/tuned.safetensors?download=true`, options);
    await expect(folder.weights()).rejects.toThrow(/tuned\.safetensors/);
    expect(paths()).not.toContain("/m/model.safetensors");
  });

  test("an address of a model is no folder, and one of a folder is", async () => {
    files["/m/bert.onnx?download=true"] = "model";
    const model = await ModelFolder.openConfigured(`${server.base}/m/bert.onnx?download=true`, options);
    expect((await model.onlyGraph())?.size).toBe(5);
    expect(paths()).toEqual(["/m/bert.onnx?download=true"]);
    files["/m/config.json"] = "{}";
    for (const address of ["/m", "/m/", "/m?x=1"])
      expect((await ModelFolder.openConfigured(server.base + address, options)).name).toBe(
        `${server.base}/m/config.json`,
      );
  });
});

test("what a page names relative to its own address is a file, where it is called like one", async () => {
  for (const name of ["model.onnx", "folder/model.onnx", "folder/config.json"]) files[`/m/${name}`] = "{}";
  vi.stubGlobal("process", undefined);
  vi.stubGlobal("location", { href: `${server.base}/m/page.html` });
  try {
    for (const path of ["model.onnx", "/m/model.onnx"])
      expect((await (await ModelFolder.openModel(path, options)).onlyGraph())?.size).toBe(2);
    expect(paths()).not.toContain("/m/model.onnx/config.json");
    expect((await (await ModelFolder.openModel("/m/folder/", options)).onlyGraph())?.size).toBe(2);
  } finally {
    vi.unstubAllGlobals();
  }
});

describe("a graph in onnx/ is of the model around it", () => {
  const open = (path = "/m/onnx/model_quantized.onnx") => ModelFolder.openModel(server.base + path, options);
  beforeEach(() => {
    files["/m/onnx/model_quantized.onnx"] = "model";
    files["/m/onnx/model_quantized.onnx?download=true"] = "model";
    files["/m/config.json"] = '{"of":"model"}';
    files["/m/tokenizer.json"] = '{"of":"model"}';
  });

  test("files are found beside it, then around it", async () => {
    files["/m/onnx/tokenizer.json"] = '{"of":"graph"}';
    for (const path of ["/m/onnx/model_quantized.onnx", "/m/onnx/model_quantized.onnx?download=true"]) {
      const folder = await open(path);
      expect((await folder.onlyGraph())?.size).toBe(5);
      expect(await folder.json("config.json")).toEqual({ of: "model" });
      expect(await folder.json("tokenizer.json")).toEqual({ of: "graph" });
      expect(await folder.optionalJson("modules.json")).toBeUndefined();
      for (const name of ["../secret", "/secret", "a/../../secret"])
        await expect(folder.json(name)).rejects.toThrow(/outside its own folder/);
    }
    expect(paths()).toContain("/m/modules.json");
    for (const name of hostile) await expect((await open()).json(name), name).rejects.toThrow(/HTTP 404/);
    for (const path of paths()) expect(path).toMatch(/^\/m\//);
  });

  test("on disk, by path or address", async () => {
    const folder = await mkdtemp(join(tmpdir(), "around-"));
    await mkdir(join(folder, "onnx"));
    await writeFile(join(folder, "onnx/model.onnx"), "model");
    await writeFile(join(folder, "config.json"), '{"of":"model"}');
    const graph = join(folder, "onnx/model.onnx");
    for (const at of [graph, pathToFileURL(graph)])
      expect(await (await ModelFolder.openModel(at)).json("config.json")).toEqual({ of: "model" });
    // A model need not have one.
    await rm(join(folder, "config.json"));
    await writeFile(join(folder, "labels.json"), '["calm"]');
    await writeFile(join(folder, "vocab.txt"), "[PAD]");
    for (const at of [folder, `${folder}/`, graph, pathToFileURL(graph)]) {
      const model = await ModelFolder.openModel(at);
      expect(await model.json("labels.json")).toEqual(["calm"]);
      expect(await model.optionalText("vocab.txt")).toBe("[PAD]");
      expect((await model.onlyGraph())?.size).toBe(5);
    }
    await rm(folder, { recursive: true });
  });

  test("not of one that has its own config.json, in a folder of another name, or named by a source", async () => {
    const source = await openSource(`${server.base}/m/onnx/model_quantized.onnx`, options);
    expect(await (await ModelFolder.openModel(source)).optionalJson("tokenizer.json")).toBeUndefined();
    files["/m/other/model.onnx"] = "model";
    expect(await (await open("/m/other/model.onnx")).optionalJson("tokenizer.json")).toBeUndefined();
    files["/m/onnx/config.json"] = "{}";
    expect(await (await open()).optionalJson("tokenizer.json")).toBeUndefined();
    expect(paths()).not.toContain("/m/tokenizer.json");
  });
});

describe("files that may be left out", () => {
  const folder = async () => {
    files["/m/model.onnx"] = "model";
    return ModelFolder.open(`${server.base}/m/model.onnx`, options);
  };

  test("are left out where they aren't there", async () => {
    const model = await folder();
    for (const status of [403, 404, 410]) {
      files["/m/config.json"] = status;
      expect(await model.optionalJson("config.json")).toBeUndefined();
      expect(await model.optionalText("config.json")).toBeUndefined();
    }
  });

  test("are errors where something else keeps them from being read", async () => {
    const model = await folder();
    for (const status of [401, 500, 503]) {
      files["/m/config.json"] = status;
      await expect(model.optionalJson("config.json")).rejects.toThrow(`HTTP ${status}`);
      await expect(model.graph("config")).resolves.toBeUndefined();
    }
    files["/m/config.json"] = "{";
    await expect(model.optionalJson("config.json")).rejects.toThrow(FormatError);
  });

  test("are not the page that a server has for every address", async () => {
    const model = await folder();
    server.serve((q, r) => send(q, r, bytes("\n<!doctype html><title>An app</title>")));
    expect(await model.optionalJson("config.json")).toBeUndefined();
    expect(await model.graph("model")).toBeUndefined();
    await expect(model.json("config.json")).rejects.toThrow(/not JSON/);
    await expect(openSource(`${server.base}/app/`, options)).rejects.toThrow(/there is none of/);
  });
});

test.each(["on a server", "on disk"])(
  "a folder's checksum is that of the file that is the model, %s",
  async (place) => {
    const weights = "\u0002\0\0\0\0\0\0\0{}";
    files = { "/m/config.json": '{"of":"model"}', "/m/model.safetensors": weights, "/m/onnx/model.onnx": "model" };
    const folder = await mkdtemp(join(tmpdir(), "beside-"));
    await mkdir(join(folder, "m/onnx"), { recursive: true });
    for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), String(text));
    const at = place === "on disk" ? join(folder, "m") : `${server.base}/m/`;
    const open = (text: string) =>
      ModelFolder.openModel(at, { ...options, sha256: createHash("sha256").update(text).digest("hex") });
    const native = await open(weights);
    expect((await native.weights()).tensors.size).toBe(0);
    expect(await native.json("config.json")).toEqual({ of: "model" });
    await expect(native.graphOrFile()).rejects.toThrow(/onnx\/model\.onnx: its SHA-256 is/);
    expect((await (await open("model")).graphOrFile()).size).toBe(5);
    await expect((await open('{"of":"model"}')).weights()).rejects.toThrow(/model\.safetensors: its SHA-256 is/);
    delete files["/m/model.safetensors"];
    await rm(join(folder, "m/model.safetensors"));
    expect((await (await open("model")).onlyGraph())?.size).toBe(5);
    await expect((await open('{"of":"model"}')).onlyGraph()).rejects.toThrow(FormatError);
    await rm(folder, { recursive: true });
  },
);

test("a folder on a server that refuses to answer is no folder without a model", async () => {
  for (const status of [401, 503]) {
    files = { "/m/model.safetensors.index.json": status };
    await expect(openSource(`${server.base}/m/`, options)).rejects.toThrow(`HTTP ${status}`);
  }
  files = { "/m/model.onnx": "model" };
  expect((await openSource(`${server.base}/m/?token=1`, options)).size).toBe(5);
});
