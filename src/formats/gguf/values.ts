/** The metadata values of GGUF: thirteen types, of which an array may hold any. */
import { InputError } from "../../tensor/errors.ts";
import { StringList } from "../string-list.ts";
import type { Cursor } from "./cursor.ts";

/** Numbers in a typed array of their width; strings, booleans and arrays in an array. */
export type GgufArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array
  | string[]
  | boolean[]
  | GgufArray[];

/** 64-bit integers beyond 2^53 are bigints. */
export type GgufValue = number | bigint | boolean | string | GgufArray;
/** The same, arrays of strings as lists: see `readPackedGguf`. */
export type PackedValue = GgufValue | StringList;
export const plainValue = (v: PackedValue): GgufValue => (v instanceof StringList ? [...v] : v);

/** In the order of their numbers in files. */
const scalarNames = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
type ElementType = (typeof scalarNames)[number];
/** `u32`, or `u32[]` for an array; an array of arrays is `array[]`. */
export type GgufValueType = Exclude<ElementType, "array"> | `${ElementType}[]`;

const typedArrays = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f64: Float64Array,
} as const;
type NumberType = keyof typeof typedArrays;
const isNumberType = (type: ElementType): type is NumberType => Object.hasOwn(typedArrays, type);

/** The least that an element takes in a file: a string its length, an array its type and length. */
const smallest = (type: ElementType): number =>
  isNumberType(type) ? typedArrays[type].BYTES_PER_ELEMENT : type === "bool" ? 1 : type === "string" ? 8 : 12;

/** Deeper nesting is refused rather than left to the call stack. */
const maxDepth = 16;

const plainOf64 = (v: bigint): number | bigint => (BigInt.asIntN(54, v) === v ? Number(v) : v);

export async function readValue(c: Cursor): Promise<{ type: GgufValueType; value: PackedValue }> {
  const type = await c.whole(() => readType(c));
  if (type !== "array") return { type, value: await c.whole(() => readScalar(c, type)) };
  const { element, value } = await readArray(c, 1);
  return { type: `${element}[]`, value };
}

function readType(c: Cursor): ElementType {
  const { at } = c;
  const id = c.u32();
  return scalarNames[id] ?? c.fail(`unknown metadata type ${id}`, at);
}

function readScalar(c: Cursor, type: Exclude<ElementType, "array">): GgufValue {
  switch (type) {
    case "string":
      return c.text();
    case "bool":
      return readBool(c);
    case "u64":
      return plainOf64(c.bigU64());
    case "i64":
      return plainOf64(c.bigI64());
    default:
      return c[type]();
  }
}

function readBool(c: Cursor): boolean {
  const { at } = c;
  const byte = c.u8();
  if (byte > 1) c.fail(`a bool is ${byte}`, at);
  return byte === 1;
}

async function readArray(c: Cursor, depth: number): Promise<{ element: ElementType; value: GgufArray | StringList }> {
  if (depth > maxDepth) c.fail(`arrays are nested deeper than ${maxDepth}`, c.at);
  const { element, n } = await c.whole(() => {
    const element = readType(c);
    return { element, n: c.count(smallest(element), `${element} elements`) };
  });
  if (isNumberType(element)) {
    const array = typedArrays[element];
    return { element, value: new array(await c.copy(n * array.BYTES_PER_ELEMENT)) };
  }
  if (element === "string") {
    const list = new StringList(n, new Uint8Array(8 * n));
    await c.strings(list, n);
    return { element, value: list };
  }
  const value: unknown[] = [];
  while (value.length < n)
    value.push(
      element === "bool" ? await c.whole(() => readBool(c)) : plainValue((await readArray(c, depth + 1)).value),
    );
  return { element, value: value as GgufArray };
}

/** Bytes of metadata as they are appended. */
export class Bytes {
  private data = new Uint8Array(1024);
  private view = new DataView(this.data.buffer);
  length = 0;

  /** Makes room for `length` more bytes and returns where they begin. */
  private room(length: number): number {
    const at = this.length;
    if (at + length > this.data.length) {
      const larger = new Uint8Array(Math.max(at + length, this.data.length * 2));
      larger.set(this.data);
      this.data = larger;
      this.view = new DataView(larger.buffer);
    }
    this.length += length;
    return at;
  }

  u32(v: number): void {
    const at = this.room(4); // First: it may replace the view.
    this.view.setUint32(at, v, true);
  }
  u64(v: number | bigint): void {
    const at = this.room(8);
    this.view.setBigUint64(at, BigInt(v), true);
  }
  raw(bytes: Uint8Array): void {
    const at = this.room(bytes.length);
    this.data.set(bytes, at);
  }
  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.raw(bytes);
  }
  done = (): Uint8Array => this.data.subarray(0, this.length);
}

/** The type a value is stored as when none is named. Numbers: i32 or i64 if whole, u32 where it fits, else f64. */
function inferType(key: string, value: GgufValue): GgufValueType {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return value < 0n ? "i64" : "u64";
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) return "f64";
    if (value >= 0) return value < 2 ** 32 ? "u32" : "u64";
    return value >= -(2 ** 31) ? "i32" : "i64";
  }
  const typed = Object.entries(typedArrays).find(([, array]) => value instanceof array);
  if (typed) return `${typed[0] as NumberType}[]`;
  if (!Array.isArray(value)) throw new InputError(`gguf: metadata ${JSON.stringify(key)} has a value of no known type`);
  if (typeof value[0] === "boolean") return "bool[]";
  return typeof value[0] === "object" ? "array[]" : "string[]";
}

/**
 * Appends a value's type and the value.
 * @throws InputError if the value doesn't fit the type, or the type is none
 */
export function writeValue(out: Bytes, key: string, value: GgufValue, type = inferType(key, value)): void {
  if (!scalarNames.includes(String(type).replace(/\[\]$/, "") as ElementType))
    throw new InputError(
      `gguf: metadata ${JSON.stringify(key)}: "${type}" is no type. There are: ${scalarNames.join(", ")}; u32[] for an array`,
    );
  if (!type.endsWith("[]")) {
    out.u32(scalarNames.indexOf(type as ElementType));
    writeElement(out, key, value, type as ElementType);
    return;
  }
  out.u32(scalarNames.indexOf("array"));
  writeArray(out, key, value, type.slice(0, -2) as ElementType);
}

function writeArray(out: Bytes, key: string, value: GgufValue, element: ElementType): void {
  const fits = isNumberType(element) ? value instanceof typedArrays[element] : Array.isArray(value);
  if (!fits) throw new InputError(`gguf: metadata ${JSON.stringify(key)} is not an array of ${element}`);
  const values = value as GgufArray;
  out.u32(scalarNames.indexOf(element));
  out.u64(values.length);
  if (ArrayBuffer.isView(values)) out.raw(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  else for (const v of values) writeElement(out, key, v, element);
}

function writeElement(out: Bytes, key: string, value: GgufValue, type: ElementType): void {
  const wrong = () => new InputError(`gguf: metadata ${JSON.stringify(key)}: ${String(value)} is not ${type}`);
  if (type === "array") writeArray(out, key, value, inferType(key, value).slice(0, -2) as ElementType);
  else if (type === "string") {
    if (typeof value !== "string") throw wrong();
    out.text(value);
  } else if (type === "bool") {
    if (typeof value !== "boolean") throw wrong();
    out.raw(Uint8Array.of(value ? 1 : 0));
  } else {
    const big = type === "u64" || type === "i64";
    if (typeof value !== "number" && !(big && typeof value === "bigint")) throw wrong();
    if (type !== "f32" && type !== "f64" && typeof value === "number" && !Number.isInteger(value)) throw wrong();
    const stored = new typedArrays[type](1);
    if (big) stored[0] = BigInt(value);
    else stored[0] = value as number;
    // Rounding to f32 is meant, wrapping an integer is not.
    if (type !== "f32" && !Object.is(Number(stored[0]), Number(value))) throw wrong();
    if (typeof value === "bigint" && stored[0] !== value) throw wrong();
    out.raw(new Uint8Array(stored.buffer));
  }
}
