/** Run by each runtime, in a folder where the package is installed: prints the largest error of each device. */
import { readFile } from "node:fs/promises";
import { load, openDevice } from "forwardpass";

const { exports } = JSON.parse(await readFile("node_modules/forwardpass/package.json", "utf8"));
const entries = Object.keys(exports).filter((name) => name !== "./package.json");
for (const name of entries) await import(name.replace(".", "forwardpass"));

const { input, output, shape, data, expected } = JSON.parse(await readFile("golden.json", "utf8"));
const feeds = { [input]: { dtype: "f32", shape, data: Float32Array.from(data) } };
const errors = [];
for (const [name, threads] of [["cpu"], ["wasm", 1], ["wasm", 2]]) {
  const session = await load("model.onnx", { device: await openDevice(name, { threads }) });
  // Workers start beside the first runs.
  for (let i = 0; i < 200; i++) await session.run(feeds);
  const result = (await session.run(feeds))[output].data;
  const error = Math.max(...expected.map((v, i) => Math.abs(v - result[i])));
  if (!(error < 1e-4)) throw new Error(`${name} is off by ${error}`);
  errors.push(`${name}${threads ? ` x${threads}` : ""} ${error.toExponential(1)}`);
  // The last one is left: the process has to end all the same.
  if (threads !== 2) session.dispose();
}
console.log(`${entries.length} entries; error of ${errors.join(", ")}`);
