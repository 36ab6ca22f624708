/**
 * Runs the ONNX models of the benchmarks on tfjs, as its converter would have them: NHWC images, batch norm folded into
 * convolutions, bias and relu fused. Only the operators that those models have.
 */
import { fromBinary } from "@bufbuild/protobuf";
import type { Tensor, Tensor4D } from "@tensorflow/tfjs";
import { type AttributeProto, ModelProtoSchema, type NodeProto, type TensorProto } from "onnx-buf";
import type { Feed } from "../task.ts";

export type Tf = typeof import("@tensorflow/tfjs");

/** A tensor; `image`: four dimensions in NHWC order instead of NCHW. */
interface Value {
  readonly t: Tensor;
  readonly image?: boolean;
}
interface Step {
  readonly node: NodeProto;
  readonly output: string;
  readonly relu: boolean;
  /** Of convolutions, with batch norm folded in; of Gemm, turned: its products with a transposed matrix are wrong on wasm. */
  readonly weights?: Tensor;
  readonly bias?: Tensor;
}
interface Arguments {
  readonly x: Value[];
  readonly ints: (name: string, otherwise: number[]) => number[];
  readonly int: (name: string, otherwise: number) => number;
  readonly float: (name: string, otherwise: number) => number;
  readonly step: Step;
}

export class OnnxOnTfjs {
  private readonly steps: Step[] = [];
  private readonly constants = new Map<string, Value>();
  private readonly numbers = new Map<string, number[]>();
  private readonly output: string;
  private readonly operators: Record<string, (a: Arguments) => Value>;

  constructor(
    private readonly tf: Tf,
    bytes: Uint8Array,
  ) {
    this.operators = operatorsOf(tf, (name) => this.numbers.get(name) ?? []);
    const graph = fromBinary(ModelProtoSchema, bytes).graph!;
    this.output = graph.output[0].name;
    for (const t of graph.initializer) this.constant(t.name, t);
    // Weights that several nodes share may go by other names too.
    for (const { opType, input, output } of graph.node) {
      const shared = opType === "Identity" ? this.constants.get(input[0]) : undefined;
      if (shared) this.constants.set(output[0], { t: shared.t.clone() });
    }
    const unknown = new Set(graph.node.map((n) => n.opType).filter((t) => !(t in this.operators)));
    if (unknown.size) throw new Error(`not written for it: ${[...unknown].join(", ")}`);
    this.prepare(graph.node.filter((n) => !this.isConstant(n)));
  }

  run(inputs: Readonly<Record<string, Feed>>): Float32Array {
    let data: Float32Array | undefined;
    // Nothing is returned to `tidy`: it would look for tensors among all elements.
    this.tf.tidy(() => {
      data = this.compute(this.upload(inputs)).dataSync() as Float32Array;
    });
    return data!;
  }

  upload(inputs: Readonly<Record<string, Feed>>): Map<string, Tensor> {
    const tensor = ({ data, shape }: Feed): Tensor => this.tf.tensor(data as Float32Array, [...shape], "float32");
    return new Map(Object.entries(inputs).map(([name, feed]) => [name, tensor(feed)]));
  }

  /** The output, and what was computed on the way: to be called in `tidy`. */
  compute(inputs: ReadonlyMap<string, Tensor>): Tensor {
    const values = new Map(this.constants);
    for (const [name, t] of inputs) values.set(name, { t });
    for (const step of this.steps) {
      const attribute = (name: string): AttributeProto | undefined => step.node.attribute.find((a) => a.name === name);
      const y = this.operators[step.node.opType]({
        x: step.node.input.map((i) => values.get(i) as Value),
        ints: (name, otherwise) => attribute(name)?.ints.map(Number) ?? otherwise,
        int: (name, otherwise) => Number(attribute(name)?.i ?? otherwise),
        float: (name, otherwise) => attribute(name)?.f ?? otherwise,
        step,
      });
      values.set(step.output, y);
    }
    return toNchw(this.tf, values.get(this.output)!);
  }

  dispose(): void {
    for (const { t } of this.constants.values()) t.dispose();
    for (const s of this.steps) {
      s.weights?.dispose();
      s.bias?.dispose();
    }
  }

  private constant(name: string, proto: TensorProto): void {
    const shape = proto.dims.map(Number);
    const raw = proto.rawData.slice().buffer;
    if (proto.dataType === 7) {
      this.numbers.set(name, Array.from(raw.byteLength ? new BigInt64Array(raw) : proto.int64Data, Number));
    } else if (proto.dataType === 1) {
      const data = raw.byteLength ? new Float32Array(raw) : Float32Array.from(proto.floatData);
      this.constants.set(name, { t: this.tf.tensor(data, shape, "float32") });
    }
  }

  /** Exporters write equal initialisers once, and an Identity for each of the others. */
  private isConstant({ opType, input, output }: NodeProto): boolean {
    const value = opType === "Identity" ? this.constants.get(input[0]) : undefined;
    if (value) this.constants.set(output[0], { t: value.t.clone() });
    return value !== undefined;
  }

  /** Joins each convolution with the batch norm, and each convolution or Gemm with the relu, that alone follow it. */
  private prepare(nodes: readonly NodeProto[]): void {
    const gone = new Set<NodeProto>();
    const after = (output: string, type: string): NodeProto | undefined => {
      const users = nodes.filter((n) => n.input.includes(output));
      return output !== this.output && users.length === 1 && users[0].opType === type ? users[0] : undefined;
    };
    for (const node of nodes) {
      if (gone.has(node)) continue;
      let output = node.output[0];
      const swallow = (next: NodeProto | undefined): NodeProto | undefined => {
        if (!next) return undefined;
        gone.add(next);
        output = next.output[0];
        return next;
      };
      const isConv = node.opType === "Conv";
      const isGemm = node.opType === "Gemm";
      const prepared = isConv
        ? this.convWeights(node, swallow(after(output, "BatchNormalization")))
        : isGemm
          ? this.gemmWeights(node)
          : undefined;
      const relu = isConv || isGemm ? swallow(after(output, "Relu")) !== undefined : false;
      this.steps.push({ node, output, relu, ...prepared });
    }
  }

  private convWeights(node: NodeProto, norm: NodeProto | undefined): { weights: Tensor; bias?: Tensor } {
    const get = (name: string | undefined): Tensor | undefined => (name ? this.constants.get(name)?.t : undefined);
    const [weights, bias] = this.tf.tidy(() => {
      let w = get(node.input[1])!;
      let b = get(node.input[2])?.clone();
      if (norm) {
        const { scale, shift } = scaleAndShift(
          norm.input.slice(1).map((i) => get(i)!),
          epsilonOf(norm),
        );
        w = w.mul(scale.reshape([-1, 1, 1, 1]));
        b = b ? b.mul(scale).add(shift) : shift;
      }
      return [w.transpose([2, 3, 1, 0]), b];
    });
    return { weights: weights as Tensor, bias };
  }

  private gemmWeights(node: NodeProto): { weights: Tensor } {
    const b = this.constants.get(node.input[1]);
    if (!b) throw new Error("Gemm with a dynamic matrix was not written for it");
    const turned = node.attribute.find((a) => a.name === "transB")?.i === 1n;
    return { weights: turned ? this.tf.transpose(b.t) : b.t.clone() };
  }
}

const epsilonOf = (norm: NodeProto): number => norm.attribute.find((a) => a.name === "epsilon")?.f ?? 1e-5;

function scaleAndShift([gamma, beta, mean, variance]: Tensor[], epsilon: number): { scale: Tensor; shift: Tensor } {
  const scale = gamma.div(variance.add(epsilon).sqrt());
  return { scale, shift: beta.sub(mean.mul(scale)) };
}

const toNhwc = (tf: Tf, v: Value): Tensor => (v.image ? v.t : tf.transpose(v.t, [0, 2, 3, 1]));
const toNchw = (tf: Tf, v: Value): Tensor => (v.image ? tf.transpose(v.t, [0, 3, 1, 2]) : v.t);

function operatorsOf(tf: Tf, numbers: (name: string) => number[]): Record<string, (a: Arguments) => Value> {
  const nchw = (v: Value): Tensor => toNchw(tf, v);
  const nhwc = (v: Value): Tensor4D => toNhwc(tf, v) as Tensor4D;
  const map =
    (f: (t: Tensor) => Tensor) =>
    ({ x: [x] }: Arguments): Value => ({ ...x, t: f(x.t) });
  const combine =
    (f: (a: Tensor, b: Tensor) => Tensor) =>
    ({ x: [a, b] }: Arguments): Value => {
      if (!a.image && !b.image) return { t: f(a.t, b.t) };
      const asImage = (v: Value): Tensor =>
        v.image ? v.t : nhwc({ t: v.t.reshape([...Array(4 - v.t.rank).fill(1), ...v.t.shape]) });
      return { t: f(asImage(a), asImage(b)), image: true };
    };
  /** [begin, end] of height and width. */
  const padding = ({ ints }: Arguments): [[number, number], [number, number], [number, number], [number, number]] => {
    const [top, left, bottom, right] = ints("pads", [0, 0, 0, 0]);
    return [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ];
  };
  const pool =
    (f: Tf["maxPool"] | Tf["avgPool"]) =>
    (a: Arguments): Value => {
      if (a.int("ceil_mode", 0)) throw new Error("ceil_mode was not written for it");
      const size = a.ints("kernel_shape", []) as [number, number];
      const pad = padding(a);
      const explicit = pad.flat().some((p) => p > 0);
      const x = nhwc(a.x[0]);
      return { t: f(x, size, a.ints("strides", [1, 1]) as [number, number], explicit ? pad : "valid"), image: true };
    };
  return {
    Identity: ({ x }) => x[0],
    Relu: map((t) => tf.relu(t)),
    Sigmoid: map((t) => tf.sigmoid(t)),
    Erf: map((t) => tf.erf(t)),
    Neg: map((t) => tf.neg(t)),
    Sqrt: map((t) => tf.sqrt(t)),
    Add: combine((a, b) => tf.add(a, b)),
    Sub: combine((a, b) => tf.sub(a, b)),
    Mul: combine((a, b) => tf.mul(a, b)),
    Div: combine((a, b) => tf.div(a, b)),
    MaxPool: pool(tf.maxPool),
    AveragePool: pool(tf.avgPool),
    GlobalAveragePool: ({ x: [x] }) => ({ t: tf.mean(nhwc(x), [1, 2], true), image: true }),
    Softmax: ({ x: [x], int }) => ({ t: tf.softmax(nchw(x), int("axis", -1)) }),
    Concat: ({ x, int }) => {
      if (int("axis", 0) === 1 && x[0].image) return { t: tf.concat(x.map(nhwc), 3), image: true };
      const axis = int("axis", 0);
      return { t: tf.concat(x.map(nchw), axis < 0 ? axis + x[0].t.rank : axis) };
    },
    ReduceMean: ({ x: [x], ints }) => ({ t: tf.mean(nchw(x), ints("axes", []), true) }),
    Slice: ({ x: [x], step }) => {
      const t = nchw(x);
      const [starts, ends, axes] = step.node.input.slice(1).map(numbers);
      const begin = t.shape.map((_, axis) => (axes.includes(axis) ? starts[axes.indexOf(axis)] : 0));
      const end = t.shape.map((d, axis) => (axes.includes(axis) ? ends[axes.indexOf(axis)] : d));
      return {
        t: tf.slice(
          t,
          begin,
          end.map((e, axis) => e - begin[axis]),
        ),
      };
    },
    Flatten: ({ x: [x], int }) => {
      const axis = int("axis", 1);
      const t = nchw(x);
      return { t: t.reshape([t.shape.slice(0, axis).reduce((a, b) => a * b, 1), -1]) };
    },
    Reshape: ({ x: [x], step }) => {
      const t = nchw(x);
      return { t: t.reshape(numbers(step.node.input[1]).map((d, i) => (d === 0 ? t.shape[i] : d))) };
    },
    Transpose: ({ x: [x], ints }) => ({ t: tf.transpose(nchw(x), ints("perm", [])) }),
    MatMul: ({ x: [a, b] }) => {
      if (b.t.rank > 2 || a.t.rank <= 2) return { t: tf.matMul(a.t, b.t) };
      const rows = a.t.reshape([-1, a.t.shape[a.t.rank - 1]]) as Tensor;
      return { t: tf.matMul(rows, b.t).reshape([...a.t.shape.slice(0, -1), b.t.shape[1]!]) };
    },
    Gemm: ({ x: [a, , c], int, step }) => ({
      t: tf.fused.matMul({
        a: a.t,
        b: step.weights!,
        transposeA: int("transA", 0) === 1,
        bias: c?.t,
        activation: step.relu ? "relu" : "linear",
      }),
    }),
    LayerNormalization: ({ x: [x, gamma, beta], float }) => {
      const { mean, variance } = tf.moments(x.t, -1, true);
      return {
        t: x.t
          .sub(mean)
          .div(variance.add(float("epsilon", 1e-5)).sqrt())
          .mul(gamma.t)
          .add(beta.t),
      };
    },
    BatchNormalization: ({ x: [x, ...parameters], float }) => {
      const { scale, shift } = scaleAndShift(
        parameters.map((p) => p.t),
        float("epsilon", 1e-5),
      );
      return { t: nhwc(x).mul(scale).add(shift), image: true };
    },
    Conv: (a) => {
      const { bias, relu } = a.step;
      const filter = a.step.weights as Tensor4D;
      const x = nhwc(a.x[0]);
      const strides = a.ints("strides", [1, 1]) as [number, number];
      const pad = padding(a);
      const groups = a.int("group", 1);
      if (groups === 1)
        return {
          t: tf.fused.conv2d({ x, filter, strides, pad, bias, activation: relu ? "relu" : "linear" }) as Tensor,
          image: true,
        };
      const plain = (): Tensor => {
        if (groups === x.shape[3])
          return tf.depthwiseConv2d(x, filter.transpose([0, 1, 3, 2]) as Tensor4D, strides, pad);
        const filters = tf.split(filter, groups, 3) as Tensor4D[];
        return tf.concat(
          tf.split(x, groups, 3).map((part, i) => tf.conv2d(part as Tensor4D, filters[i], strides, pad)),
          3,
        );
      };
      const biased = bias ? tf.add(plain(), bias) : plain();
      return { t: relu ? tf.relu(biased) : biased, image: true };
    },
  };
}
