/**
 * What a page downloads that imports `load` from the package: bundled by esbuild, minified, split into chunks, gzip. Each
 * model is loaded and run in a process of its own, and the chunks that it executed are those that a browser would fetch.
 *
 * `npx tsx scripts/download.ts [--webgpu] [MODEL.onnx ...]`: what the wasm device takes, or the webgpu device, for which the
 * environment has to lead to an adapter (`npm test` takes SwiftShader's).
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, posix, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { Plugin } from "esbuild";
import { barrel, bundle, entries, root } from "./bundle.ts";
import { bundleForPage } from "./page.ts";

export interface Chunk {
  readonly file: string;
  /** kB of 1000 bytes. */
  readonly gzip: number;
  /** Files of the package in it, and their minified bytes. */
  readonly modules: ReadonlyMap<string, number>;
}

export interface Download {
  readonly chunks: readonly Chunk[];
  /** Every chunk that some model could ask for. */
  readonly everything: number;
  /** For each model, the chunks that it took. */
  readonly models: ReadonlyMap<string, readonly Chunk[]>;
}

export const sizeOfChunks = (chunks: Iterable<Chunk>): number => [...chunks].reduce((sum, c) => sum + c.gzip, 0);

/** Loads a model and runs it once on zeros, free dimensions being 8, and prints the chunks that were executed. */
const probe = `
import { readFileSync } from "node:fs";
const [entry, path, device, dawn] = process.argv.slice(2);
if (device === "webgpu") {
  // As in a browser: found without looking for a package.
  const { create, globals } = await import(dawn);
  Object.assign(globalThis, globals);
  if (!globalThis.navigator) Object.defineProperty(globalThis, "navigator", { value: {} });
  Object.defineProperty(navigator, "gpu", { value: create(["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"]) });
}
const { load } = await import(entry);
const model = await load(new Uint8Array(readFileSync(path)), { device, threads: 1 });
const arrays = { i64: BigInt64Array, i32: Int32Array, u8: Uint8Array, bool: Uint8Array, f16: Uint16Array };
const inputs = {};
for (const { name, dtype, shape } of model.inputs) {
  const dims = shape.map((d) => (typeof d === "number" ? d : 8));
  inputs[name] = { dtype, shape: dims, data: new (arrays[dtype] ?? Float32Array)(dims.reduce((a, b) => a * b, 1)) };
}
await model.run(inputs);
console.log(JSON.stringify([...globalThis.chunksRun]));
process.exit(0);
`;

/** The page's bundler finds the package in memory. */
function packageFrom(files: ReadonlyMap<string, string>): Plugin {
  return {
    name: "package",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^forwardpass$/ }, () => ({ path: "/index.js", namespace: "dist", sideEffects: false }));
      onResolve({ filter: /^\./, namespace: "dist" }, ({ path, importer }) => ({
        path: posix.join(posix.dirname(importer), path),
        namespace: "dist",
        sideEffects: false,
      }));
      onLoad({ filter: /./, namespace: "dist" }, ({ path }) => ({ contents: files.get(path.slice(1)) }));
    },
  };
}

/** What a page runs: an ONNX file on a device. */
export interface Page {
  readonly path: string;
  readonly device: "wasm" | "webgpu";
}

/** @param pages by name */
export async function measureDownload(pages: ReadonlyMap<string, Page>): Promise<Download> {
  const dist = new Map((await bundle(entries, "es")).map(({ fileName, code }) => [fileName, code]));
  dist.set("index.js", barrel);
  const { outputFiles, metafile } = await bundleForPage({
    stdin: { contents: 'export { load } from "forwardpass"', resolveDir: root, sourcefile: "page.js" },
    absWorkingDir: root,
    plugins: [packageFrom(dist)],
    entryNames: "page",
    external: ["node:*", "sharp", "webgpu", "gpu.js", "@huggingface/*"],
  });
  const chunks = outputFiles.map(({ path, contents }): Chunk => {
    const [, output] = Object.entries(metafile.outputs).find(([p]) => resolve(root, p) === path)!;
    const modules = new Map(Object.entries(output.inputs).map(([p, { bytesInOutput }]) => [p, bytesInOutput]));
    return { file: basename(path), gzip: gzipSync(contents, { level: 9 }).length / 1000, modules };
  });
  const folder = mkdtempSync(join(tmpdir(), "forwardpass-download-"));
  try {
    for (const { path, text } of outputFiles) {
      const note = `(globalThis.chunksRun ??= new Set()).add(${JSON.stringify(basename(path))});\n`;
      writeFileSync(join(folder, basename(path)), note + text);
    }
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "probe.mjs"), probe);
    const entry = pathToFileURL(join(folder, "page.js")).href;
    const taken = [...pages].map(([name, { path, device }]): [string, Chunk[]] => {
      const dawn = pathToFileURL(createRequire(import.meta.url).resolve("webgpu")).href;
      const { stdout, stderr } = spawnSync(process.execPath, [join(folder, "probe.mjs"), entry, path, device, dawn], {
        encoding: "utf8",
      });
      // Minified code around the place comes with an error: its own line is what counts.
      if (!stdout) throw new Error(`${name}: ${/^.*Error:.*$/m.exec(stderr)?.[0].slice(-300) ?? "did not run"}`);
      const files = new Set(JSON.parse(stdout) as string[]);
      return [name, chunks.filter((c) => files.has(c.file))];
    });
    return { chunks, everything: sizeOfChunks(chunks), models: new Map(taken) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Run from the command line: the chunks, what is in them, and who takes them. */
if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const onGpu = process.argv.includes("--webgpu");
  const paths = process.argv.slice(2).flatMap((p) => (p === "--webgpu" ? [] : [resolve(p)]));
  const device = onGpu ? "webgpu" : "wasm";
  const { chunks, everything, models } = await measureDownload(new Map(paths.map((path) => [path, { path, device }])));
  const kB = (n: number): string => `${n.toFixed(1).padStart(6)} kB`;
  for (const chunk of [...chunks].sort((a, b) => b.gzip - a.gzip)) {
    const takers = [...models].map(([, list]) => (list.includes(chunk) ? "x" : "."));
    console.log(kB(chunk.gzip), takers.join(""), chunk.file);
    for (const [file, bytes] of [...chunk.modules].sort(([, a], [, b]) => b - a))
      if (bytes > 0) console.log(String(bytes).padStart(22), file);
  }
  for (const [path, list] of models) console.log(kB(sizeOfChunks(list)), `in ${list.length} chunks: ${path}`);
  console.log(kB(everything), `in ${chunks.length} chunks: everything`);
}
