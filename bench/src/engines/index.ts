/** The engines of a run. What can't be had on this machine is said once and left out. */
import type { Engine } from "./engine.ts";
import { forwardpass, wasmName } from "./forwardpass.ts";
import { gpujs } from "./gpujs.ts";
import { jax } from "./jax.ts";
import { ortNode, ortWeb } from "./onnxruntime.ts";
import { tfjs } from "./tfjs.ts";

interface Wanted {
  readonly threads: readonly number[];
  wantsEngine(name: string): boolean;
}

/** `extra`: more columns of this project, after the wasm device on each number of threads. */
export async function openEngines({ threads, wantsEngine }: Wanted, extra: readonly Engine[] = []): Promise<Engine[]> {
  const one = wasmName(threads[0]);
  const plain = "forwardpass cpu";
  const factories: [string, () => Engine | Promise<Engine>][] = [
    ...threads.map((n): [string, () => Promise<Engine>] => [
      "forwardpass",
      () => forwardpass(wasmName(n), { device: "wasm", threads: n, baseline: n === threads[0] ? undefined : one }),
    ]),
    ["forwardpass", () => forwardpass(plain, { device: "cpu", baseline: one })],
    ...threads.map((n): [string, () => Promise<Engine>] => ["ort-web", () => ortWeb(n, wasmName(n))]),
    ...threads.map((n): [string, () => Engine] => ["ort-node", () => ortNode(n, wasmName(n))]),
    ["tfjs-wasm", () => tfjs("wasm", one)],
    ["jax-js", () => jax(one)],
    ["tfjs-cpu", () => tfjs("cpu", plain)],
    ["gpu.js", () => gpujs(one)],
  ];
  const engines: Engine[] = [];
  for (const [name, open] of factories) {
    if (name !== "forwardpass" && !wantsEngine(name)) continue;
    try {
      engines.push(await open());
    } catch (e) {
      console.error(`bench: ${name} is left out: ${(e as Error).message.split("\n")[0]}`);
    }
  }
  const ours = engines.findIndex((e) => e.name === plain) + 1;
  return [...engines.slice(0, ours), ...extra, ...engines.slice(ours)];
}
