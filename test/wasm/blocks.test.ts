/** Products with weights in blocks that have no kernel here take plain kernels, which unpack a few rows at a time. */
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { formats, packBlocks, packedBytes } from "../../src/backends/wasm/kernels/quantized-formats.ts";
import { hasKernels } from "../../src/backends/wasm/kernels/quantized-matrix.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { quantizedMatmul } from "../../src/ops/quantized-matmul.ts";
import { dequantize } from "../../src/tensor/blocks/dequantize.ts";
import { type BlockType, type GgufType, ggufBytes, ggufTypes } from "../../src/tensor/blocks/types.ts";
import { FormatError } from "../../src/tensor/errors.ts";

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

/** Where blocks have scales in f16. */
const scales: Partial<Record<BlockType, readonly number[]>> = {
  ...{ q4_0: [0], q4_1: [0, 2], q5_0: [0], q5_1: [0, 2], q8_0: [0] },
  ...{ q2_k: [80, 82], q3_k: [108], q4_k: [0, 2], q5_k: [0, 2], q6_k: [208] },
  ...{ iq4_nl: [0], iq4_xs: [0], iq2_xxs: [0] },
};

test("a block whose scale is infinite or no number is refused, where it would be taken for a finite one", async () => {
  expect(Object.keys(scales).sort()).toEqual(
    Object.keys(formats)
      .filter((t) => t !== "mxfp4")
      .sort(),
  );
  for (const [name, places] of Object.entries({ ...scales, mxfp4: [0] })) {
    const type = name as BlockType;
    const gguf = name.toUpperCase() as GgufType;
    const { blockSize, blockBytes } = ggufTypes[gguf];
    const [n, k] = [9, 3 * blockSize];
    const packed = new Uint8Array(packedBytes(formats[type]!, n, k));
    const bytes = new Uint8Array(ggufBytes(gguf, n * k)).fill(1);
    packBlocks(type, k, bytes, packed);
    // The last row's second block.
    const block = bytes.length - 2 * blockBytes;
    for (const at of places)
      for (const scale of type === "mxfp4" ? [0xffff] : [0x7c00, 0xfc00, 0x7e01]) {
        const damaged = bytes.slice();
        damaged.set([scale & 255, scale >> 8], block + at);
        if (type !== "mxfp4") expect(dequantize(gguf, damaged, n * k).every(Number.isFinite), name).toBe(false);
        expect(() => packBlocks(type, k, damaged, packed), name).toThrow(FormatError);
        expect(() => packBlocks(type, k, damaged, packed), name).toThrow(`${type}, rows of ${k}: `);
        expect(() => packBlocks(type, k, damaged, packed), name).toThrow("(block 1 of its row)");
      }
    // The largest that there are.
    if (type !== "mxfp4") for (const at of places) bytes.set([0xff, 0x7b], block + at);
    packBlocks(type, k, bytes, packed);
  }
});
