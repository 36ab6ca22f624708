/** Products with weights in blocks that have no kernel here take plain kernels, which unpack a few rows at a time. */
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { hasKernels } from "../../src/backends/wasm/kernels/quantized-matrix.ts";
import { graph } from "../../src/graph/define.ts";
import { compile } from "../../src/graph/session.ts";
import { quantizedMatmul } from "../../src/ops/quantized-matmul.ts";
import { type BlockType, type GgufType, ggufBytes, ggufTypes } from "../../src/tensor/blocks/types.ts";

const types = (Object.keys(ggufTypes) as GgufType[]).filter((t) => ggufTypes[t].blockSize > 1);

async function kernelOf(type: GgufType, given: boolean): Promise<string> {
  const w = { dtype: "u8", shape: [ggufBytes(type, 4 * 256)], data: new Uint8Array(ggufBytes(type, 4 * 256)) } as const;
  const attrs = { type: type.toLowerCase() as BlockType, n: 4, k: 256 };
  using session = await compile(
    graph(({ input, weight }) => ({
      y: quantizedMatmul(
        input("x", "f32", ["n", 256]),
        given ? input("w", "u8", w.shape) : weight(w),
        undefined,
        undefined,
        attrs,
      ),
    })),
    { device: wasm({ threads: 1 }) },
  );
  await session.run({ x: new Float32Array(256), ...(given ? { w } : {}) });
  return session.explain()[0].kernel;
}

test.each(types)("%s", async (type) => {
  const own = hasKernels(type.toLowerCase() as BlockType);
  expect(await kernelOf(type, false)).toMatch(own ? /^wasm\/quantizedMatmul/ : /^cpu\/quantizedMatmul/);
  expect(await kernelOf(type, true)).toMatch(/^cpu\/quantizedMatmul/);
});
