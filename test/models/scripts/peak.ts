/**
 * Runs a small model and lets go of it, then loads and runs a large one. Prints bytes: the most that was resident above
 * what was after the small one, and what the session holds by its plan. DEVICE SMALL LARGE: paths of ONNX files that take x.
 */

import { peakBytes } from "../../../bench/src/peak-bytes.ts";
import { load } from "../../../src/load.ts";

const [device, small, large] = process.argv.slice(2);
const x = { dtype: "f32", shape: [1, 3, 224, 224], data: new Float32Array(3 * 224 * 224).fill(0.5) } as const;

async function run(path: string): Promise<number> {
  const session = await load(path, { device: device as "cpu" });
  for (let i = 0; i < 3; i++) await session.run({ x });
  const { bytes } = session;
  session.dispose();
  return bytes;
}

await run(small);
(globalThis as { gc?: () => void }).gc?.();
const before = process.memoryUsage.rss();
const held = await run(large);
console.log(JSON.stringify({ peak: peakBytes() - before, held }));
process.exit(0);
