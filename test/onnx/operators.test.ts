/** The page of supported operators is what the lowering table says. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { haveSpecs, operatorsPage, operatorsPath, readmePath, readmeWithOperators } from "../../scripts/operators.ts";

if (!haveSpecs) console.log("operators page: skipped, no ../shared/onnx-spec");

test.skipIf(!haveSpecs)("docs/operators.md is up to date: npx tsx scripts/operators.ts", () => {
  expect(readFileSync(operatorsPath, "utf8")).toBe(operatorsPage());
});

test("the README's table of operators is current: npx tsx scripts/operators.ts", () => {
  const readme = readFileSync(readmePath, "utf8");
  expect(readmeWithOperators(readme)).toBe(readme);
  expect(readme).toContain("| ai.onnx |");
});
