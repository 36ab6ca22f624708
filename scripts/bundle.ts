/**
 * The modules of `dist`: entries for package.json's `exports`, and chunks that they share. What travels together is said
 * here: left to itself, a bundler makes a chunk for each set of entries that share a module, and a page fetches fifty.
 *
 * ES modules are for bundlers and everything that is not Node. Node gets CommonJS by either name: `import` finds entries
 * that hand on what `require` gives, so that there is one of every class, and modules that are wanted later are there at
 * once, without a turn of Node's loader of ES modules for each.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { type InternalModuleFormat, type OutputChunk, type Plugin, rollup } from "rollup";
import { minify } from "terser";

export const root = fileURLToPath(new URL("..", import.meta.url));
const src = resolve(root, "src");

/** One entry for each `exports` line of package.json but the root's: see `barrel`. */
export const entries: Readonly<Record<string, string>> = {
  api: "src/api.ts",
  operators: "src/ops/index.ts",
  values: "src/values.ts",
  cpu: "src/backends/cpu/index.ts",
  wasm: "src/backends/wasm/index.ts",
  webgpu: "src/backends/webgpu/index.ts",
  gpujs: "src/backends/gpujs/index.ts",
  onnx: "src/formats/onnx/index.ts",
  gguf: "src/formats/gguf/index.ts",
  safetensors: "src/formats/safetensors.ts",
  ahead: "src/ahead.ts",
  convert: "src/formats/convert/index.ts",
  models: "src/models/index.ts",
  tasks: "src/tasks/index.ts",
};

/** The same by their names in package.json: those of declarations and of CommonJS. */
const { api: _, operators: __, values: ___, ...rest } = entries;
export const publicEntries: Readonly<Record<string, string>> = { index: "src/index.ts", ...rest };
const commonJsEntries = { ...publicEntries, cli: "src/cli/bin.ts" };

/**
 * The root entry. Nothing but re-exports of everything: bundlers follow these to what a page uses. Were the operators
 * listed, some would count each of them as used, and put what is loaded on demand into the page. A file that is read for one of its
 * exports brings along all files that it imports and that the page may load later: values are apart from models.
 */
export const barrel = ["api", "operators", "values"].map((name) => `export * from "./${name}.js";\n`).join("");

/** What Node imports for an entry. */
const nodeEntry = ({ name, exports }: OutputChunk): string =>
  `import all from "../${name}.cjs";\nexport const { ${exports.join(", ")} } = all;\n`;

/** Operators of nearly every model, and what operators are made with. */
const commonOps = new Set(
  (
    "op check elementwise activation special copy integers indices strided epilogue numerals binary unary clip cast " +
    "compare logical where matmul gemm slice split concat gather reshape shape transpose squeeze unsqueeze expand " +
    "constant-of-shape range flatten softmax reduce"
  ).split(" "),
);

/** The chunks, by modules under src. The first that fits counts; the rest is left to rollup. */
const chunks: readonly (readonly [name: string, modules: RegExp | ((module: string) => boolean)])[] = [
  // What graphs of 16-bit floats load for themselves.
  ["halves", /^(tensor\/half-weight|graph\/passes\/widen)$/],
  // What pages that load a file do without: graphs and tensors as users write them, options that few have.
  [
    "arguments",
    /^(ops\/attributes|tensor\/(options|host-tensor)|graph\/(compile-options|with-outputs|define|tensor|zeros)|formats\/fetch-options|load-options)$/,
  ],
  // What graphs with a softmax or a norm load for themselves.
  ["blocks", /^(ops\/(attention|layer-norm)|graph\/passes\/(attention|layernorm|blocks))$/],
  ["onnx-rows", /^formats\/onnx\/ops\/(norm|reduce|softmax|logic)$/],
  ["core", (m) => m.startsWith("ops/") && commonOps.has(m.slice(4))],
  [
    "core",
    /^(tensor\/[^/]+|backends\/backend|graph\/(?!verify$|operand-types$|passes\/(widen|integers|batchnorm)$).*|load|device|formats\/(source|recognize))$/,
  ],
  [
    "onnx-cnn",
    /^(ops\/(conv|pool|window|batch-norm)|formats\/onnx\/ops\/(conv|pool|batch-norm|window)|graph\/passes\/batchnorm)$/,
  ],
  [
    "wasm-cnn",
    /^backends\/wasm\/(conv|conv-(?!transpose|int8|.*halves).*|pooling|kernels\/(blocks|conv-(?!scatter).*|gemm-prepacked|row-deal|winograd|depthwise|pool))$/,
  ],
  ["wasm-data", /^backends\/wasm\/(elementwise-logic|movement|gather|kernels\/vector-copy)$/],
  ["wasm-integers", /^backends\/wasm\/(kernels\/)?([a-z]+-)?integers$/],
  ["wasm-int8", /^backends\/wasm\/(int8|matmul-int8|quantize)$/],
  ["wasm-rows", /^backends\/wasm\/(softmax|norm|reduce|layouts|kernels\/vector-(norm|rows))$/],
  ["wasm-states", /^backends\/wasm\/(beside|state)$/],
  ["wasm-attention", /^backends\/wasm\/(attention|kernels\/attention.*)$/],
  [
    "wasm-core",
    /^backends\/(wasm\/(assembler.*|step|session|copy|link|memory|barrier|features|index|elementwise|matmul|kernels\/(math|activations|gemm|gemm-pack|gemm-row|gemm-tile|vector|vector-walk))|cpu\/reference)$/,
  ],
  ["llama2c-config", /^formats\/llama2c-config$/],
  ["files", /^formats\/(sources\/file|onnx\/(scan|external))$/],
  ["onnx-core", /^formats\/onnx\/([^/]+|ops\/matmul)$/],
  // The other operators: what doesn't bundle reads all of them for the root entry, and takes its time for each file.
  ["ops-bitwise", /^ops\/bitwise$/],
  ["ops-usual", /^ops\/(arg-reduce|cumulative|depth-to-space|pad|tile)$/],
  ["ops-random", /^ops\/(random|mersenne-twister)$/],
  ["ops-decoder", /^ops\/(cached-attention|kv-append|rotary-embedding)$/],
  ["ops-kv-cache", /^ops\/kv-cache$/],
  ["ops-norms", /^ops\/(group-norm|local-norm|nll-loss)$/],
  [
    "ops-images",
    /^ops\/(resample|resize|grid-sample|affine-grid|image-.*|max-.*|roi-align|deform-conv|col2im|non-max-suppression|center-crop-pad)$/,
  ],
  [
    "ops-products",
    /^(ops\/(conv-integer|matmul-integer|quantize|quantized-product|matmul-n-bits|quantized-matmul)|graph\/passes\/integers)$/,
  ],
  ["ops-sequence", /^ops\/(tensor-scatter|linear-attention|causal-conv|rnn|gru|lstm|recurrent)$/],
  [
    "ops-indexing",
    /^ops\/(gather-.*|scatter.*|topk|one-hot|reverse-sequence|eye-like|trilu|einsum|det|non-zero|compress|host-values|order)$/,
  ],
  [
    "ops-rare",
    /^ops\/(ml\/.*|string-.*|regex-.*|tfidf-vectorizer|array-feature-extractor|stft|dft|window-functions|mel-.*|unique)$/,
  ],
];

/** The operators of language models. Node reads those of other graphs with the first of these. */
const decoderOps = new Set(
  (
    "op attributes check elementwise activation special copy integers indices epilogue binary unary clip matmul gemm gather " +
    "reshape shape range quantized-matmul attention layer-norm cached-attention kv-append rotary-embedding"
  ).split(" "),
);

/** Of the chunks that language models need, the modules that they don't. */
const notInDecoders = {
  core: /^graph\/passes\/(attention|layernorm|blocks)$/,
  wasm: /^backends\/wasm\/(movement|softmax|reduce|elementwise-logic|kernels\/vector-copy|(kernels\/)?(reduce|mean|fold)-integers)$/,
};

/** For Node every file costs more than what is in it; one of more than 128 kB leaves holes in its memory (016). */
function nodeChunk(module: string, chunk: string | undefined): string | undefined {
  // The entries' own.
  if (/^graph\/(tensor|preview)$/.test(module)) return undefined;
  const usual = /^(core|arguments|blocks|ops-(decoder|kv-cache|usual|bitwise))$/.test(chunk ?? "");
  if (module.startsWith("ops/")) {
    if (!decoderOps.has(module.slice(4))) return usual ? "ops-usual" : "ops";
    return chunk === "blocks" || chunk === "ops-decoder" ? "core" : "ops-core";
  }
  if (notInDecoders.core.test(module)) return "ops-usual";
  if (notInDecoders.wasm.test(module)) return "wasm-rest";
  if (module.startsWith("tensor/") && usual) return "ops-core";
  if (
    usual ||
    chunk === "llama2c-config" ||
    /^(formats\/sources\/file|tasks\/(similarity|language\/speed))$/.test(module)
  )
    return "core";
  if (/^(files|onnx-core|onnx-cnn)$/.test(chunk ?? "")) return "onnx";
  return chunk;
}

function chunkOf(id: string, format: InternalModuleFormat): string | undefined {
  if (!id.startsWith(src)) return undefined;
  const module = id
    .slice(src.length + 1)
    .replaceAll("\\", "/")
    .replace(/\.ts$/, "");
  const chunk = chunks.find(([, test]) => (typeof test === "function" ? test(module) : test.test(module)))?.[0];
  return format === "cjs" ? nodeChunk(module, chunk) : chunk;
}

/**
 * TypeScript by esbuild; of the packages only `pbf` becomes part of the bundle. CommonJS modules know themselves as
 * `globalThis.commonJsModule`: see src/tensor/peer.ts.
 */
const typescript = (format: InternalModuleFormat): Plugin => ({
  name: "typescript",
  resolveId(source, importer) {
    if (source.startsWith(".") && importer) return resolve(dirname(importer), source);
    if (source === "pbf") return resolve(root, "node_modules/pbf/index.js");
    return importer ? { id: source, external: true } : resolve(root, source);
  },
  async load(id) {
    const text = await readFile(id, "utf8");
    if (!id.endsWith(".ts")) return text;
    const define = { "globalThis.commonJsModule": format === "cjs" ? "module" : "undefined" };
    return (await transform(text, { loader: "ts", target: "es2022", minifySyntax: true, sourcefile: id, define })).code;
  },
});

/** @param input entries by name */
export async function bundle(
  input: Readonly<Record<string, string>>,
  format: InternalModuleFormat,
): Promise<OutputChunk[]> {
  const extension = format === "cjs" ? "cjs" : "js";
  const built = await rollup({
    input,
    plugins: [typescript(format)],
    treeshake: { moduleSideEffects: false },
    onwarn({ code, message }) {
      // Functions that call each other across files are no trouble; chunks that need each other are.
      if (code !== "CIRCULAR_DEPENDENCY") throw new Error(message);
    },
  });
  const { output } = await built.generate({
    format,
    entryFileNames: `[name].${extension}`,
    chunkFileNames: `chunks/[name]-[hash].${extension}`,
    manualChunks: (id) => chunkOf(id, format),
    banner: ({ name }) => (name === "cli" ? "#!/usr/bin/env node" : ""),
  });
  await built.close();
  return output.filter((o) => o.type === "chunk");
}

/** What bundlers are to leave alone, and a call that stands for it: white space goes with all comments. */
const ignored = /\bimport\(\s*\/\* webpackIgnore: true \*\/\s*\/\* @vite-ignore \*\/\s*/g;
const mark = "importIgnored(";

/**
 * Without white space and with short names for what is local, because Node keeps a module's text in memory (016). Functions
 * and classes have their names, and lines are short: a stack trace says where.
 */
async function compact(source: string): Promise<string> {
  const { code } = await minify(source.replaceAll(ignored, mark), {
    compress: false,
    mangle: { keep_classnames: true, keep_fnames: true, toplevel: true },
    format: { max_line_len: 100 },
  });
  return code!.replaceAll(mark, "import(/* webpackIgnore: true */ /* @vite-ignore */ ");
}

/** Everything but the declarations. */
export async function writeDist(folder: string): Promise<void> {
  const write = async ({ fileName, code }: Pick<OutputChunk, "fileName" | "code">): Promise<void> => {
    const path = join(folder, fileName);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, code);
  };
  for (const chunk of await bundle(entries, "es")) await write(chunk);
  await write({ fileName: "index.js", code: barrel });
  for (const chunk of await bundle(commonJsEntries, "cjs")) {
    await write({ ...chunk, code: await compact(chunk.code) });
    if (chunk.isEntry && chunk.name !== "cli")
      await write({ fileName: `node/${chunk.name}.js`, code: nodeEntry(chunk) });
  }
}
