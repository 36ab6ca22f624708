/** Every ONNX conformance case beside this repository, on every device that hosts can have. */
import { afterAll, describe, expect, test } from "vitest";
import type { DeviceChoice } from "../src/index.ts";
import { readManifest, runCase, skipped } from "./conformance/harness.ts";
import { wasmDevices } from "./wasm/workers.ts";

const devices: Record<string, () => DeviceChoice> = { cpu: () => "cpu", ...(await wasmDevices()) };
/** The heavy public graphs run on these: the others differ in how kernels are emitted, not in what a model is. */
const light = ["cpu", "wasm"];
const cases = readManifest();
if (!cases) console.log("conformance: skipped, no ../shared/conformance");

describe.skipIf(!cases).each(Object.entries(devices))("conformance on %s", (name, open) => {
  const device = open();
  const passed = new Map<string, number>();
  const total = new Map<string, number>();
  const count = (of: Map<string, number>, key: string): Map<string, number> => of.set(key, (of.get(key) ?? 0) + 1);

  for (const c of (cases ?? []).filter((c) => light.includes(name) || c.suite !== "light"))
    test.skipIf(skipped[c.id])(
      c.id,
      async () => {
        const tiers = [c.tier, ...(c.coreF32 ? ["core f32"] : []), "all"];
        for (const t of tiers) count(total, t);
        expect(await runCase(c, device)).toBeUndefined();
        for (const t of tiers) count(passed, t);
        // Nearly all take milliseconds; VGG-19 is 20 billion multiplications.
      },
      120_000,
    );

  afterAll(() => {
    const line = [...total].map(([tier, n]) => `${tier} ${passed.get(tier) ?? 0} of ${n}`);
    console.log(`conformance on ${name}: ${line.join(", ")}; skipped ${Object.keys(skipped).length}`);
  });
});

test("the skip list names cases that exist", () => {
  const ids = new Set(cases?.map((c) => c.id));
  if (cases) expect(Object.keys(skipped).filter((id) => !ids.has(id))).toEqual([]);
});
