/**
 * `npm run runtimes`: the package as it is published, in the runtimes that the README names. Node (what runs this, and 24),
 * Bun and Deno import every entry, run a model on one and two threads, and have to end by themselves; workerd (Cloudflare's
 * isolate) runs it where nothing may be compiled, and as `compile` writes it. npm fetches them into .cache, about 550 MB.
 */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { compileAhead } from "../src/ahead.ts";
import { load } from "../src/index.ts";
import { publishTo } from "../test/published.ts";
import { root } from "./bundle.ts";

const run = promisify(execFile);
const folder = join(root, ".cache/runtimes");
const packages = { bun: "1.4.5", deno: "2.9.6", miniflare: "4.20260426.0", node: "24.21.0" };
const shape = [1, 1, 28, 28];

interface Isolate {
  dispatchFetch(url: string): Promise<Response>;
  dispose(): Promise<void>;
}

/** A folder where the package and the runtimes are installed, with a model, an input, and what src makes of it. */
async function install(): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ private: true, type: "module", dependencies: packages }),
  );
  await run("npm", ["install", "--no-audit", "--no-fund"], { cwd: folder });
  await publishTo(folder);
  const model = await readFile(join(root, "examples/models/mnist-cnn/model.onnx"));
  const session = await load(new Uint8Array(model), { device: "cpu" });
  const data = Float32Array.from({ length: 784 }, (_, i) => Math.sin(i));
  const [input, output] = [session.inputs[0].name, session.outputs[0].name];
  const { data: expected } = (await session.run({ [input]: { dtype: "f32", shape, data } }))[output];
  const golden = { input, output, shape, data: [...data], expected: [...(expected as Float32Array)] };
  await writeFile(join(folder, "golden.json"), JSON.stringify(golden));
  await writeFile(join(folder, "model.onnx"), model);
  const ahead = await compileAhead(new Uint8Array(model), { shapes: { [input]: shape } });
  for (const [name, content] of Object.entries(ahead)) await writeFile(join(folder, name), content);
  for (const name of ["check.mjs", "isolate.mjs"])
    await writeFile(join(folder, name), await readFile(join(root, "scripts/runtimes", name)));
}

/** A minute is far more than it takes: what does not end by itself fails. */
async function inProcess(command: string, args: readonly string[] = []): Promise<string> {
  const { stdout } = await run(command, [...args, "check.mjs"], { cwd: folder, timeout: 60_000 });
  return stdout.trim();
}

async function inIsolate(): Promise<string> {
  const modules = join(folder, "isolate");
  // All that is there becomes a module: nothing of the run before.
  await rm(modules, { recursive: true, force: true });
  const external = ["*.wasm", "*.weights", "*.onnx"];
  const conditions = ["workerd", "worker", "browser"];
  await build({
    entryPoints: [join(folder, "isolate.mjs")],
    outdir: modules,
    bundle: true,
    splitting: true,
    format: "esm",
    conditions,
    external,
    logLevel: "error",
  });
  const scripts = (await readdir(modules)).filter((name) => name.endsWith(".js") && name !== "isolate.js");
  const beside = [
    { type: "CompiledWasm", path: "model.wasm" },
    { type: "Data", path: "model.weights" },
    { type: "Data", path: "model.onnx" },
  ];
  const { Miniflare } = createRequire(join(folder, "package.json"))("miniflare") as {
    Miniflare: new (options: object) => Isolate;
  };
  const isolate = new Miniflare({
    modulesRoot: modules,
    modules: [
      ...["isolate.js", ...scripts].map((name) => ({ type: "ESModule", path: join(modules, name) })),
      ...(await Promise.all(
        beside.map(async ({ type, path }) => ({
          type,
          path: join(modules, path),
          contents: await readFile(join(folder, path)),
        })),
      )),
    ],
    compatibilityDate: "2026-01-01",
  });
  try {
    const response = await isolate.dispatchFetch("http://localhost/");
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text;
  } finally {
    await isolate.dispose();
  }
}

await install();
const bin = (name: string): string => join(folder, "node_modules/.bin", name);
const runtimes: Record<string, () => Promise<string>> = {
  [`Node ${process.versions.node}`]: () => inProcess(process.execPath),
  [`Node ${packages.node}`]: () => inProcess(join(folder, "node_modules/node/bin/node")),
  [`Bun ${packages.bun}`]: () => inProcess(bin("bun")),
  [`Deno ${packages.deno}`]: () => inProcess(bin("deno"), ["run", "-A"]),
  workerd: inIsolate,
};
for (const [name, check] of Object.entries(runtimes)) {
  const result = await check().catch((e: Error) => {
    process.exitCode = 1;
    return `FAILED: ${e.message}`;
  });
  console.log(`${name.padEnd(14)} ${result}`);
}
