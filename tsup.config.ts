import { defineConfig } from "tsup";
import { entries } from "./scripts/bundle.ts";

const { api: _, operators: __, values: ___, ...rest } = entries;

/** The declarations of `dist`; scripts/build.ts writes its JavaScript. */
export default defineConfig({
  entry: { index: "src/index.ts", ...rest },
  format: ["esm", "cjs"],
  // For `using`: programs whose `lib` ends before it have the types nevertheless.
  dts: { only: true, banner: '/// <reference lib="esnext.disposable" />' },
  clean: false,
  external: ["sharp", "webgpu", "gpu.js", "@huggingface/tokenizers", "@huggingface/jinja", "@huggingface/hub"],
});
