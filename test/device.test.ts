/** Which device is taken where a host withholds something. */
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { compile, DeviceError, graph, InputError, load, openDevice, relu } from "../src/index.ts";

const model = fileURLToPath(new URL("../examples/models/fraud-mlp/model.onnx", import.meta.url));
afterEach(() => vi.restoreAllMocks());

test.each([
  ["gpu", '"gpu"'],
  [openDevice("cpu"), "object"],
  [openDevice, "function"],
  [null, "object"],
])("what is no device is told: %o", async (device, what) => {
  const refused = load(model, { device: device as never });
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(`unknown device ${what}; there are: wasm, cpu, webgpu, gpujs`);
  const net = graph(({ input }) => ({ y: relu(input("x", "f32", [1])) }));
  await expect(compile(net, { device: device as never })).rejects.toThrow(InputError);
});

describe("where WebAssembly may not be compiled", () => {
  const forbid = (): void => {
    vi.spyOn(WebAssembly, "Module").mockImplementation(() => {
      throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder");
    });
  };

  test("models run on the plain device", async () => {
    const x = { features: new Float32Array(30).fill(0.5) };
    using usual = await load(model, { device: "cpu" });
    forbid();
    using session = await load(model);
    expect(session.device.name).toBe("cpu");
    expect(await session.run(x)).toEqual(await usual.run(x));
  });

  test("who insists on wasm is told at once", async () => {
    forbid();
    const refused = openDevice("wasm");
    await expect(refused).rejects.toThrow(DeviceError);
    await expect(refused).rejects.toThrow("wasm: this host forbids to compile WebAssembly; use the cpu device");
  });
});
