import { defineConfig, type Options } from "tsup";

/** One entry for each `exports` line of package.json. */
const entry = {
  index: "src/index.ts",
  cpu: "src/backends/cpu/index.ts",
  wasm: "src/backends/wasm/index.ts",
  webgpu: "src/backends/webgpu/index.ts",
  gpujs: "src/backends/gpujs/index.ts",
  onnx: "src/formats/onnx/index.ts",
  gguf: "src/formats/gguf/index.ts",
  safetensors: "src/formats/safetensors.ts",
  models: "src/models/index.ts",
  tasks: "src/tasks/index.ts",
};

const common: Options = {
  clean: false,
  splitting: true,
  treeshake: true,
  target: "es2022",
  // Peers are loaded on demand, by the user's own installation.
  external: ["sharp", "webgpu", "gpu.js", "@huggingface/tokenizers", "@huggingface/jinja", "@huggingface/hub"],
};

export default defineConfig([
  { ...common, entry, format: ["esm", "cjs"], dts: true, platform: "neutral", minifySyntax: true },
  {
    ...common,
    entry: { cli: "src/cli/bin.ts" },
    format: ["esm"],
    platform: "node",
    banner: { js: "#!/usr/bin/env node" },
  },
]);
