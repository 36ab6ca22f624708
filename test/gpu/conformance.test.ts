/**
 * The ONNX conformance cases on the GPU. Those of the core operators run without a fallback, but for doubles, which are no
 * type of shaders; less common operators run with the fallback to the host.
 */
import { describe, expect, test } from "vitest";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import { readManifest, runCase, skipped } from "../conformance/harness.ts";
import { installDawn } from "./dawn.ts";

/** What the device refuses by design. */
const refused: Readonly<Record<string, RegExp>> = {
  "webnn/clamp__clamp_uint64_1d_tensor_with_number_min_and_max": /does not fit in 32 bits/,
  "node/test_bitcast_int64_to_float64": /does not fit in 32 bits/,
};

const cases = readManifest()?.filter((c) => c.tier !== "exotic" && c.suite !== "light" && !skipped[c.id]);
if (!cases) console.log("conformance on webgpu: skipped, no ../shared/conformance");

describe.skipIf(!cases)("conformance on webgpu", async () => {
  await installDawn();
  const device = await openWebgpu();
  const withHost = await openWebgpu({ fallback: "cpu" });
  for (const c of cases ?? [])
    test(c.id, async () => {
      const wrong = await runCase(c, c.tier !== "core" || c.dtypes.includes("float64") ? withHost : device);
      if (refused[c.id]) expect(wrong).toMatch(refused[c.id]);
      else expect(wrong).toBeUndefined();
    });
});
