import { setFlagsFromString } from "node:v8";
import { main } from "./main.ts";
import { reasonOf } from "./system.ts";

// Node 20 has relaxed SIMD behind a flag. Weights in 4 bits make 1.4 to 1.6 times as many tokens with it.
if (process.versions.v8?.startsWith("11.3.") && process.arch === "x64")
  setFlagsFromString("--experimental-wasm-relaxed-simd");

process.stdout.on("error", (e: NodeJS.ErrnoException) => {
  // A reader that goes away (`| head`) is no error.
  if (e.code === "EPIPE") process.exit(0);
  process.stderr.write(`forwardpass: cannot write the standard output: ${reasonOf(e)}\n`);
  process.exit(1);
});
// What is written there goes with the result: a reader that closed it, or a terminal (EIO), does not undo that.
process.stderr.on("error", (e: NodeJS.ErrnoException) => {
  if (e.code !== "EPIPE" && e.code !== "EIO") process.exit(1);
});
void main(process.argv.slice(2), process).then((code) => {
  process.exitCode = code;
  // Hung up: Node aborts when it ends without its terminal, the signal itself ends it in peace.
  if (code === 129) process.kill(process.pid, "SIGHUP");
});
