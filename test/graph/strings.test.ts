/** Casts to strings read the number that there is: a 16-bit float has fewer digits than the f32 that devices compute with. */
import { expect, test } from "vitest";
import { load } from "../../src/index.ts";
import { encodeModel, node } from "../onnx/encode.ts";

for (const device of ["cpu", "wasm"] as const)
  test.each([true, false])(
    `an f16 becomes the shortest digits that read back, on ${device}, optimize %s`,
    async (optimize) => {
      const like = { dtype: "string" as const, shape: [1], data: ["as text"] };
      const model = encodeModel({
        opset: 18,
        nodes: [node("Cast", ["x"], ["a"], { to: { int: 8 } }), node("CastLike", ["x", "like"], ["b"])],
        initializers: { like },
        inputs: [{ name: "x", dtype: "f16", shape: [1] }],
        outputs: [
          { name: "a", dtype: "string" },
          { name: "b", dtype: "string" },
        ],
      });
      using session = await load(model, { device, optimize });
      const { a, b } = await session.run({ x: { dtype: "f16", shape: [1], data: Uint16Array.of(0x2e66) } });
      expect([a.data, b.data]).toEqual([["0.1"], ["0.1"]]);
    },
  );
