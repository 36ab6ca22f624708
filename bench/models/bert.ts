/** A BERT-base encoder (Devlin et al., 2018) as exporters write it: [1, 128, 768] -> [1, 128, 768], random weights. */
import { OnnxWriter } from "./onnx-writer.ts";

export interface BertOptions {
  readonly layers?: number;
  readonly tokens?: number;
  readonly hidden?: number;
  readonly heads?: number;
  readonly seed?: number;
}

export function bert({ layers = 12, tokens = 128, hidden = 768, heads = 12, seed = 6 }: BertOptions = {}): Uint8Array {
  const m = new OnnxWriter("bert", seed);
  const width = hidden / heads;
  const scalar = (value: number): string => m.around([], value, 0);
  const linear = (x: string, from: number, to: number): string => {
    const product = m.node("MatMul", [x, m.weights([from, to], 3 * from)]);
    return m.node("Add", [m.around([to], 0, 0.1), product]);
  };
  const norm = (x: string): string =>
    m.node("LayerNormalization", [x, m.around([hidden], 1, 0.2), m.around([hidden], 0, 0.1)], {
      axis: -1,
      epsilon: 1e-12,
    });
  const headsOf = (x: string, perm: number[]): string => {
    const split = m.node("Reshape", [x, m.integers([1, tokens, heads, width])]);
    return m.node("Transpose", [split], { perm });
  };
  const gelu = (x: string): string => {
    const erf = m.node("Erf", [m.node("Div", [x, scalar(Math.SQRT2)])]);
    return m.node("Mul", [m.node("Mul", [x, m.node("Add", [erf, scalar(1)])]), scalar(0.5)]);
  };
  let x = norm(m.input("x", [1, tokens, hidden]));
  for (let i = 0; i < layers; i++) {
    const q = headsOf(linear(x, hidden, hidden), [0, 2, 1, 3]);
    const k = headsOf(linear(x, hidden, hidden), [0, 2, 3, 1]);
    const v = headsOf(linear(x, hidden, hidden), [0, 2, 1, 3]);
    const scores = m.node("Softmax", [m.node("Div", [m.node("MatMul", [q, k]), scalar(Math.sqrt(width))])], {
      axis: -1,
    });
    const mixed = m.node("Transpose", [m.node("MatMul", [scores, v])], { perm: [0, 2, 1, 3] });
    const joined = m.node("Reshape", [mixed, m.integers([1, tokens, hidden])]);
    x = norm(m.node("Add", [linear(joined, hidden, hidden), x]));
    x = norm(m.node("Add", [linear(gelu(linear(x, hidden, 4 * hidden)), 4 * hidden, hidden), x]));
  }
  return m.finish(x, [1, tokens, hidden]);
}
