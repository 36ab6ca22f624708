/** Small decoders with random weights, as exporters write them: with caches that go in and out. */
import { fromF64 } from "../../src/tensor/convert.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { type AttributeSpec, encodeModel, type GraphSpec, type NodeSpec, type PortSpec } from "./encode.ts";

export const sizes = { width: 16, heads: 4, kvHeads: 2, dim: 4, layers: 2, vocabulary: 32, context: 64 };
const { width, heads, kvHeads, dim, layers, vocabulary, context } = sizes;

const i64 = (...values: number[]): HostTensor => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
const whole = (value: number): HostTensor => ({ ...i64(value), shape: [] });

/** Nodes under construction: each call gives the name of its result. */
class Writer {
  readonly nodes: NodeSpec[] = [];
  readonly initializers: Record<string, HostTensor> = {};
  private seed = 1;

  /** @param prefix of all names */
  constructor(
    private readonly prefix = "",
    /** Of weights. */
    private readonly dtype: "f32" | "f16" = "f32",
  ) {}

  add(type: string, inputs: string[], attributes: Record<string, AttributeSpec> = {}, domain?: string): string {
    return this.several(type, inputs, 1, attributes, domain)[0];
  }

  several(
    type: string,
    inputs: string[],
    count: number,
    attributes: Record<string, AttributeSpec> = {},
    domain?: string,
  ) {
    const outputs = Array.from({ length: count }, (_, i) => `${this.prefix}${type}_${this.nodes.length}_${i}`);
    this.nodes.push({ type, inputs, outputs, attributes, domain });
    return outputs;
  }

  float(value: number): string {
    const t = emptyTensor({ dtype: this.dtype, shape: [] });
    fromF64([value], t);
    return this.constant(t);
  }

  constant(t: HostTensor): string {
    const name = `${this.prefix}c_${Object.keys(this.initializers).length}`;
    this.initializers[name] = t;
    return name;
  }

  weight(...shape: number[]): string {
    return this.constant(tensorFrom(this.seed++, this.dtype, shape, { min: -0.5, max: 0.5 }));
  }

  /** Gives the last node's output another name: that of a graph's output. */
  rename(value: string, name: string): void {
    this.nodes.push({ type: "Identity", inputs: [value], outputs: [name] });
  }
}

const caches = (rows: string, dtype: DType = "f32"): PortSpec[] =>
  Array.from({ length: layers }, (_, n) =>
    ["key", "value"].map(
      (kind): PortSpec => ({
        name: `past_key_values.${n}.${kind}`,
        dtype,
        shape: ["batch", kvHeads, rows, dim],
      }),
    ),
  ).flat();
const presents = (dtype?: DType): PortSpec[] =>
  caches("total", dtype).map((p) => ({ ...p, name: p.name.replace("past_key_values", "present") }));
const tokens: PortSpec = { name: "input_ids", dtype: "i64", shape: ["batch", "tokens"] };
const mask: PortSpec = { name: "attention_mask", dtype: "i64", shape: ["batch", "total"] };
const positions: PortSpec = { name: "position_ids", dtype: "i64", shape: ["batch", "tokens"] };
const logits: PortSpec = { name: "logits", dtype: "f32", shape: ["batch", "tokens", vocabulary] };

const splitHeads = (w: Writer, x: string, n: number): string =>
  w.add("Transpose", [w.add("Reshape", [x, w.constant(i64(0, -1, n, dim))])], { perm: { ints: [0, 2, 1, 3] } });

const dimension = (w: Writer, x: string, axis: number): string =>
  w.add("Gather", [w.add("Shape", [x]), w.constant(whole(axis))]);

/** [1, 1, tokens, total] bool: no token sees later ones, nor `window` and more before it, nor what the mask leaves out. */
function causalMask(w: Writer, window?: number): string {
  const past = dimension(w, "past_key_values.0.key", 2);
  const total = w.add("Add", [past, dimension(w, "input_ids", 1)]);
  const one = w.constant(whole(1));
  const queries = w.add("Unsqueeze", [w.add("Range", [past, total, one]), w.constant(i64(1))]);
  const keys = w.add("Range", [w.constant(whole(0)), total, one]);
  let seen = w.add("LessOrEqual", [keys, queries]);
  if (window !== undefined)
    seen = w.add("And", [seen, w.add("Greater", [keys, w.add("Sub", [queries, w.constant(whole(window))])])]);
  const given = w.add("Unsqueeze", [w.add("Cast", ["attention_mask"], { to: { int: 9 } }), w.constant(i64(1, 2))]);
  return w.add("And", [w.add("Unsqueeze", [seen, w.constant(i64(0, 1))]), given]);
}

/** Rotary positions as transformers computes them. */
function rotation(w: Writer): [cos: string, sin: string] {
  const inverse = w.constant({ dtype: "f32", shape: [dim / 2], data: Float32Array.of(1, 0.1) });
  const at = w.add("Unsqueeze", [w.add("Cast", ["position_ids"], { to: { int: 1 } }), w.constant(i64(2))]);
  const half = w.add("Mul", [at, inverse]);
  const angles = w.add("Unsqueeze", [w.add("Concat", [half, half], { axis: { int: -1 } }), w.constant(i64(1))]);
  const like = w.float(0);
  const [cos, sin] = ["Cos", "Sin"].map((type) => w.add("CastLike", [w.add(type, [angles]), like]));
  return [cos, sin];
}

function rotate(w: Writer, x: string, [cos, sin]: [string, string]): string {
  const cut = (from: number, to: number) => w.add("Slice", [x, ...[from, to, 3].map((n) => w.constant(i64(n)))]);
  const turned = w.add("Concat", [w.add("Neg", [cut(dim / 2, dim)]), cut(0, dim / 2)], { axis: { int: -1 } });
  return w.add("Add", [w.add("Mul", [x, cos]), w.add("Mul", [turned, sin])]);
}

/** Keys or values of fewer heads, repeated: [1, kvHeads, total, dim] -> [1, heads, total, dim]. */
function repeated(w: Writer, x: string): string {
  const total = w.add("Unsqueeze", [dimension(w, x, 2), w.constant(i64(0))]);
  const to = (...before: number[]) =>
    w.add("Concat", [w.constant(i64(...before)), total, w.constant(i64(dim))], { axis: { int: 0 } });
  const spread = w.add("Expand", [w.add("Unsqueeze", [x, w.constant(i64(2))]), to(1, kvHeads, heads / kvHeads)]);
  return w.add("Reshape", [spread, to(1, heads)]);
}

const norm = (w: Writer, x: string): string =>
  w.add("SimplifiedLayerNormalization", [x, w.weight(width)], { axis: { int: -1 }, epsilon: { float: 1e-5 } });

/** The same in basic operators. */
function normWrittenOut(w: Writer, x: string): string {
  const mean = w.add("ReduceMean", [w.add("Pow", [x, w.float(2)])], { axes: { ints: [-1] }, keepdims: { int: 1 } });
  const root = w.add("Sqrt", [w.add("Add", [mean, w.float(1e-5)])]);
  return w.add("Mul", [w.weight(width), w.add("Mul", [x, w.add("Div", [w.float(1), root])])]);
}

type Product = (w: Writer, x: string, k: number, n: number) => string;

const product: Product = (w, x, k, n) => w.add("MatMul", [x, w.weight(k, n)]);

/** A product of 8-bit integers as onnxruntime's tool for dynamic quantisation writes it. */
const dynamicProduct: Product = (w, x, k, n) => {
  const [a, aScale, aZero] = w.several("DynamicQuantizeLinear", [x], 3);
  const values = tensorFrom(3 * k + n, "f32", [k, n], { min: -127, max: 127 }).data as Float32Array;
  const b = w.constant({ dtype: "i8", shape: [k, n], data: Int8Array.from(values) });
  const sums = w.add("MatMulInteger", [a, b, aZero, w.constant({ dtype: "i8", shape: [], data: Int8Array.of(2) })]);
  const scale = w.add("Mul", [aScale, w.float(0.004)]);
  return w.add("Mul", [w.add("Cast", [sums], { to: { int: 1 } }), scale]);
};

function feedForward(w: Writer, x: string, times = product): string {
  const gate = times(w, x, width, 24);
  const silu = w.add("Mul", [gate, w.add("Sigmoid", [gate])]);
  return times(w, w.add("Mul", [silu, times(w, x, width, 24)]), 24, width);
}

export interface Style {
  /** Of weights, caches and logits. */
  dtype?: "f32" | "f16";
  window?: number;
  /** Scores as cap tanh(score / cap). */
  softcap?: number;
  /** Scores that fall with the distance of keys. */
  alibi?: boolean;
  /** Attention that sees later tokens too. */
  bothWays?: boolean;
  /** How many of the last keys are kept. */
  last?: number;
  /** Products of 8-bit integers, and normalisation in basic operators. */
  quantised?: boolean;
}

/** As Optimum exports Llama: everything in basic operators. */
export function optimumDecoder(style: Style = {}): Uint8Array {
  const { window, softcap, alibi, bothWays, last, quantised, dtype = "f32" } = style;
  const w = new Writer("", dtype);
  const times = quantised ? dynamicProduct : product;
  const normal = quantised ? normWrittenOut : norm;
  let x = w.add("Gather", [w.weight(vocabulary, width), "input_ids"]);
  const angles = rotation(w);
  const seen = causalMask(w, window);
  const lastOf = (x: string, axis: number): string =>
    last ? w.add("Slice", [x, w.constant(i64(-last)), w.constant(i64(context)), w.constant(i64(axis))]) : x;
  const bias = lastOf(w.add("Where", [seen, w.float(0), w.float(-3.4e38)]), 3);
  for (let n = 0; n < layers; n++) {
    const h = normal(w, x);
    const project = (count: number) => splitHeads(w, times(w, h, width, count * dim), count);
    const q = rotate(w, project(heads), angles);
    const appended = (kind: string, y: string) => {
      const name = `present.${n}.${kind}`;
      w.nodes.push({
        type: "Concat",
        inputs: [`past_key_values.${n}.${kind}`, y],
        outputs: [name],
        attributes: { axis: { int: -2 } },
      });
      return name;
    };
    const k = lastOf(repeated(w, appended("key", rotate(w, project(kvHeads), angles))), 2);
    const v = lastOf(repeated(w, appended("value", project(kvHeads))), 2);
    let scores = w.add("Div", [
      w.add("MatMul", [q, w.add("Transpose", [k], { perm: { ints: [0, 1, 3, 2] } })]),
      w.float(Math.sqrt(dim)),
    ]);
    if (softcap) scores = w.add("Mul", [w.add("Tanh", [w.add("Div", [scores, w.float(softcap)])]), w.float(softcap)]);
    if (alibi) {
      const keys = w.add("Range", [w.constant(whole(0)), dimension(w, "attention_mask", 1), w.constant(whole(1))]);
      scores = w.add("Add", [scores, w.add("Mul", [w.add("Cast", [keys], { to: { int: 1 } }), w.float(0.1)])]);
    }
    const weights = w.add("Softmax", [bothWays ? scores : w.add("Add", [scores, bias])], { axis: { int: -1 } });
    const joined = w.add("Transpose", [w.add("MatMul", [weights, v])], { perm: { ints: [0, 2, 1, 3] } });
    const attended = times(w, w.add("Reshape", [joined, w.constant(i64(0, 0, width))]), width, width);
    x = w.add("Add", [x, attended]);
    x = w.add("Add", [x, feedForward(w, normal(w, x), times)]);
  }
  w.rename(times(w, normal(w, x), width, vocabulary), "logits");
  return encodeModel({
    ...w,
    inputs: [tokens, mask, positions, ...caches("past", dtype)],
    outputs: [{ ...logits, dtype }, ...presents(dtype)],
  });
}

const microsoft = "com.microsoft";

/** A product with 4-bit weights in blocks of 16. */
function fourBits(w: Writer, x: string, k: number, n: number): string {
  const blocks = k / 16;
  const packed = tensorFrom(7 * n + k, "f32", [n, blocks, 8], { min: 0, max: 256 });
  const b = w.constant({ dtype: "u8", shape: packed.shape, data: Uint8Array.from(packed.data as Float32Array) });
  const scales = tensorFrom(k + n, "f32", [n * blocks], { min: 0.02, max: 0.06 });
  const attributes = { K: { int: k }, N: { int: n }, bits: { int: 4 }, block_size: { int: 16 } };
  return w.add("MatMulNBits", [x, b, w.constant(scales)], attributes, microsoft);
}

/** As onnxruntime-genai exports it: fused operators of com.microsoft, and no position_ids. */
export function genaiDecoder({ window = -1, softcap = 0 }: Pick<Style, "window" | "softcap"> = {}): Uint8Array {
  const w = new Writer();
  const toI32 = (x: string) => w.add("Cast", [x], { to: { int: 6 } });
  const lengths = toI32(w.add("Sub", [w.add("ReduceSum", ["attention_mask", w.constant(i64(1))]), w.constant(i64(1))]));
  const total = toI32(dimension(w, "attention_mask", 1));
  const tables = [Math.cos, Math.sin].map((f) => {
    const data = Float32Array.from({ length: (context * dim) / 2 }, (_, i) => f(Math.floor(i / 2) * (i % 2 ? 0.1 : 1)));
    return w.constant({ dtype: "f32", shape: [context, dim / 2], data });
  });
  let x = w.add("Gather", [w.weight(vocabulary, width), "input_ids"]);
  let h = norm(w, x);
  for (let n = 0; n < layers; n++) {
    const [q, k, v] = [heads, kvHeads, kvHeads].map((count) => fourBits(w, h, width, count * dim));
    const past = ["key", "value"].map((kind) => `past_key_values.${n}.${kind}`);
    const y = `attended_${n}`;
    w.nodes.push({
      type: "GroupQueryAttention",
      domain: microsoft,
      inputs: [q, k, v, ...past, lengths, total, ...tables],
      outputs: [y, `present.${n}.key`, `present.${n}.value`],
      attributes: {
        num_heads: { int: heads },
        kv_num_heads: { int: kvHeads },
        do_rotary: { int: 1 },
        local_window_size: { int: window },
        softcap: { float: softcap },
      },
    });
    const skip = (a: string, b: string) =>
      w.several(
        "SkipSimplifiedLayerNormalization",
        [a, b, w.weight(width)],
        4,
        { epsilon: { float: 1e-5 } },
        microsoft,
      );
    const first = skip(x, fourBits(w, y, width, width));
    const second = skip(first[3], feedForward(w, first[0]));
    [h, x] = [second[0], second[3]];
  }
  w.rename(w.add("MatMul", [h, w.weight(width, vocabulary)]), "logits");
  return encodeModel({
    ...w,
    domains: { [microsoft]: 1 },
    inputs: [tokens, mask, ...caches("past")],
    outputs: [logits, ...presents()],
  });
}

/** As older exports of GPT-2 are: learned positions from the length of the cache, and a branch for each of with and without. */
export function mergedDecoder(): Uint8Array {
  const weights = new Writer();
  const embedding = weights.weight(vocabulary, width);
  const table = weights.weight(context, width);
  const layer = Array.from({ length: layers }, () => ({
    qkv: [heads, kvHeads, kvHeads].map((n) => weights.weight(width, n * dim)),
    out: weights.weight(width, width),
  }));
  const head = weights.weight(width, vocabulary);
  const branch = (cached: boolean): GraphSpec => {
    const prefix = cached ? "with." : "without.";
    const w = new Writer(prefix);
    const own = (name: string) => prefix + name;
    const past = cached ? dimension(w, "past_key_values.0.key", 2) : w.constant(whole(0));
    const total = w.add("Add", [past, dimension(w, "input_ids", 1)]);
    const bounds = [past, total].map((x) => w.add("Unsqueeze", [x, w.constant(i64(0))]));
    const places = w.add("Slice", [table, ...bounds, w.constant(i64(0)), w.constant(i64(1))]);
    let x = w.add("Add", [w.add("Gather", [embedding, "input_ids"]), places]);
    const outputs: PortSpec[] = [{ name: own("logits") }];
    for (let n = 0; n < layers; n++) {
      const [q, k, v] = layer[n].qkv.map((weight, i) =>
        splitHeads(w, w.add("MatMul", [x, weight]), i ? kvHeads : heads),
      );
      const [keys, values] = [k, v].map((y, i) => {
        const kind = ["key", "value"][i];
        const name = own(`present.${n}.${kind}`);
        outputs.push({ name });
        const inputs = cached ? [`past_key_values.${n}.${kind}`, y] : [y];
        w.nodes.push({ type: "Concat", inputs, outputs: [name], attributes: { axis: { int: 2 } } });
        return repeated(w, name);
      });
      const scores = w.add("MatMul", [
        w.add("Mul", [q, w.float(0.5)]),
        w.add("Transpose", [keys], { perm: { ints: [0, 1, 3, 2] } }),
      ]);
      // With a cache there is one token, which sees all.
      const later = w.add("Trilu", [w.add("Expand", [w.float(-1e9), w.add("Shape", [scores])]), w.constant(whole(1))]);
      const biased = cached ? scores : w.add("Add", [scores, later]);
      const attended = w.add("MatMul", [w.add("Softmax", [biased], { axis: { int: -1 } }), values]);
      const joined = w.add("Reshape", [
        w.add("Transpose", [attended], { perm: { ints: [0, 2, 1, 3] } }),
        w.constant(i64(0, 0, width)),
      ]);
      x = w.add("Add", [x, w.add("MatMul", [joined, layer[n].out])]);
    }
    w.nodes.push({ type: "MatMul", inputs: [x, head], outputs: [own("logits")] });
    return { ...w, outputs };
  };
  return encodeModel({
    initializers: weights.initializers,
    nodes: [
      {
        type: "If",
        inputs: ["use_cache_branch"],
        outputs: ["logits", ...presents().map((p) => p.name)],
        attributes: { then_branch: { graph: branch(true) }, else_branch: { graph: branch(false) } },
      },
    ],
    inputs: [tokens, { name: "use_cache_branch", dtype: "bool", shape: [1] }, ...caches("past")],
    outputs: [logits, ...presents()],
  });
}

/** Without caches. */
export function plainDecoder(): Uint8Array {
  const w = new Writer();
  const x = w.add("Gather", [w.weight(vocabulary, width), "input_ids"]);
  const sum = w.add("CumSum", [x, w.constant(whole(1))]);
  w.rename(w.add("MatMul", [w.add("Tanh", [sum]), w.weight(width, vocabulary)]), "logits");
  return encodeModel({ ...w, inputs: [tokens], outputs: [logits] });
}
