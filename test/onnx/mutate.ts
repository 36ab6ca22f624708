/**
 * Hostile models: a file is taken apart as far as its structure goes (weights stay blobs), something in it is changed,
 * and lengths are put right again. Such files get past the reader, unlike most with flipped bytes, and on to planning.
 */
import type { Random } from "../random.ts";

interface Field {
  readonly number: number;
  readonly wire: number;
  value: bigint | Uint8Array | Message;
}
/** Its fields in order. */
type Message = Field[];

/** Which fields of a message are messages themselves, by the numbers of onnx.proto. */
interface Schema {
  readonly [field: number]: Schema;
}
const attribute: Schema = { 5: {} };
const valueInfo: Schema = { 2: { 1: { 2: { 1: {} } } } };
const graph: Schema = { 1: { 5: attribute }, 5: {}, 11: valueInfo, 12: valueInfo, 13: valueInfo };
const model: Schema = { 7: graph, 8: {} };

/** Longer fields are weights: cut now and then, not changed inside. */
const blob = 64;

/** Operators that make large results of small inputs, take subgraphs, or read the values of their inputs. */
const greedyTypes =
  "Expand Tile ConstantOfShape Range Resize Upsample Pad OneHot EyeLike Reshape Transpose Gather GatherND Slice Split " +
  "Concat Unsqueeze Squeeze Flatten Loop If Scan LSTM GRU RNN Conv ConvTranspose MatMul Gemm Einsum TopK NonZero Unique " +
  "Compress CumSum ScatterND MaxPool AveragePool Softmax LayerNormalization ReduceSum Cast Shape Size STFT DFT " +
  "HannWindow MelWeightMatrix RandomNormal Multinomial SequenceConstruct SplitToSequence Identity Where Pow Mod";
const types = greedyTypes.split(" ");

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)];

/** A model taken apart once, to be changed many times. */
export class Mutator {
  private readonly root: Message;

  constructor(bytes: Uint8Array) {
    // A copy, and never a Buffer: those share memory with their slices.
    this.root = parse(Uint8Array.from(bytes), model);
  }

  /** The model with one to three changes. */
  mutate(random: Random): Uint8Array {
    const root = copy(this.root);
    for (let n = 1 + Math.floor(random() * 3); n > 0; n--) change(root, random);
    return encode(root);
  }
}

/** A copy that shares the leaves. */
const copy = (m: Message): Message =>
  m.map((f) => (Array.isArray(f.value) ? { ...f, value: copy(f.value) } : { ...f }));

function change(root: Message, random: Random): void {
  const message = choose(root, random);
  if (message.length === 0) return;
  const at = Math.floor(random() * message.length);
  const field = message[at];
  const what = random();
  if (what < 0.1) message.splice(at, 1);
  else if (what < 0.2) message.splice(Math.floor(random() * message.length), 0, { ...field });
  else if (what < 0.25) message.push(...message.splice(at, 1));
  else if (typeof field.value === "bigint") field.value = extreme(random, field.value);
  else if (field.value instanceof Uint8Array) field.value = changeBytes(random, field, message);
}

/** A message somewhere in the tree. Messages of many fields are gone into more often than those of few. */
function choose(message: Message, random: Random): Message {
  const inner = message.filter((f) => Array.isArray(f.value));
  if (inner.length === 0 || random() < 0.15) return message;
  return choose(pick(random, inner).value as Message, random);
}

const extremes = [0n, 1n, 2n, 3n, 7n, -1n, -2n, 255n, 65536n, 1n << 20n, 1n << 31n, 1n << 40n, 1n << 62n, -(1n << 63n)];

const extreme = (random: Random, value: bigint): bigint =>
  random() < 0.3 ? BigInt.asIntN(64, value + BigInt(Math.floor(random() * 5) - 2)) : pick(random, extremes);

function changeBytes(random: Random, { number, value }: Field, siblings: Message): Uint8Array {
  const bytes = value as Uint8Array;
  if (bytes.length > blob) return random() < 0.5 ? bytes : bytes.slice(0, Math.floor(random() * bytes.length));
  const what = random();
  // Of a node, field 4 is its type.
  if (number === 4 && what < 0.7) return new TextEncoder().encode(pick(random, types));
  const names = siblings.filter((f) => f.value instanceof Uint8Array && f.value.length <= blob);
  if (what < 0.4) return pick(random, names).value as Uint8Array;
  const changed = bytes.slice();
  if (what < 0.8 && bytes.length > 0 && bytes.length % 8 === 0) {
    const numbers = new BigInt64Array(changed.buffer);
    const i = Math.floor(random() * numbers.length);
    numbers[i] = extreme(random, numbers[i]);
  } else if (bytes.length > 0) changed[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
  return changed;
}

function parse(bytes: Uint8Array, schema: Schema): Message {
  const message: Message = [];
  let pos = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[pos++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  while (pos < bytes.length) {
    const tag = Number(varint());
    const [number, wire] = [tag >>> 3, tag & 7];
    if (wire === 0) {
      message.push({ number, wire, value: varint() });
      continue;
    }
    const length = wire === 1 ? 8 : wire === 5 ? 4 : Number(varint());
    const value = bytes.subarray(pos, (pos += length));
    message.push({ number, wire, value: wire === 2 && schema[number] ? parse(value, schema[number]) : value });
  }
  return message;
}

function encode(message: Message): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { number, wire, value } of message) {
    parts.push(varintOf(BigInt(number * 8 + wire)));
    if (typeof value === "bigint") parts.push(varintOf(value));
    else {
      const bytes = value instanceof Uint8Array ? value : encode(value);
      if (wire === 2) parts.push(varintOf(BigInt(bytes.length)));
      parts.push(bytes);
    }
  }
  return Uint8Array.from(Buffer.concat(parts));
}

function varintOf(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
