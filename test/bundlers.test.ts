/** The package in other people's bundlers: it builds without configuration and without a warning, and what comes out runs. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type BuildOptions, build as esbuild } from "esbuild";
import { type OutputOptions, rollup } from "rollup";
import { createLogger, build as vite } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { root } from "../scripts/bundle.ts";
import { compileAhead } from "../src/ahead.ts";
import { publishTo } from "./published.ts";

const model = fileURLToPath(new URL("../examples/models/fraud-mlp/model.onnx", import.meta.url));
const engines = ["cpu", "wasm"];

/** Takes the model's bytes, as a page would have fetched them. Prints what the device and Node alone give. */
const app = `
import { load } from "forwardpass";
import { textClassification } from "forwardpass/tasks";
export async function main(bytes, device) {
  const model = await load(bytes, { device });
  const { data } = Object.values(await model.run({ features: new Float32Array(30).fill(0.5) }))[0];
  return [textClassification.name, model.device.name, ...data];
}
`;
const runner = (path: string): string => `
import { readFileSync } from "node:fs";
import * as bundled from ${JSON.stringify(path)};
const main = bundled.main ?? bundled.default?.main ?? globalThis.app.main;
const bytes = new Uint8Array(readFileSync(${JSON.stringify(model)}));
console.log(JSON.stringify([${engines.map((e) => `await main(bytes, ${JSON.stringify(e)})`)}]));
process.exit(0);
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "forwardpass-bundlers-"));
  await publishTo(folder);
  await writeFile(join(folder, "app.mjs"), app);
}, 60_000);
afterAll(() => rm(folder, { recursive: true }));

/** Where an app of that name goes. Its bundler must not find what lies about here. */
const outOf = (name: string): string => join(folder, "out", name);

async function expectRuns(name: string, file = "app.mjs"): Promise<void> {
  const script = join(outOf(name), "runner.mjs");
  await writeFile(script, runner(join(outOf(name), file)));
  const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd: outOf(name) });
  const results = JSON.parse(stdout) as [string, string, number][];
  expect(results.map(([, device]) => device)).toEqual(engines);
  expect(results[0][2]).toBeCloseTo(results[1][2], 5);
}

async function withEsbuild(name: string, options: BuildOptions): Promise<void> {
  const { warnings } = await esbuild({
    entryPoints: [join(folder, "app.mjs")],
    bundle: true,
    outdir: outOf(name),
    outExtension: { ".js": options.format === "esm" ? ".mjs" : ".cjs" },
    logLevel: "silent",
    ...options,
  });
  expect(warnings).toEqual([]);
}

describe("esbuild", () => {
  test("modules for a browser, split", async () => {
    await withEsbuild("split", { format: "esm", splitting: true });
    await expectRuns("split");
  });

  test("one script for a browser, minified", async () => {
    await withEsbuild("script", {
      format: "iife",
      globalName: "app",
      minify: true,
      footer: { js: "globalThis.app=app" },
    });
    await expectRuns("script", "app.cjs");
  });

  test("for Node, as modules and as CommonJS", async () => {
    await withEsbuild("node", { format: "esm", platform: "node" });
    await withEsbuild("node-cjs", { format: "cjs", platform: "node" });
    await expectRuns("node-cjs", "app.cjs");
  });
});

describe("rollup and vite", () => {
  const output: OutputOptions = { format: "es", entryFileNames: "[name].mjs" };

  test("rollup finds the package by its exports", async () => {
    const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
      exports: Record<string, { import: { default: string } }>;
    };
    const built = await rollup({
      input: join(folder, "app.mjs"),
      plugins: [
        {
          name: "packages",
          resolveId: (id) =>
            id.startsWith("forwardpass")
              ? join(folder, "node_modules/forwardpass", exports[`.${id.slice("forwardpass".length)}`].import.default)
              : undefined,
        },
      ],
      onLog: (_, { message }) => expect.fail(message),
    });
    await built.write({ ...output, dir: outOf("rollup") });
    await expectRuns("rollup");
  });

  /** Of a page that only starts a worker, the worker is what runs. */
  const pages: Record<string, string> = {
    "page.mjs": 'new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });\n',
    "worker.mjs": 'import * as app from "./app.mjs";\nglobalThis.app = app;\n',
  };

  test.each([
    { kind: "a page", name: "vite" },
    { kind: "server-side rendering", name: "vite-ssr", ssr: true },
    { kind: "a module worker", name: "vite-worker", input: "page.mjs", runs: "worker.mjs" },
  ])("vite, for $kind", async ({ name, ssr, input = "app.mjs", runs }) => {
    for (const [file, text] of Object.entries(pages)) await writeFile(join(folder, file), text);
    const said: string[] = [];
    const customLogger = {
      ...createLogger("warn"),
      warn: (m: string) => said.push(m),
      warnOnce: (m: string) => said.push(m),
    };
    await vite({
      root: folder,
      configFile: false,
      customLogger,
      ssr: { noExternal: true },
      worker: { format: "es", rollupOptions: { output } },
      build: {
        ssr,
        outDir: outOf(name),
        modulePreload: false,
        rollupOptions: { input: join(folder, input), output, preserveEntrySignatures: "strict" },
      },
    });
    expect(said).toEqual([]);
    await expectRuns(name, runs);
  });
});

test("a model compiled ahead of time is bundled for the edge, where nothing of Node is", async () => {
  const out = outOf("ahead");
  await mkdir(out, { recursive: true });
  const files = await compileAhead(model, { shapes: { features: [1, 30] } });
  await writeFile(join(out, "model.mjs"), files["model.mjs"]);
  const { warnings, outputFiles } = await esbuild({
    entryPoints: [join(out, "model.mjs")],
    bundle: true,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    write: false,
    logLevel: "silent",
  });
  expect(warnings).toEqual([]);
  expect(outputFiles).toHaveLength(1);
});

test("webpack leaves alone what is only found at run time", async () => {
  const dist = join(folder, "node_modules/forwardpass/dist");
  const files = (await readdir(dist, { recursive: true })).filter((f) => /\.c?js$/.test(f));
  const ofNames = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(dist, file), "utf8");
      return [
        ...text.matchAll(/(?:await|=>|return|\?\?|[?:])\s*\(?import\(\s*((?:\/\*.*?\*\/\s*)*)([^\s"'`*)][^)]*)\)/g),
      ].map(([, marks]) => [file, marks]);
    }),
  );
  const imports = ofNames.flat();
  expect(imports.length).toBeGreaterThan(4);
  for (const [file, marks] of imports) {
    expect(marks, file).toContain("webpackIgnore: true");
    expect(marks, file).toContain("@vite-ignore");
  }
});
