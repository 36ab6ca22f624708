/** The page of supported operators is what the lowering table says. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { haveSpecs, operatorsPage, operatorsPath, readmePath, readmeWithOperators } from "../../scripts/operators.ts";
import { families } from "../../src/formats/onnx/lower.ts";

if (!haveSpecs) console.log("operators page: skipped, no ../shared/onnx-spec");

test.skipIf(!haveSpecs)("docs/operators.md is up to date: npx tsx scripts/operators.ts", () => {
  expect(readFileSync(operatorsPath, "utf8")).toBe(operatorsPage());
});

test("the README's table of operators is current: npx tsx scripts/operators.ts", () => {
  const readme = readFileSync(readmePath, "utf8");
  expect(readmeWithOperators(readme)).toBe(readme);
  expect(readme).toContain("| ai.onnx |");
});

test("a family names exactly the operators that it has", async () => {
  for (const [types, load] of families) {
    const named = types.split(" ");
    const own = Object.keys(await load()).map((type) =>
      named.includes(type.replace(/[^:]*$/, "")) ? type.replace(/[^:]*$/, "") : type,
    );
    expect([...new Set(own)].sort()).toEqual(named.sort());
  }
});
