/** What a browser downloads to run ONNX models on WebAssembly: bundled and minified by esbuild, gzip. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Metafile } from "esbuild";
import { bundleForPage } from "../../../scripts/page.ts";
import { bert } from "../../models/bert.ts";
import { resnet50 } from "../../models/cnn.ts";
import type { EngineResult } from "../measure.ts";
import { benchFolder } from "../paths.ts";
import type { Workload } from "./workload.ts";

interface Bundle {
  readonly engine: string;
  readonly code: string;
  /** Files that the code fetches. */
  readonly files?: readonly string[];
}

const require = createRequire(import.meta.url);
const fileOf = (name: string, path: string): string => resolve(dirname(require.resolve(name)), path);

const bundles = (): Bundle[] => [
  {
    engine: "onnxruntime-web/wasm",
    code: `export { InferenceSession, Tensor, env } from "onnxruntime-web/wasm"`,
    files: [fileOf("onnxruntime-web", "ort-wasm-simd-threaded.wasm")],
  },
  {
    engine: "jax-js",
    code: `export { ONNXModel } from "@jax-js/onnx"; export { init, jit, numpy, defaultDevice } from "@jax-js/jax"`,
  },
  {
    engine: "tfjs-wasm (no ONNX)",
    code: `import "@tensorflow/tfjs-backend-wasm"; export { loadGraphModel, tensor, setBackend } from "@tensorflow/tfjs"`,
    files: [fileOf("@tensorflow/tfjs-backend-wasm", "tfjs-backend-wasm-threaded-simd.wasm")],
  },
];

/** The entry, and whatever it imports now or later. */
function reachable(outputs: Metafile["outputs"]): Set<string> {
  const entry = Object.keys(outputs).find((path) => outputs[path].entryPoint?.endsWith("size-entry.mjs"))!;
  const found = new Set<string>();
  const walk = (path: string): void => {
    if (found.has(path) || !outputs[path]) return;
    found.add(path);
    for (const { path: next, external } of outputs[path].imports) if (!external) walk(next);
  };
  walk(entry);
  return found;
}

const gzipped = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length / 1000;

async function download({ code, files = [] }: Bundle): Promise<number> {
  const entry = fileURLToPath(new URL(".cache/size-entry.mjs", benchFolder));
  writeFileSync(entry, code);
  const { outputFiles, metafile } = await bundleForPage({
    entryPoints: [entry],
    absWorkingDir: fileURLToPath(benchFolder),
    external: ["node:*"],
  });
  const paths = reachable(metafile.outputs);
  const js = outputFiles.filter((f) => [...paths].some((p) => resolve(fileURLToPath(benchFolder), p) === f.path));
  return (
    js.reduce((sum, f) => sum + gzipped(f.contents), 0) + files.reduce((sum, f) => sum + gzipped(readFileSync(f)), 0)
  );
}

/** Ours is split finely: what a page fetches depends on the model. Measured from the sources, not from `dist`. */
function ours(models: readonly (readonly [name: string, bytes: Uint8Array])[]): [engine: string, kB: number][] {
  const paths = models.map(([name, bytes]) => {
    const path = fileURLToPath(new URL(`.cache/${name}.onnx`, benchFolder));
    writeFileSync(path, bytes);
    return path;
  });
  const root = fileURLToPath(new URL("..", benchFolder));
  const text = execFileSync("npx", ["tsx", "scripts/download.ts", ...paths], { cwd: root, encoding: "utf8" });
  const sizes = [...text.matchAll(/^ *([\d.]+) kB in \d+ chunks: .*$/gm)].map(([, kB]) => Number(kB));
  return [...models.map(([name]) => name), "all of it"].map((name, i) => [`forwardpass, ${name}`, sizes[i]]);
}

export const size: Workload = {
  name: "size",
  title: "Download for ONNX on WebAssembly in a browser: JavaScript and .wasm, minified, gzip",
  freshProcesses: true,
  async run(context) {
    const own = ours([
      ["resnet50", resnet50()],
      ["bert", bert({ layers: 1 })],
    ]);
    const [[baseline]] = own;
    const engines: EngineResult[] = own.map(([engine, kB], i) => ({
      engine,
      baseline: i ? baseline : undefined,
      median: kB,
      min: kB,
      samples: 1,
    }));
    for (const bundle of bundles()) {
      try {
        const kB = await download(bundle);
        engines.push({ engine: bundle.engine, baseline, median: kB, min: kB, samples: 1 });
      } catch (e) {
        engines.push({ engine: bundle.engine, baseline, note: (e as Error).message.split("\n")[0] });
      }
    }
    context.report({ name: "everything", unit: "kB", flop: 0, engines });
  },
};
