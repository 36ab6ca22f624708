import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { ShapeError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { elements, evaluateAll, expectClose, tensor } from "./evaluate.ts";

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const exact = (t: HostTensor, want: readonly number[]): void => expectClose(t, want, 10);
const f64 = (values: Parameters<typeof tensor>[0]): HostTensor => tensor(values, "f64");

describe("rnn", () => {
  const [w, r] = [f64([[[0.5]]]), f64([[[2]]])];
  test("two steps by hand", () => {
    const [y, last] = evaluateAll(ops.rnn, [f64([[[1]], [[2]]]), w, r, f64([[0.1, 0.2]])]);
    const h1 = Math.tanh(0.5 + 0.3);
    const h2 = Math.tanh(1 + 2 * h1 + 0.3);
    exact(y, [h1, h2]);
    exact(last, [h2]);
  });
  test("reverse runs from each sample's own end and leaves padding 0", () => {
    const x = f64([
      [[1], [1]],
      [[2], [2]],
    ]);
    const [y, last] = evaluateAll(ops.rnn, [x, w, r, undefined, tensor([2, 1], "i32")], { direction: "reverse" });
    const first = Math.tanh(1);
    const second = Math.tanh(0.5 + 2 * first);
    const alone = Math.tanh(0.5);
    exact(y, [second, alone, first, 0]);
    exact(last, [second, alone]);
  });
});

describe("lstm", () => {
  test("one step by hand: gates in the order input, output, forget, cell", () => {
    const w = f64([[[0.1], [0.2], [0.3], [0.4]]]);
    const r = f64([[[0], [0], [0], [0]]]);
    const inputs = [f64([[[1]]]), w, r, undefined, undefined, f64([[[0]]]), f64([[[2]]])];
    const [y, h, c] = evaluateAll(ops.lstm, inputs);
    const cell = sigmoid(0.3) * 2 + sigmoid(0.1) * Math.tanh(0.4);
    exact(c, [cell]);
    exact(h, [sigmoid(0.2) * Math.tanh(cell)]);
    expect(elements(y)).toEqual(elements(h));
  });
  test("peepholes look at the cell: before for input and forget, after for output", () => {
    const zero = f64([[[0], [0], [0], [0]]]);
    const inputs = [f64([[[1]]]), zero, zero, undefined, undefined, f64([[[0]]]), f64([[[2]]]), f64([[0.1, 0.2, 0.3]])];
    const [, h, c] = evaluateAll(ops.lstm, inputs);
    const cell = sigmoid(0.6) * 2;
    exact(c, [cell]);
    exact(h, [sigmoid(0.2 * cell) * Math.tanh(cell)]);
  });
  test("clip bounds what goes into activations; inputForget couples two gates", () => {
    const w = f64([[[9], [9], [9], [9]]]);
    const r = f64([[[0], [0], [0], [0]]]);
    const inputs = [f64([[[1]]]), w, r, undefined, undefined, f64([[[0]]]), f64([[[2]]])];
    const [, , c] = evaluateAll(ops.lstm, inputs, { clip: 0.5, inputForget: true });
    exact(c, [(1 - sigmoid(0.5)) * 2 + sigmoid(0.5) * Math.tanh(0.5)]);
  });
});

describe("gru", () => {
  const [w, r] = [f64([[[0.1], [0.2], [0.3]]]), f64([[[0], [0], [0.5]]])];
  const bias = f64([[0, 0, 0, 0, 0, 0.7]]);
  const inputs = [f64([[[1]]]), w, r, bias, undefined, f64([[[2]]])];
  test("the reset gate scales the state", () => {
    const [, h] = evaluateAll(ops.gru, inputs);
    const candidate = Math.tanh(0.3 + sigmoid(0.2) * 2 * 0.5 + 0.7);
    exact(h, [(1 - sigmoid(0.1)) * candidate + sigmoid(0.1) * 2]);
  });
  test("or, with linearBeforeReset, the product and its bias", () => {
    const [, h] = evaluateAll(ops.gru, inputs, { linearBeforeReset: true });
    const candidate = Math.tanh(0.3 + sigmoid(0.2) * (2 * 0.5 + 0.7));
    exact(h, [(1 - sigmoid(0.1)) * candidate + sigmoid(0.1) * 2]);
  });
});

describe("all cells", () => {
  const make = (seed: number, ...shape: number[]): HostTensor => tensorFrom(seed, "f64", shape, { min: -1, max: 1 });
  const cells = [
    [ops.lstm, 4],
    [ops.gru, 3],
    [ops.rnn, 1],
  ] as const;
  test.each(cells)("bidirectional is forward beside reverse", (op, gates) => {
    const [x, w, r] = [make(1, 3, 2, 4), make(2, 2, gates * 5, 4), make(3, 2, gates * 5, 5)];
    const half = (t: HostTensor, d: number): HostTensor => {
      const size = t.data.length / 2;
      return { ...t, shape: [1, ...t.shape.slice(1)], data: toF64(t).slice(d * size, (d + 1) * size) };
    };
    const [both] = evaluateAll(op as typeof ops.rnn, [x, w, r], { direction: "bidirectional" });
    const [forward] = evaluateAll(op as typeof ops.rnn, [x, half(w, 0), half(r, 0)]);
    const [reverse] = evaluateAll(op as typeof ops.rnn, [x, half(w, 1), half(r, 1)], { direction: "reverse" });
    const interleaved = [0, 1, 2].flatMap((t) =>
      [forward, reverse].flatMap((y) => Array.from(toF64(y).subarray(t * 10, (t + 1) * 10))),
    );
    expect(elements(both)).toEqual(interleaved);
  });
  test.each(cells)("batchFirst permutes and nothing else", (op, gates) => {
    const [w, r] = [make(2, 1, gates * 5, 4), make(3, 1, gates * 5, 5)];
    const x = make(1, 1, 3, 4);
    const [first, last] = evaluateAll(op as typeof ops.rnn, [x, w, r], { batchFirst: true });
    const [plain] = evaluateAll(op as typeof ops.rnn, [{ ...x, shape: [3, 1, 4] }, w, r]);
    expect([first.shape, last.shape]).toEqual([
      [1, 3, 1, 5],
      [1, 1, 5],
    ]);
    expect(elements(first)).toEqual(elements(plain));
  });
  test.each(cells)("what does not fit", (op, gates) => {
    const [x, w, r] = [make(1, 3, 2, 4), make(2, 1, gates * 5, 4), make(3, 1, gates * 5, 5)];
    const run = (...inputs: (HostTensor | undefined)[]) => evaluateAll(op as typeof ops.rnn, inputs);
    expect(() => run(x, make(2, 1, gates * 5, 3), r)).toThrow(ShapeError);
    expect(() => run(x, w, make(3, 1, gates * 5, 6))).toThrow(ShapeError);
    expect(() => run(x, w, r, make(4, 1, gates * 5))).toThrow(ShapeError);
    expect(() => run(x, w, r, undefined, tensor([1], "i32"))).toThrow(ShapeError);
    expect(() => run(x, w, r, undefined, undefined, make(5, 1, 2, 6))).toThrow(ShapeError);
  });
});
