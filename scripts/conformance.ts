/**
 * Passing conformance cases by tier, and the failing ones with what is wrong.
 * `npx tsx scripts/conformance.ts [filter ...] [--device cpu] [--quiet]`: a filter is part of an id or a whole operator name.
 */
import { parseArgs } from "node:util";
import type { DeviceName } from "../src/index.ts";
import { readManifest, runCase, skipped } from "../test/conformance/harness.ts";
import type { Case } from "../test/conformance/run.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { device: { type: "string", default: "cpu" }, quiet: { type: "boolean", default: false } },
});
const cases = readManifest();
if (!cases) throw new Error("the conformance cases are not beside this repository");

const matches = (c: Case): boolean =>
  positionals.length === 0 || positionals.some((f) => c.id.includes(f) || c.ops.includes(f));
const tiers = new Map<string, { passed: number; total: number }>();
for (const c of cases.filter(matches)) {
  const wrong = await runCase(c, values.device as DeviceName);
  if (wrong && skipped[c.id]) continue;
  if (wrong && !values.quiet) console.log(`FAIL ${c.id} [${c.tier}] ${wrong}`);
  for (const name of [c.tier, ...(c.coreF32 ? ["core f32"] : []), "all"]) {
    const tier = tiers.get(name) ?? { passed: 0, total: 0 };
    tiers.set(name, { passed: tier.passed + (wrong ? 0 : 1), total: tier.total + 1 });
  }
}
for (const [name, { passed, total }] of tiers) console.log(`${name}: ${passed} of ${total}`);
