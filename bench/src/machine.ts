/** What the numbers were measured on. */
import { readFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { benchFolder } from "./paths.ts";

export interface Machine {
  readonly date: string;
  readonly node: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGB: number;
  /** Processes that wanted a core in the minute before: above 0.5 or so the numbers are disturbed. */
  readonly load: number;
  readonly peers: Readonly<Record<string, string>>;
}

const everyPeer = [
  "onnxruntime-web",
  "onnxruntime-node",
  "@tensorflow/tfjs",
  "@jax-js/jax",
  "gpu.js",
  "node-llama-cpp",
  "@wllama/wllama",
];

/** @param peers packages whose versions matter */
export function machine(peers: readonly string[] = everyPeer): Machine {
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    load: Math.round(loadavg()[0] * 10) / 10,
    peers: Object.fromEntries(peers.map((name) => [name, versionOf(name)])),
  };
}

function versionOf(name: string): string {
  const file = new URL(`node_modules/${name}/package.json`, benchFolder);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

export function describe({ date, node, cpu, cores, memoryGB, load, peers }: Machine): string {
  const versions = Object.entries(peers).map(([name, version]) => `${name} ${version}`);
  return `${date}, Node ${node}, ${cpu}, ${cores} cores, ${memoryGB} GB, load before ${load}; ${versions.join(", ")}`;
}
