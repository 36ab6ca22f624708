/** Writes the JavaScript of `dist`. The declarations are tsup's: `npm run build` does both. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { barrel, bundle, cliEntry, entries, root } from "./bundle.ts";

const dist = join(root, "dist");
await rm(dist, { recursive: true, force: true });

for (const format of ["es", "cjs"] as const) {
  const chunks = await bundle(format === "es" ? { ...entries, cli: cliEntry } : entries, format);
  const files = [...chunks, { fileName: format === "es" ? "index.js" : "index.cjs", code: barrel[format] }];
  for (const { fileName, code } of files) {
    const path = join(dist, fileName);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, code);
  }
}
