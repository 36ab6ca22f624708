/** Writes ONNX models with random weights: enough of the format for benchmarks, so that every engine reads the same bytes. */
import { PbfWriter } from "pbf";

type Attribute = number | string | readonly number[];
type WriteFields = (pbf: PbfWriter) => void;

const dataTypes = { f32: 1, u8: 2, i64: 7, f16: 10 } as const;
/** AttributeProto.AttributeType */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;
/** Attributes that are floats even where their value is whole. */
const floatAttributes = new Set(["epsilon", "alpha", "beta", "momentum", "spatial_scale"]);

const message = (pbf: PbfWriter, field: number, write: WriteFields): void => {
  pbf.writeMessage(field, (_: unknown, p?: PbfWriter) => write(p!), undefined);
};

/** Uniform numbers in [-1, 1), the same for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

export class OnnxWriter {
  private readonly nodes: WriteFields[] = [];
  private readonly initializers: WriteFields[] = [];
  private readonly inputs: WriteFields[] = [];
  private readonly random: () => number;
  private count = 0;

  constructor(
    readonly name: string,
    seed: number,
    readonly opset = 17,
  ) {
    this.random = randomNumbers(seed);
  }

  input(name: string, shape: readonly number[], dtype: keyof typeof dataTypes = "f32"): string {
    this.inputs.push(valueInfo(name, shape, dtype));
    return name;
  }

  /** Weights scaled for `fanIn` terms, so that values neither grow nor vanish over many layers. */
  weights(shape: readonly number[], fanIn: number): string {
    const scale = Math.sqrt(6 / fanIn);
    return this.values(shape, () => this.random() * scale);
  }

  /** Numbers in center +- spread. */
  around(shape: readonly number[], center: number, spread: number): string {
    return this.values(shape, () => center + this.random() * spread);
  }

  private values(shape: readonly number[], next: () => number): string {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: size }, next);
    return this.initializer(shape, "f32", new Uint8Array(data.buffer));
  }

  /** Bytes of which 128 stands for zero. */
  bytes(shape: readonly number[]): string {
    const size = shape.reduce((a, b) => a * b, 1);
    return this.initializer(
      shape,
      "u8",
      Uint8Array.from({ length: size }, () => 128 + this.random() * 127),
    );
  }

  /** One number for all. */
  scalar(value: number, dtype: "f32" | "u8"): string {
    return this.initializer(
      [],
      dtype,
      dtype === "u8" ? Uint8Array.of(value) : new Uint8Array(Float32Array.of(value).buffer),
    );
  }

  integers(values: readonly number[]): string {
    return this.initializer([values.length], "i64", new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  private initializer(shape: readonly number[], dtype: keyof typeof dataTypes, raw: Uint8Array): string {
    const name = `w${this.count++}`;
    this.initializers.push((p) => {
      for (const d of shape) p.writeVarintField(1, d);
      p.writeVarintField(2, dataTypes[dtype]);
      p.writeStringField(8, name);
      p.writeBytesField(9, raw);
    });
    return name;
  }

  /** One node; the name of its first output. Others are called by that name and their number. */
  node(type: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, outputs = 1): string {
    const output = `${type}_${this.count++}`;
    this.nodes.push((p) => {
      for (const i of inputs) p.writeStringField(1, i);
      for (let i = 0; i < outputs; i++) p.writeStringField(2, i === 0 ? output : `${output}_${i}`);
      p.writeStringField(3, output);
      p.writeStringField(4, type);
      for (const [name, value] of Object.entries(attributes)) message(p, 5, (a) => writeAttribute(a, name, value));
    });
    return output;
  }

  /** The model's bytes. */
  finish(output: string, shape: readonly number[], dtype: keyof typeof dataTypes = "f32"): Uint8Array {
    const pbf = new PbfWriter();
    pbf.writeVarintField(1, 8);
    message(pbf, 7, (graph) => {
      for (const n of this.nodes) message(graph, 1, n);
      graph.writeStringField(2, this.name);
      for (const i of this.initializers) message(graph, 5, i);
      for (const i of this.inputs) message(graph, 11, i);
      message(graph, 12, valueInfo(output, shape, dtype));
    });
    message(pbf, 8, (o) => o.writeVarintField(2, this.opset));
    return pbf.finish();
  }
}

function valueInfo(name: string, shape: readonly number[], dtype: keyof typeof dataTypes): WriteFields {
  return (p) => {
    p.writeStringField(1, name);
    message(p, 2, (type) =>
      message(type, 1, (tensor) => {
        tensor.writeVarintField(1, dataTypes[dtype]);
        message(tensor, 2, (dims) => {
          for (const d of shape) message(dims, 1, (dim) => dim.writeVarintField(1, d));
        });
      }),
    );
  };
}

function writeAttribute(p: PbfWriter, name: string, value: Attribute): void {
  p.writeStringField(1, name);
  if (typeof value === "string") {
    p.writeBytesField(4, new TextEncoder().encode(value));
    p.writeVarintField(20, attributeTypes.string);
  } else if (typeof value !== "number") {
    for (const v of value) p.writeVarintField(8, v);
    p.writeVarintField(20, attributeTypes.ints);
  } else if (floatAttributes.has(name)) {
    p.writeFloatField(2, value);
    p.writeVarintField(20, attributeTypes.float);
  } else {
    p.writeVarintField(3, value);
    p.writeVarintField(20, attributeTypes.int);
  }
}
