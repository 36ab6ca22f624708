/** The topologies of well-known image classifiers, [1, 3, 224, 224] -> [1, 1000], with random weights. */
import { OnnxWriter } from "./onnx-writer.ts";

/** A feature map under construction: its name, channels and size. */
interface Map {
  readonly name: string;
  readonly channels: number;
  readonly size: number;
}

interface ConvOptions {
  readonly stride?: number;
  readonly pad?: number;
  readonly groups?: number;
  /** Default: a bias; "batchNorm": no bias, and a normalisation after it. */
  readonly norm?: "bias" | "batchNorm";
  readonly relu?: boolean;
}

class CnnWriter {
  readonly onnx: OnnxWriter;
  /** The quantised form of maps, by name. */
  private readonly quantised = new Map<string, string>();

  /** @param dynamic convolutions as onnxruntime's dynamic quantisation writes them; normalisations are folded into these */
  constructor(
    name: string,
    seed: number,
    private readonly dynamic = false,
  ) {
    this.onnx = new OnnxWriter(name, seed);
  }

  image(): Map {
    return { name: this.onnx.input("x", [1, 3, 224, 224]), channels: 3, size: 224 };
  }

  conv(x: Map, channels: number, kernel: number, o: ConvOptions = {}): Map {
    const { stride = 1, pad = Math.floor(kernel / 2), groups = 1, relu = true } = o;
    const norm = this.dynamic ? "bias" : (o.norm ?? "bias");
    const fanIn = (x.channels / groups) * kernel * kernel;
    const shape = [channels, x.channels / groups, kernel, kernel];
    const attributes = {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      group: groups,
    };
    const bias = (): string => this.onnx.around([channels], 0, 0.1);
    const weighted = (): string => {
      const inputs = [x.name, this.onnx.weights(shape, fanIn)];
      return this.onnx.node("Conv", norm === "bias" ? [...inputs, bias()] : inputs, attributes);
    };
    const name = this.dynamic ? this.integers(x, shape, fanIn, attributes, bias()) : weighted();
    const y = { name, channels, size: Math.floor((x.size + 2 * pad - kernel) / stride) + 1 };
    const normed = norm === "batchNorm" ? this.batchNorm(y) : y;
    return relu ? this.relu(normed) : normed;
  }

  private integers(
    x: Map,
    shape: readonly number[],
    fanIn: number,
    attributes: Record<string, number | readonly number[]>,
    bias: string,
  ): string {
    const { onnx } = this;
    let q = this.quantised.get(x.name);
    if (q === undefined) this.quantised.set(x.name, (q = onnx.node("DynamicQuantizeLinear", [x.name], {}, 3)));
    const scale = onnx.scalar(Math.sqrt(6 / fanIn) / 128, "f32");
    const zero = onnx.scalar(128, "u8");
    const sums = onnx.node("ConvInteger", [q, onnx.bytes(shape), `${q}_2`, zero], attributes);
    const scales = onnx.node("Mul", [`${q}_1`, scale]);
    const scaled = onnx.node("Mul", [onnx.node("Cast", [sums], { to: 1 }), scales]);
    return onnx.node("Add", [scaled, onnx.node("Reshape", [bias, onnx.integers([1, -1, 1, 1])])]);
  }

  batchNorm(x: Map): Map {
    const vector = (center: number, spread: number) => this.onnx.around([x.channels], center, spread);
    const parameters = [vector(0.7, 0.2), vector(0, 0.1), vector(0, 0.1), vector(1, 0.2)];
    return { ...x, name: this.onnx.node("BatchNormalization", [x.name, ...parameters], { epsilon: 1e-5 }) };
  }

  relu(x: Map): Map {
    return { ...x, name: this.onnx.node("Relu", [x.name]) };
  }

  pool(type: "MaxPool" | "AveragePool", x: Map, kernel: number, stride: number, pad = 0, ceil = 0): Map {
    const room = (x.size + 2 * pad - kernel) / stride;
    const name = this.onnx.node(type, [x.name], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      ceil_mode: ceil,
    });
    return { ...x, name, size: (ceil ? Math.ceil(room) : Math.floor(room)) + 1 };
  }

  concat(...maps: Map[]): Map {
    const name = this.onnx.node(
      "Concat",
      maps.map((m) => m.name),
      { axis: 1 },
    );
    return { ...maps[0], name, channels: maps.reduce((n, m) => n + m.channels, 0) };
  }

  add(a: Map, b: Map): Map {
    return { ...a, name: this.onnx.node("Add", [a.name, b.name]) };
  }

  /** Mean over the plane, and a dense layer. */
  classify(x: Map): Uint8Array {
    const mean = this.onnx.node("GlobalAveragePool", [x.name]);
    const flat = this.onnx.node("Flatten", [mean], { axis: 1 });
    const weights = this.onnx.weights([1000, x.channels], x.channels);
    const y = this.onnx.node("Gemm", [flat, weights, this.onnx.around([1000], 0, 0.1)], { transB: 1 });
    return this.onnx.finish(y, [1, 1000]);
  }
}

/** SqueezeNet 1.1 (Iandola et al., 2016). @param dynamic dynamically quantised */
export function squeezenet(seed = 1, dynamic = false): Uint8Array {
  const m = new CnnWriter("squeezenet", seed, dynamic);
  const fire = (x: Map, squeeze: number, expand: number): Map => {
    const s = m.conv(x, squeeze, 1);
    return m.concat(m.conv(s, expand, 1), m.conv(s, expand, 3));
  };
  const halve = (x: Map): Map => m.pool("MaxPool", x, 3, 2);
  let x = halve(m.conv(m.image(), 64, 3, { stride: 2, pad: 0 }));
  x = halve(fire(fire(x, 16, 64), 16, 64));
  x = halve(fire(fire(x, 32, 128), 32, 128));
  x = fire(fire(fire(fire(x, 48, 192), 48, 192), 64, 256), 64, 256);
  x = m.conv(x, 1000, 1);
  const mean = m.onnx.node("GlobalAveragePool", [x.name]);
  return m.onnx.finish(m.onnx.node("Flatten", [mean], { axis: 1 }), [1, 1000]);
}

/** ShuffleNet v1, three groups (Zhang et al., 2017). */
export function shufflenet(seed = 2): Uint8Array {
  const m = new CnnWriter("shufflenet", seed);
  const groups = 3;
  const norm = "batchNorm";
  const shuffle = (x: Map): Map => {
    const { channels: c, size: s } = x;
    const split = m.onnx.node("Reshape", [x.name, m.onnx.integers([1, groups, c / groups, s, s])]);
    const turned = m.onnx.node("Transpose", [split], { perm: [0, 2, 1, 3, 4] });
    return { ...x, name: m.onnx.node("Reshape", [turned, m.onnx.integers([1, c, s, s])]) };
  };
  const unit = (x: Map, channels: number, stride: number): Map => {
    const out = stride === 2 ? channels - x.channels : channels;
    const squeezed = m.conv(x, channels / 4, 1, { groups: x.channels === 24 ? 1 : groups, norm });
    const spatial = m.conv(shuffle(squeezed), channels / 4, 3, { stride, groups: channels / 4, norm, relu: false });
    const grown = m.conv(spatial, out, 1, { groups, norm, relu: false });
    return m.relu(stride === 2 ? m.concat(m.pool("AveragePool", x, 3, 2, 1), grown) : m.add(x, grown));
  };
  let x = m.pool("MaxPool", m.conv(m.image(), 24, 3, { stride: 2, norm }), 3, 2, 1);
  for (const [channels, repeats] of [
    [240, 3],
    [480, 7],
    [960, 3],
  ]) {
    x = unit(x, channels, 2);
    for (let i = 0; i < repeats; i++) x = unit(x, channels, 1);
  }
  return m.classify(x);
}

/** Inception with batch normalisation, also called v2 (Ioffe and Szegedy, 2015). */
export function inception(seed = 3): Uint8Array {
  const m = new CnnWriter("inception", seed);
  const norm = "batchNorm";
  const block = (x: Map, one: number, three: [number, number], double: [number, number], pool: number): Map =>
    m.concat(
      m.conv(x, one, 1, { norm }),
      m.conv(m.conv(x, three[0], 1, { norm }), three[1], 3, { norm }),
      m.conv(m.conv(m.conv(x, double[0], 1, { norm }), double[1], 3, { norm }), double[1], 3, { norm }),
      m.conv(m.pool("AveragePool", x, 3, 1, 1), pool, 1, { norm }),
    );
  const reduce = (x: Map, three: [number, number], double: [number, number]): Map =>
    m.concat(
      m.conv(m.conv(x, three[0], 1, { norm }), three[1], 3, { norm, stride: 2 }),
      m.conv(m.conv(m.conv(x, double[0], 1, { norm }), double[1], 3, { norm }), double[1], 3, { norm, stride: 2 }),
      m.pool("MaxPool", x, 3, 2, 1),
    );
  let x = m.pool("MaxPool", m.conv(m.image(), 64, 7, { stride: 2, norm }), 3, 2, 1);
  x = m.pool("MaxPool", m.conv(m.conv(x, 64, 1, { norm }), 192, 3, { norm }), 3, 2, 1);
  x = block(x, 64, [64, 64], [64, 96], 32);
  x = block(x, 64, [64, 96], [64, 96], 64);
  x = reduce(x, [128, 160], [64, 96]);
  x = block(x, 224, [64, 96], [96, 128], 128);
  x = block(x, 192, [96, 128], [96, 128], 128);
  x = block(x, 160, [128, 160], [128, 160], 96);
  x = block(x, 96, [128, 192], [160, 192], 96);
  x = reduce(x, [128, 192], [192, 256]);
  x = block(x, 352, [192, 320], [160, 224], 128);
  x = block(x, 352, [192, 320], [192, 224], 128);
  return m.classify(x);
}

/** DenseNet-121 (Huang et al., 2016). */
export function densenet(seed = 4): Uint8Array {
  const m = new CnnWriter("densenet", seed);
  const norm = "batchNorm";
  const growth = 32;
  const before = (x: Map): Map => m.relu(m.batchNorm(x));
  let x = m.pool("MaxPool", m.conv(m.image(), 64, 7, { stride: 2, norm }), 3, 2, 1);
  for (const [i, layers] of [6, 12, 24, 16].entries()) {
    for (let j = 0; j < layers; j++) {
      const narrow = m.conv(before(x), 4 * growth, 1, { norm });
      x = m.concat(x, m.conv(narrow, growth, 3, { relu: false }));
    }
    if (i < 3) x = m.pool("AveragePool", m.conv(before(x), x.channels / 2, 1, { relu: false }), 2, 2);
  }
  return m.classify(before(x));
}

/** ResNet-50, stride in the 3x3 convolution (He et al., 2015; "v1.5"). @param dynamic dynamically quantised */
export function resnet50(seed = 5, dynamic = false): Uint8Array {
  const m = new CnnWriter("resnet50", seed, dynamic);
  const norm = "batchNorm";
  const bottleneck = (x: Map, width: number, stride: number): Map => {
    const narrow = m.conv(m.conv(x, width, 1, { norm }), width, 3, { norm, stride });
    const wide = m.conv(narrow, 4 * width, 1, { norm, relu: false });
    const direct = x.channels === wide.channels ? x : m.conv(x, 4 * width, 1, { norm, stride, relu: false });
    return m.relu(m.add(wide, direct));
  };
  let x = m.pool("MaxPool", m.conv(m.image(), 64, 7, { stride: 2, norm }), 3, 2, 1);
  for (const [i, layers] of [3, 4, 6, 3].entries())
    for (let j = 0; j < layers; j++) x = bottleneck(x, 64 << i, i > 0 && j === 0 ? 2 : 1);
  return m.classify(x);
}
