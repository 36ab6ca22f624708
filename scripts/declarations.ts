/**
 * Marks the exports of `dist`'s declarations that are only types. tsup's bundler writes classes as if they were values, and
 * programs would compile that import one which no module exports.
 */
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { publicEntries, root } from "./bundle.ts";

const dist = join(root, "dist");
const require = createRequire(import.meta.url);

/** @param values what the module exports when it runs */
const withTypesMarked = (text: string, values: ReadonlySet<string>): string =>
  text.replaceAll(/^export \{ (.+) \}/gm, (_, list: string) => {
    const marked = list.split(", ").map((item) => {
      const name = item.split(" ").at(-1)!;
      return values.has(name) || item.startsWith("type ") ? item : `type ${item}`;
    });
    return `export { ${marked.join(", ")} }`;
  });

for (const name of Object.keys(publicEntries)) {
  const values = new Set(Object.keys(require(join(dist, `${name}.cjs`))));
  for (const extension of ["d.ts", "d.cts"]) {
    const path = join(dist, `${name}.${extension}`);
    await writeFile(path, withTypesMarked(await readFile(path, "utf8"), values));
  }
}
