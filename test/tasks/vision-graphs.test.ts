/** Classifiers and detectors of images as exporters leave them: small graphs made here. */
import { describe, expect, test } from "vitest";
import { imageClassification } from "../../src/tasks/image-classification.ts";
import { UnsupportedOpError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { encodeModel, type NodeSpec, node } from "../onnx/encode.ts";

const options = { device: "wasm", threads: 1 } as const;
const f32 = (shape: number[], ...values: number[]): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});
const image = { width: 4, height: 4, data: new Uint8Array(48).map((_, i) => (i * 37) % 256) };
type Dims = (number | string)[];

/** Means of the three channels, times 1, 2 and 3, then what `end` makes of "l". */
const classifier = (end: NodeSpec[], dtype: "f16" | "f32" | "i64" = "f32", shape: Dims = ["b", 3, 4, 4]) =>
  encodeModel({
    inputs: [{ name: "pixel_values", dtype: "f32", shape }],
    initializers: {
      w: f32([3, 3], 1, 0, 0, 0, 2, 0, 0, 0, 3),
      axes: hostTensor(BigInt64Array.of(2n, 3n)),
      flat: hostTensor(BigInt64Array.of(3n)),
    },
    nodes: [
      node("ReduceMean", ["pixel_values", "axes"], ["m"], { keepdims: { int: 0 } }),
      node("MatMul", ["m", "w"], ["l"]),
      ...end,
    ],
    outputs: [{ name: "logits", dtype }],
  });
const cast = (from: string, to: string, dtype: number) => node("Cast", [from], [to], { to: { int: dtype } });
const [toF32, toI64, toF16] = [1, 7, 10];

/** In the order of the classes. */
async function scoresOf(model: Uint8Array, given: object = {}): Promise<number[]> {
  using opened = await imageClassification(model, { ...options, ...given });
  return (await opened.classify(image)).sort((a, b) => a.index - b.index).map((s) => s.score);
}
const close = (got: readonly number[], want: readonly number[], digits: number): void => {
  expect(got).toHaveLength(want.length);
  got.forEach((v, i) => {
    expect(v).toBeCloseTo(want[i], digits);
  });
};

describe("scores of classes", () => {
  test.each<[string, NodeSpec[]]>([
    ["nothing", [node("Softmax", ["l"], ["logits"])]],
    ["Identity", [node("Softmax", ["l"], ["s"]), node("Identity", ["s"], ["logits"])]],
    ["Reshape", [node("Softmax", ["l"], ["s"]), node("Reshape", ["s", "flat"], ["logits"])]],
    ["Flatten", [node("Softmax", ["l"], ["s"]), node("Flatten", ["s"], ["logits"])]],
    ["Cast", [cast("l", "h", toF16), node("Softmax", ["h"], ["s"]), cast("s", "logits", toF32)]],
    [
      "Cast and Reshape",
      [
        cast("l", "h", toF16),
        node("Softmax", ["h"], ["s"]),
        cast("s", "c", toF32),
        node("Reshape", ["c", "flat"], ["logits"]),
      ],
    ],
  ])("a softmax with %s behind it counts once", async (_, end) => {
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]));
    close(await scoresOf(classifier(end)), want, 3);
  });

  test("a sigmoid with Cast behind it counts once", async () => {
    const end = [cast("l", "h", toF16), node("Sigmoid", ["h"], ["s"]), cast("s", "logits", toF32)];
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]), { scoring: "sigmoid" });
    close(await scoresOf(classifier(end)), want, 3);
  });

  test("half floats are numbers; integers are no scores", async () => {
    const want = await scoresOf(classifier([node("Identity", ["l"], ["logits"])]));
    close(await scoresOf(classifier([cast("l", "logits", toF16)], "f16")), want, 3);
    const whole = scoresOf(classifier([cast("l", "logits", toI64)], "i64"));
    await expect(whole).rejects.toThrow(UnsupportedOpError);
    await expect(whole).rejects.toThrow(/output "logits" is i64\[1,3\]/);
  });
});
