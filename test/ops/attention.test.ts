import { describe, expect, test } from "vitest";
import type { AttentionAttrs } from "../../src/ops/attention.ts";
import * as ops from "../../src/ops/index.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { type HostTensor, reshaped } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { elements, evaluate, evaluateAll, tensor } from "./evaluate.ts";

const random = (seed: number, ...shape: number[]): HostTensor => tensorFrom(seed, "f64", shape, { min: -1, max: 1 });

/** One head, one element a token: scores are products of numbers. */
const tokens = (...values: number[]): HostTensor => tensor([[values.map((v) => [v])]], "f64");
const attend = (inputs: (HostTensor | undefined)[], attrs: AttentionAttrs = {}): number[] =>
  Array.from(toF64(evaluate(ops.attention, inputs, attrs)));

function expectClose(got: ArrayLike<number>, want: ArrayLike<number>): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < got.length; i++) expect(got[i]).toBeCloseTo(want[i], 10);
}

describe("attention", () => {
  const q = tokens(0, 0, 0);
  const k = tokens(1, 2, 3);
  const v = tokens(3, 6, 12);
  test("equal scores average the values", () => {
    expectClose(attend([q, k, v]), [7, 7, 7]);
  });
  test("weights are the softmax of the scaled scores", () => {
    const e = [1, 2, 3].map((s) => Math.exp(0.5 * s));
    const want = (3 * e[0] + 6 * e[1] + 12 * e[2]) / (e[0] + e[1] + e[2]);
    expectClose(attend([tokens(1), k, v], { scale: 0.5 }), [want]);
    const capped = [1, 2, 3].map((s) => Math.exp(2 * Math.tanh((0.5 * s) / 2)));
    const cappedWant = (3 * capped[0] + 6 * capped[1] + 12 * capped[2]) / (capped[0] + capped[1] + capped[2]);
    expectClose(attend([tokens(1), k, v], { scale: 0.5, softcap: 2 }), [cappedWant]);
  });
  test("causal, windows and their offset", () => {
    expectClose(attend([q, k, v], { causal: true }), [3, 4.5, 7]);
    expectClose(attend([q, k, v], { leftWindow: 0, rightWindow: 1 }), [4.5, 9, 12]);
    const one = (offset: number) =>
      attend([tokens(0), k, v, undefined, undefined, tensor([BigInt(offset)])], { causal: true });
    expectClose(one(0), [3]);
    expectClose(one(1), [4.5]);
    expectClose(one(-1), [0]);
  });
  test("keys beyond the length are not seen; with causal the queries are the last of them", () => {
    expectClose(attend([q, k, v, undefined, tensor([2n])]), [4.5, 4.5, 4.5]);
    expectClose(attend([tokens(0, 0), k, v, undefined, tensor([3n])], { causal: true }), [4.5, 7]);
    // More queries than keys: the leading ones see nothing.
    expectClose(attend([q, k, v, undefined, tensor([2n])], { causal: true }), [0, 3, 4.5]);
  });
  test("masks: bool selects, numbers are added, columns that are missing are hidden", () => {
    expectClose(attend([q, k, v, tensor([[true, false, true]])]), [7.5, 7.5, 7.5]);
    expectClose(attend([q, k, v, tensor([[true, true]])]), [4.5, 4.5, 4.5]);
    expectClose(attend([q, k, v, tensor([[0, 0, -Infinity]], "f64")]), [4.5, 4.5, 4.5]);
    expectClose(attend([q, k, v, tensor([[Math.log(2), 0, -Infinity]], "f64")]), [4, 4, 4]);
    expectClose(
      attend([
        q,
        k,
        v,
        tensor([
          [false, false, false],
          [true, false, false],
          [true, true, true],
        ]),
      ]),
      [0, 3, 7],
    );
  });
  test("a sink takes weight and gives nothing", () => {
    expectClose(attend([tokens(0), tokens(0), tokens(6), undefined, undefined, undefined, tensor([0], "f64")]), [3]);
  });
  test("packed heads are the same as heads apart", () => {
    const [b, s, h, d] = [2, 3, 4, 5];
    const packed = [1, 2, 3].map((seed) => random(seed, b, s, h * d));
    const apart = packed.map((x) => evaluate(ops.transpose, [reshaped(x, [b, s, h, d])], { perm: [0, 2, 1, 3] }));
    const y = evaluate(ops.attention, apart);
    const back = evaluate(ops.transpose, [y], { perm: [0, 2, 1, 3] });
    const got = evaluate(ops.attention, packed, { heads: h });
    expect(got.shape).toEqual([b, s, h * d]);
    expect(elements(got)).toEqual(elements(back));
  });
  test("grouped heads share keys", () => {
    const [q, k, v] = [random(1, 1, 4, 2, 3), random(2, 1, 2, 5, 3), random(3, 1, 2, 5, 3)];
    const repeat = (x: HostTensor) =>
      evaluate(
        ops.concat,
        [0, 0, 1, 1].map((h) => evaluate(ops.slice, [x, tensor([BigInt(h)]), tensor([BigInt(h + 1)]), tensor([1n])])),
        { axis: 1 },
      );
    expect(attend([q, k, v])).toEqual(attend([q, repeat(k), repeat(v)]));
  });
  test("the stages of scores", () => {
    const at = (stage: "scaled" | "capped" | "masked" | "probabilities") =>
      Array.from(
        toF64(
          evaluate(ops.attentionScores, [tokens(1), tokens(1, 2), tokens(0, 0), tensor([[true, false]])], {
            stage,
            softcap: 1,
            scale: 2,
          }),
        ),
      );
    expectClose(at("scaled"), [2, 4]);
    expectClose(at("capped"), [Math.tanh(2), Math.tanh(4)]);
    expect(at("masked")).toEqual([at("capped")[0], -Infinity]);
    expect(at("probabilities")).toEqual([1, 0]);
  });
  test("what does not fit", () => {
    const x = random(1, 1, 2, 3, 4);
    expect(() => attend([x, random(1, 1, 2, 3, 5), x])).toThrow(ShapeError);
    expect(() => attend([x, random(1, 1, 3, 3, 4), random(1, 1, 3, 3, 4)])).toThrow(ShapeError);
    expect(() => attend([x, x, random(1, 1, 2, 4, 4)])).toThrow(ShapeError);
    expect(() => attend([random(1, 1, 3, 8), random(1, 1, 3, 8), random(1, 1, 3, 8)])).toThrow(ShapeError);
    expect(() => attend([x, x, x, tensor([[true, true]])], {})).not.toThrow();
    expect(() => attend([x, x, x, random(2, 4, 3)])).toThrow(ShapeError);
    expect(() => attend([x, x, x, undefined, tensor([1.5])])).toThrow(DTypeError);
  });
});

describe("rotaryEmbedding", () => {
  const [cos, sin] = [tensor([[1], [0]], "f64"), tensor([[0], [1]], "f64")];
  test("rotates pairs by the angle of their position", () => {
    const x = tensor(
      [
        [
          [
            [1, 2],
            [3, 4],
          ],
        ],
      ],
      "f64",
    );
    const y = evaluate(ops.rotaryEmbedding, [x, cos, sin, tensor([[0n, 1n]])]);
    expect(elements(y)).toEqual([1, 2, -4, 3]);
    expect(elements(evaluate(ops.rotaryEmbedding, [x, cos, sin, tensor([0n])]))).toEqual([1, 2, -4, 3]);
  });
  test("halves or neighbours; the rest of a head stays", () => {
    const turn = [tensor([[[0, 0]]], "f64"), tensor([[[1, 1]]], "f64")];
    const x = tensor([[[[1, 2, 3, 4, 9]]]], "f64");
    expect(elements(evaluate(ops.rotaryEmbedding, [x, ...turn]))).toEqual([-3, -4, 1, 2, 9]);
    expect(elements(evaluate(ops.rotaryEmbedding, [x, ...turn], { interleaved: true }))).toEqual([-2, 1, -4, 3, 9]);
  });
  test("keeps lengths and, between two tokens, depends on their distance alone", () => {
    const angle = (p: number) => [p, p / 3];
    const table = (f: (a: number) => number) =>
      tensor(
        Array.from({ length: 9 }, (_, p) => angle(p).map(f)),
        "f64",
      );
    const rotate = (x: HostTensor, p: number) =>
      toF64(evaluate(ops.rotaryEmbedding, [x, table(Math.cos), table(Math.sin), tensor([BigInt(p)])]));
    const dot = (a: Float64Array, b: Float64Array) => a.reduce((s, v, i) => s + v * b[i], 0);
    const [q, k] = [random(1, 1, 1, 1, 4), random(2, 1, 1, 1, 4)];
    expect(dot(rotate(q, 5), rotate(q, 5))).toBeCloseTo(dot(toF64(q), toF64(q)), 10);
    expect(dot(rotate(q, 5), rotate(k, 2))).toBeCloseTo(dot(rotate(q, 8), rotate(k, 5)), 10);
  });
  test("positions outside the table", () => {
    expect(() => evaluate(ops.rotaryEmbedding, [random(1, 1, 1, 1, 2), cos, sin, tensor([2n])])).toThrow(
      "rotaryEmbedding: position 2 is outside a table of 2",
    );
    expect(() => evaluate(ops.rotaryEmbedding, [random(1, 1, 1, 1, 2), cos, sin])).toThrow(ShapeError);
  });
});

describe("state between calls", () => {
  test("linearAttention by tokens is linearAttention at once", () => {
    const attrs = { heads: 2, kvHeads: 1 };
    const make = (seed: number, last: number) => random(seed, 1, 4, last);
    const [q, k, v, decay, beta] = [make(1, 6), make(2, 3), make(3, 2), make(4, 3), make(5, 1)];
    const [whole, last] = evaluateAll(ops.linearAttention, [q, k, v, undefined, decay, beta], attrs);
    let state: HostTensor | undefined;
    const parts: number[] = [];
    for (let t = 0; t < 4; t++) {
      const at = (x: HostTensor) =>
        evaluate(ops.slice, [x, tensor([BigInt(t)]), tensor([BigInt(t + 1)]), tensor([1n])]);
      const [y, next] = evaluateAll(ops.linearAttention, [at(q), at(k), at(v), state, at(decay), at(beta)], attrs);
      parts.push(...toF64(y));
      state = next;
    }
    expectClose(parts, toF64(whole));
    expectClose(toF64(state!), toF64(last));
  });
  test("the delta rule recalls what it wrote", () => {
    const key = tensor([[[0.6, 0.8]]], "f64");
    const one = tensor([[[1]]], "f64");
    const inputs = [key, key, tensor([[[7]]], "f64"), undefined, undefined, one];
    const [y] = evaluateAll(ops.linearAttention, inputs, { heads: 1, kvHeads: 1, updateRule: "delta", scale: 1 });
    expectClose(toF64(y), [7]);
    expect(() => evaluate(ops.linearAttention, inputs, { heads: 1, kvHeads: 1 })).toThrow(ShapeError);
  });
  test("causalConv in two calls is causalConv in one", () => {
    const [x, w] = [random(1, 2, 3, 7), random(2, 3, 1, 4)];
    const cut = (from: number, to: number) =>
      evaluate(ops.slice, [x, tensor([BigInt(from)]), tensor([BigInt(to)]), tensor([2n])]);
    const [whole, last] = evaluateAll(ops.causalConv, [x, w]);
    const [first, state] = evaluateAll(ops.causalConv, [cut(0, 2), w]);
    const [second, end] = evaluateAll(ops.causalConv, [cut(2, 7), w, undefined, state]);
    expectClose(toF64(evaluate(ops.concat, [first, second], { axis: 2 })), toF64(whole));
    expect(elements(end)).toEqual(elements(last));
  });
  test("appendCache writes after what each sample has", () => {
    const past = tensor([[[[1], [2], [0]]], [[[3], [0], [0]]]]);
    const x = tensor([[[[8]]], [[[9]]]]);
    const y = evaluate(ops.appendCache, [x, tensor([3, 2], "i32"), tensor(3n), past]);
    expect([y.shape, elements(y)]).toEqual([
      [2, 1, 3, 1],
      [1, 2, 8, 3, 9, 0],
    ]);
    const longer = evaluate(ops.appendCache, [x, tensor([4, 2], "i32"), tensor(4n), past]);
    expect(elements(longer)).toEqual([1, 2, 0, 8, 3, 9, 0, 0]);
    expect(elements(evaluate(ops.cacheStart, [x, tensor([4, 2], "i32"), tensor(4n)]))).toEqual([3n, 1n]);
    expect(() => evaluate(ops.appendCache, [x, tensor([9, 2], "i32"), tensor(4n), past])).toThrow(ShapeError);
    expect(() => evaluate(ops.appendCache, [x, tensor([3, 2], "i32"), tensor(0n), past])).toThrow(
      "appendCache: 1 tokens come, and there are 0 after them",
    );
    expect(() => evaluate(ops.cacheStart, [x, tensor([3, 2], "i32"), tensor(-3n)])).toThrow(ShapeError);
  });
  test("a first call starts every sample at 0, padding included", () => {
    const x = tensor([[[[1], [2]]], [[[3], [0]]]]);
    expect(elements(evaluate(ops.cacheStart, [x, tensor([2, 1], "i32"), tensor(2n)]))).toEqual([0n, 0n]);
    expect(elements(evaluate(ops.appendCache, [x, tensor([2, 1], "i32"), tensor(2n)]))).toEqual([1, 2, 3, 0]);
    for (const wrong of [-1, 0, 3])
      expect(() => evaluate(ops.appendCache, [x, tensor([2, wrong], "i32"), tensor(2n)])).toThrow(
        `appendCache: a length is ${wrong}, of 2 at most`,
      );
  });
  test("keyPaddingMask from lengths and from flags", () => {
    const k = random(1, 2, 1, 3, 4);
    const y = evaluate(ops.keyPaddingMask, [tensor([1, 3], "i32"), k]);
    expect([y.shape, elements(y)]).toEqual([
      [2, 1, 1, 3],
      [1, 0, 0, 1, 1, 1],
    ]);
    expect(
      evaluate(ops.keyPaddingMask, [
        tensor(
          [
            [1, 0, 1],
            [1, 1, 1],
          ],
          "i32",
        ),
        k,
      ]).shape,
    ).toEqual([2, 1, 1, 3]);
    expect(elements(evaluate(ops.keyPaddingMask, [tensor([2, 3, 1, 0], "i32"), k]))).toEqual([0, 1, 0, 1, 1, 1]);
    expect(elements(evaluate(ops.keyPaddingMask, [tensor([[0], [1]], "i32"), k]))).toEqual([1, 1]);
    expect(() => evaluate(ops.keyPaddingMask, [tensor([1, 2, 3], "i32"), k])).toThrow(ShapeError);
  });
});
