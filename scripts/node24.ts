/** Runs vitest on Node 24, whose V8 has relaxed SIMD and leaves loads where they are, with these arguments: `npm run test:node24`. */
import { spawnSync } from "node:child_process";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFolder } from "./packages.ts";

const version = "24.21.0";
const system = process.platform === "win32" ? "win" : process.platform;
const folder = await packageFolder(`node-${system}-${process.arch}`, version);
const node = join(folder, "bin", system === "win" ? "node.exe" : "node");
await chmod(node, 0o755);
const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
const { status, error } = spawnSync(node, [vitest, ...process.argv.slice(2)], { stdio: "inherit" });
if (error) throw error;
process.exit(status ?? 1);
