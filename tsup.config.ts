import { defineConfig } from "tsup";
import { publicEntries } from "./scripts/bundle.ts";

/** The declarations of `dist`; scripts/build.ts writes its JavaScript, and scripts/declarations.ts finishes them. */
export default defineConfig({
  entry: publicEntries,
  format: ["esm", "cjs"],
  // For `using`: programs whose `lib` ends before it have the types nevertheless.
  dts: { only: true, banner: '/// <reference lib="esnext.disposable" />' },
  clean: false,
  external: ["sharp", "webgpu", "gpu.js", "@huggingface/tokenizers", "@huggingface/jinja", "@huggingface/hub"],
});
