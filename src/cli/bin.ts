import { main } from "./main.ts";

// A reader that goes away (`| head`) is no error.
process.stdout.on("error", (e: NodeJS.ErrnoException) => process.exit(e.code === "EPIPE" ? 0 : 1));
void main(process.argv.slice(2), process).then((code) => {
  process.exitCode = code;
});
