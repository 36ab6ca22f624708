/** An isolate that may not compile: the engine falls back to `cpu`, and a module that `compile` wrote runs as it is. */
import { load, openDevice } from "forwardpass";
import golden from "./golden.json";
import { instantiate } from "./model.mjs";
import onnx from "./model.onnx";
import module from "./model.wasm";
import weights from "./model.weights";

const { input, output, shape, expected } = golden;
const data = Float32Array.from(golden.data);
const errorOf = (result) => Math.max(...expected.map((v, i) => Math.abs(v - result[i])));

async function check() {
  const session = await load(new Uint8Array(onnx));
  const engine = errorOf((await session.run({ [input]: { dtype: "f32", shape, data } }))[output].data);
  const model = await instantiate(module, new Uint8Array(weights));
  const result = model.run({ [input]: data })[output];
  const compiled = errorOf(result.data ?? result);
  if (session.device.name !== "cpu" || !(engine < 1e-4) || !(compiled < 1e-4))
    throw new Error(`${session.device.name} is off by ${engine}, the compiled model by ${compiled}`);
  const refusal = await openDevice("wasm").catch((e) => e.name);
  if (refusal !== "DeviceError") throw new Error("wasm is not refused");
  return `error of cpu ${engine.toExponential(1)}, compiled ahead ${compiled.toExponential(1)}; wasm is refused`;
}

export default {
  fetch: () =>
    check().then(
      (text) => new Response(text),
      (e) => new Response(e.stack, { status: 500 }),
    ),
};
