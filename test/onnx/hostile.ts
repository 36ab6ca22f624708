/** A hostile model all the way: loaded, planned and run. It runs, or fails with a typed error; soon, and in little memory. */
import { ForwardpassError, type HostTensor, load, type Session } from "../../src/index.ts";
import { allocate } from "../../src/tensor/dtype.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import { tensorFrom } from "../cases/case.ts";

export const memoryLimit = 64 << 20;
/** Milliseconds for one model, on a busy machine. */
const patience = 10_000;
/** Bytes that loading may take beside what the file's size explains. */
const spare = 16 << 20;

/** Inputs of the declared shapes, free dimensions being 1 (the batch) or 8. Undefined where they would be huge. */
function inputsOf(session: Session): Record<string, HostTensor> | undefined {
  const inputs: Record<string, HostTensor> = {};
  for (const [k, { name, dtype, shape = [1, 8] }] of session.inputs.entries()) {
    const sizes = shape.map((d, i) => (typeof d === "number" ? d : i === 0 ? 1 : 8));
    if (sizeOf(sizes) > memoryLimit / 8) return undefined;
    inputs[name] =
      dtype === undefined || dtype === "string"
        ? { dtype: "string", shape: sizes, data: allocate("string", sizeOf(sizes)) }
        : tensorFrom(k, dtype, sizes, { min: 0, max: 1 });
  }
  return inputs;
}

/**
 * What became of it: "ran", or the name of its error.
 * @throws anything else than a typed error, and Error for what took too long or too much
 */
export async function survives(bytes: Uint8Array, device: "cpu" | "wasm"): Promise<string> {
  const start = performance.now();
  const result = await outcome(bytes, device);
  const ms = performance.now() - start;
  if (ms > patience) throw new Error(`${result} after ${ms} ms`);
  return result;
}

async function outcome(bytes: Uint8Array, device: "cpu" | "wasm"): Promise<string> {
  const before = process.memoryUsage().arrayBuffers;
  const checkLoading = (): void => {
    const taken = process.memoryUsage().arrayBuffers - before;
    // The device's memory comes with the first module there, whatever the file.
    if (device === "cpu" && taken > spare + 8 * bytes.length)
      throw new Error(`loading ${bytes.length} bytes took ${taken}`);
  };
  try {
    using session = await load(bytes, { device, threads: 1, memoryLimit });
    checkLoading();
    const inputs = inputsOf(session);
    if (inputs) await session.run(inputs, { signal: AbortSignal.timeout(patience) });
    const most = memoryLimit + 8 * bytes.length + (1 << 20);
    if (session.bytes > most) throw new Error(`running took ${session.bytes} bytes, more than ${most}`);
    return "ran";
  } catch (e) {
    if (!(e instanceof ForwardpassError)) throw e;
    if (e.name === "FormatError") checkLoading();
    return e.name;
  }
}
