import { main } from "./main.ts";

// A reader that goes away (`| head`) is no error.
process.stdout.on("error", (e: NodeJS.ErrnoException) => process.exit(e.code === "EPIPE" ? 0 : 1));
process.exitCode = await main(process.argv.slice(2), process);
