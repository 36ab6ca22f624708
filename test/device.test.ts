/** Which device is taken where a host withholds something. */
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { gpujs } from "../src/backends/gpujs/index.ts";
import { wasm } from "../src/backends/wasm/index.ts";
import { webgpu } from "../src/backends/webgpu/index.ts";
import { compile, DeviceError, graph, InputError, load, openDevice, relu } from "../src/index.ts";

const model = fileURLToPath(new URL("../examples/models/fraud-mlp/model.onnx", import.meta.url));
afterEach(() => vi.restoreAllMocks());

test.each([
  ["gpu", '"gpu"'],
  [openDevice("cpu"), "object"],
  [openDevice, "function"],
  [null, "object"],
  [["cpu"], "list: pass one name"],
  [["webgpu", "wasm"], "list: pass one name"],
])("what is no device is told: %o", async (device, what) => {
  const refused = load(model, { device: device as never });
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(`unknown device ${what}; there are: wasm, cpu, webgpu, gpujs`);
  const net = graph(({ input }) => ({ y: relu(input("x", "f32", [1])) }));
  await expect(compile(net, { device: device as never })).rejects.toThrow(InputError);
});

test("options of a device that are none are told", async () => {
  for (const options of [null, 2, "2"])
    await expect(openDevice("wasm", options as never)).rejects.toThrow(
      new InputError("openDevice: options are an object. There are: threads, fallback"),
    );
  await expect(openDevice("wasm", { thread: 2 } as never)).rejects.toThrow(
    new InputError('openDevice: unknown option "thread"; did you mean "threads"? There are: threads, fallback'),
  );
  for (const options of [null, 2, { thread: 2 }])
    expect(() => wasm(options as never)).toThrow(
      new InputError("wasm: options are an object of features threads parallelWork"),
    );
  for (const options of [undefined, null, {}, { host: openDevice("cpu") }])
    expect(() => gpujs(options as never)).toThrow(
      new InputError("gpujs: takes a host for what has no kernel here: gpujs({ host: wasm() })"),
    );
});

test("threads that no host has are told", async () => {
  for (const threads of [0, -1, 1.5, 257, 1e6, Number.NaN, "2"])
    await expect(load(model, { threads: threads as never })).rejects.toThrow(
      new InputError(`wasm: threads must be a whole number from 1 to 256, got ${threads}`),
    );
});

test("a fallback that there is none is told before the device is looked for", async () => {
  for (const fallback of ["gpu", true, null])
    await expect(openDevice("webgpu", { fallback: fallback as never })).rejects.toThrow(
      new InputError(`webgpu: fallback takes "cpu", got ${JSON.stringify(fallback)}`),
    );
});

test("options of webgpu that are none are told before the device is looked for", async () => {
  for (const [options, message] of [
    [null, "options are an object"],
    [{ power: 1 }, 'unknown option "power"; did you mean "powerPreference"?'],
    [{ powerPreference: "fast" }, 'powerPreference takes "low-power" or "high-performance", got "fast"'],
    [{ device: Promise.resolve() }, "device takes a GPUDevice, as await adapter.requestDevice() gives, got {}"],
    [{ limits: 3 }, "limits takes an object of numbers, got 3"],
    [{ onProgress: 3 }, "onProgress takes a function, got 3"],
  ] as const) {
    await expect(webgpu(options as never)).rejects.toThrow(InputError);
    await expect(webgpu(options as never)).rejects.toThrow(`webgpu: ${message}`);
  }
});

describe("where WebAssembly may not be compiled", () => {
  // Some refuse to make a module, Safari an instance of it.
  describe.each(["Module", "Instance"] as const)("a %s", (what) => {
    const forbid = (): void => {
      vi.spyOn(WebAssembly, what).mockImplementation(() => {
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
});
