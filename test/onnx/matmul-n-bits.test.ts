/** Weights of a few bits in ONNX files are multiplied as they are, in the blocks that have kernels. */
import { describe, expect, test } from "vitest";
import { load } from "../../src/index.ts";
import { matmulNBits } from "../../src/ops/matmul-n-bits.ts";
import { fromF64, toF64 } from "../../src/tensor/convert.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { encodeModel } from "./encode.ts";

interface Form {
  rows?: number;
  blockSize?: number;
  zeroPoints?: boolean;
  bias?: boolean;
  level?: number;
  dtype?: "f32" | "f16";
  scale?: number;
  bits?: number;
}

const [k, n] = [128, 40];
const bytes = (seed: number, length: number): HostTensor => {
  const data = Uint8Array.from(tensorFrom(seed, "f32", [length], { min: 0, max: 255.99 }).data as Float32Array);
  return { dtype: "u8", shape: [length], data };
};
const floats = (seed: number, dtype: "f32" | "f16", shape: number[], min: number, max: number): HostTensor => {
  const t = emptyTensor({ dtype, shape });
  fromF64(toF64(tensorFrom(seed, "f32", shape, { min, max })), t);
  return t;
};

async function compare(device: "cpu" | "wasm", form: Form) {
  const { rows = 1, blockSize = 32, zeroPoints, bias, level = 0, dtype = "f32", scale = 0.06, bits = 4 } = form;
  const blocks = k / blockSize;
  const x = floats(1, dtype, [1, rows, k], -1, 1);
  const b = bytes(2, (n * k * bits) / 8);
  const scales = floats(3, dtype, [n * blocks], scale / 3, scale);
  const zeros = zeroPoints ? bytes(4, n * Math.ceil(blocks / 2)) : undefined;
  const shift = bias ? floats(5, dtype, [n], -1, 1) : undefined;
  const initializers: Record<string, HostTensor> = { b, scales, ...(zeros && { zeros }), ...(shift && { shift }) };
  const model = encodeModel({
    domains: { "com.microsoft": 1 },
    nodes: [
      {
        type: "MatMulNBits",
        domain: "com.microsoft",
        inputs: ["x", "b", "scales", zeros ? "zeros" : "", "", shift ? "shift" : ""],
        outputs: ["y"],
        attributes: {
          K: { int: k },
          N: { int: n },
          bits: { int: bits },
          block_size: { int: blockSize },
          accuracy_level: { int: level },
        },
      },
    ],
    inputs: [{ name: "x", dtype, shape: [1, "rows", k] }],
    outputs: [{ name: "y", dtype, shape: [1, "rows", n] }],
    initializers,
  });
  const session = await load(model, { device, threads: 1 });
  const { y } = await session.run({ x });
  const want = emptyTensor({ dtype, shape: [1, rows, n] });
  matmulNBits.op.reference!([x, b, scales, zeros, undefined, shift], { k, n, blockSize, bits }, [want]);
  const [got, expected] = [toF64(y), toF64(want)];
  let [error, norm] = [0, 0];
  expected.forEach((v, i) => {
    error = Math.max(error, Math.abs(got[i] - v));
    norm = Math.max(norm, Math.abs(v));
  });
  const kernels = session.explain().map((s) => s.kernel);
  session.dispose();
  return { error: error / norm, kernels };
}

describe.each(["cpu", "wasm"] as const)("on %s", (device) => {
  test.each<[string, Form]>([
    ["blocks of 32", {}],
    ["several rows", { rows: 7 }],
    ["blocks of 128", { blockSize: 128 }],
    ["blocks of 64 with zero points", { blockSize: 64, zeroPoints: true }],
    ["an odd number of blocks' zero points, bias", { blockSize: 128, zeroPoints: true, bias: true, rows: 3 }],
    ["f16", { dtype: "f16", zeroPoints: true, bias: true }],
  ])("%s: activations as they are", async (_, form) => {
    const { error, kernels } = await compare(device, form);
    // Scales are rounded to f16.
    expect(error).toBeLessThan(form.dtype === "f16" ? 2e-3 : 1e-3);
    expect(kernels.some((name) => name.startsWith(`${device}/quantizedMatmul`))).toBe(true);
    expect(kernels).not.toContain("wasm/quantizedMatmul/dot");
  });

  test("accuracy_level 4 lets kernels round activations to 8 bits", async () => {
    const { error, kernels } = await compare(device, { level: 4, zeroPoints: true });
    expect(error).toBeLessThan(2e-2);
    if (device === "wasm") expect(kernels).toContain("wasm/quantizedMatmul/dot");
  });

  test.each<[string, Form]>([
    ["blocks of 16", { blockSize: 16 }],
    ["scales too small for f16", { scale: 1e-5 }],
    ["8 bits", { bits: 8 }],
  ])("%s stay as they are", async (_, form) => {
    const { error, kernels } = await compare(device, form);
    expect(error).toBeLessThan(1e-5);
    expect(kernels.some((name) => name.includes("matmulNBits"))).toBe(true);
  });
});
