/**
 * One step of decoding with a Llama in f32, as exporters write it: the embedding of a token and the keys and values of
 * those before go in, scores of the next one come out. Random weights; the widths of `llama`.
 */
import { llama } from "./llama-shape.ts";
import { OnnxWriter } from "./onnx-writer.ts";

export interface LlamaStep {
  readonly onnx: Uint8Array;
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Of weights, keys and values. */
  readonly bytes: number;
}

export function llamaStep(layers: number, past: number, vocabulary: number = llama.vocabulary): LlamaStep {
  const { width, heads, kvHeads, hidden } = llama;
  const headWidth = width / heads;
  const half = headWidth / 2;
  const kvWidth = headWidth * kvHeads;
  const m = new OnnxWriter("llama-step", 8);
  const inputs: Record<string, number[]> = {};
  let weights = 0;
  const input = (name: string, shape: number[]): string => {
    inputs[name] = shape;
    return m.input(name, shape);
  };
  const linear = (x: string, from: number, to: number): string => {
    weights += from * to;
    return m.node("MatMul", [x, m.weights([from, to], 3 * from)]);
  };
  const norm = (x: string): string => {
    const mean = m.node("ReduceMean", [m.node("Mul", [x, x])], { axes: [-1], keepdims: 1 });
    const root = m.node("Sqrt", [m.node("Add", [mean, m.around([], 1e-5, 0)])]);
    return m.node("Mul", [m.node("Div", [x, root]), m.around([width], 1, 0.2)]);
  };
  const slice = (x: string, from: number, to: number): string =>
    m.node("Slice", [x, m.integers([from]), m.integers([to]), m.integers([3])]);
  const [cosine, sine] = [m.around([headWidth], 0.7, 0.2), m.around([headWidth], 0.7, 0.2)];
  const rotated = (x: string): string => {
    const turned = m.node("Concat", [m.node("Neg", [slice(x, half, headWidth)]), slice(x, 0, half)], { axis: -1 });
    return m.node("Add", [m.node("Mul", [x, cosine]), m.node("Mul", [turned, sine])]);
  };
  const shaped = (x: string, shape: number[]): string => m.node("Reshape", [x, m.integers(shape)]);
  const extended = (name: string, now: string): string =>
    m.node("Concat", [input(name, [1, kvHeads, past, headWidth]), now], { axis: 2 });

  let x = input("x", [1, 1, width]);
  for (let i = 0; i < layers; i++) {
    const normed = norm(x);
    // The heads that share keys are rows of one product.
    const q = rotated(shaped(linear(normed, width, width), [1, kvHeads, heads / kvHeads, headWidth]));
    const keys = extended(`k${i}`, rotated(shaped(linear(normed, width, kvWidth), [1, kvHeads, 1, headWidth])));
    const values = extended(`v${i}`, shaped(linear(normed, width, kvWidth), [1, kvHeads, 1, headWidth]));
    const turned = m.node("Transpose", [keys], { perm: [0, 1, 3, 2] });
    const scores = m.node("Mul", [m.node("MatMul", [q, turned]), m.around([], 1 / Math.sqrt(headWidth), 0)]);
    const mixed = m.node("MatMul", [m.node("Softmax", [scores], { axis: -1 }), values]);
    x = m.node("Add", [x, linear(shaped(mixed, [1, 1, width]), width, width)]);
    const second = norm(x);
    const gate = linear(second, width, hidden);
    const gated = m.node("Mul", [m.node("Mul", [gate, m.node("Sigmoid", [gate])]), linear(second, width, hidden)]);
    x = m.node("Add", [x, linear(gated, hidden, width)]);
  }
  const onnx = m.finish(linear(norm(x), width, vocabulary), [1, 1, vocabulary]);
  return { onnx, inputs, bytes: 4 * (weights + 2 * layers * past * kvWidth) };
}
