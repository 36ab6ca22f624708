/** Writes the JavaScript of `dist`. The declarations are tsup's and scripts/declarations.ts's: `npm run build` does all. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { root, writeDist } from "./bundle.ts";

const dist = join(root, "dist");
await rm(dist, { recursive: true, force: true });
await writeDist(dist);
