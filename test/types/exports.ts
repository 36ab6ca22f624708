/** `tsx test/types/exports.ts`, after a build: each entry's declarations say that there is what its modules export. */
import { deepEqual } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import ts from "typescript";
import { root } from "../../scripts/bundle.ts";

const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, Record<"import" | "require", { types: string; default: string }>>;
};
const entries = Object.values(exports)
  .filter((entry) => typeof entry === "object")
  .flatMap((entry) =>
    [entry.import, entry.require].map(({ types }) => [join(root, types), join(root, entry.require.default)]),
  );
const program = ts.createProgram(
  entries.map(([types]) => types),
  { module: ts.ModuleKind.Node16, types: [], noLib: true },
);
const checker = program.getTypeChecker();
for (const [types, module] of entries) {
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(types)!)!;
  // Only what can be read: exports that are types alone are no properties of the module.
  const all = checker.getTypeOfSymbol(symbol);
  const names = checker.getExportsOfModule(symbol).map((s) => s.name);
  const values = names.filter((name) => checker.getPropertyOfType(all, name));
  deepEqual(values.sort(), Object.keys(createRequire(import.meta.url)(module)).sort(), types);
}
console.log(`${entries.length} declarations have the values of their modules`);
