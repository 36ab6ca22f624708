/**
 * Entry of `npm run bench`: installs the peers and builds the engine when they are missing, bundles the benchmarks,
 * and runs them on the caller's Node (`--node24`: on Node 24, `--markdown`: on both, one after the other).
 * `--gpu`, first: that of `npm run bench:gpu`, whose code runs unbundled.
 */
import { execSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("..", import.meta.url));
const node24 = `${here}node_modules/node/bin/node${process.platform === "win32" ? ".exe" : ""}`;
const args = process.argv.slice(2);
const gpu = args[0] === "--gpu";
/** Nothing is installed or built for it. */
const help = args.includes("--help");

if (process.env["FORWARDPASS_BENCH_READY"]) {
  await import(new URL(".cache/main.mjs", import.meta.url).href);
} else {
  await prepare();
  // npm puts node_modules/.bin, and so Node 24, first on the path: the caller's Node is the one that runs npm.
  const own = process.env["npm_node_execpath"] ?? process.execPath;
  if (gpu) {
    const { status } = spawnSync(own, ["--import", "tsx", `${here}src/gpu/main.ts`, ...args.slice(1)], {
      cwd: here,
      stdio: "inherit",
    });
    process.exit(status ?? 1);
  }
  const chosen = args.includes("--node24") ? [node24] : args.includes("--markdown") ? [own, node24] : [own];
  for (const node of chosen) {
    const options = node === own ? process.execArgv : [];
    const rest = args.filter((a) => a !== "--node24");
    const { status } = spawnSync(node, [...options, fileURLToPath(import.meta.url), ...rest], {
      stdio: "inherit",
      env: { ...process.env, FORWARDPASS_BENCH_READY: "1" },
    });
    if (status !== 0) process.exit(status ?? 1);
  }
}

async function prepare() {
  if (gpu && help) return;
  const needed = ["onnxruntime-web", gpu ? "@tensorflow/tfjs-backend-webgpu" : "node-llama-cpp"];
  const isMissing = !needed.every((name) => existsSync(`${here}node_modules/${name}`));
  if (help && isMissing) {
    console.error(
      "bench: the help is there once the peers are (about 1 GB), which a run installs; bench/README.md has examples",
    );
    process.exit(1);
  }
  if (isMissing) {
    console.error("bench: installing the peers (about 1 GB, once) ...");
    // onnxruntime-node would fetch CUDA libraries, node-llama-cpp the sources of llama.cpp.
    // Not `npm ci`: a lock file made where some platforms' packages of a peer are missing does not pass there.
    shell("npm install --no-audit --no-fund", here, {
      ONNXRUNTIME_NODE_INSTALL: "skip",
      NODE_LLAMA_CPP_SKIP_DOWNLOAD: "true",
    });
  }
  if (!help && !process.env["FORWARDPASS_DIST"] && !existsSync(`${root}dist/index.js`)) {
    console.error("bench: building forwardpass ...");
    shell("npm run build", root);
  }
  if (gpu) return;
  const { build } = await import("esbuild");
  await build({
    absWorkingDir: here,
    entryPoints: ["src/main.ts", "src/fresh.ts", "src/decode-engine.ts", "src/lm-engine.ts"],
    outdir: ".cache",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    sourcemap: true,
    logLevel: "warning",
  });
}

function shell(command, cwd, env = {}) {
  execSync(command, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", 2, 2] });
}
