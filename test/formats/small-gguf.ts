/** A small GGUF file with much in it. */
import { type GgufValue, readGguf, writeGguf } from "../../src/formats/gguf/index.ts";
import { bytesSource } from "../../src/formats/source.ts";

/** Reads a file that is in memory. */
export const read = (bytes: Uint8Array) => readGguf(bytesSource(bytes, "test.gguf"));

/** Metadata of every kind. */
export const metadata = new Map<string, GgufValue>([
  ["general.architecture", "llama"],
  ["a.u32", 7],
  ["a.i32", -7],
  ["a.f64", 0.1],
  ["a.bool", true],
  ["a.u64", 2n ** 63n],
  ["a.floats", Float32Array.of(1, -2.5)],
  ["a.bytes", Uint8Array.of(1, 2, 3)],
  ["a.words", ["", "héllo", "\uFEFF", "▁the"]],
  ["a.flags", [true, false]],
  ["a.nested", [Int16Array.of(-1, 2), ["x", "y"], [[true], BigInt64Array.of(-5n)]]],
  ["a.empty", []],
]);
/** A file with them, and some tensors. */
export const small = writeGguf({
  metadata,
  tensors: new Map([
    ["w", { type: "F32", shape: [2, 2], bytes: new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer) }],
    ["s", { type: "F32", shape: [], bytes: new Uint8Array(Float32Array.of(5).buffer) }],
    ["none", { type: "Q4_0", shape: [0, 32], bytes: new Uint8Array(0) }],
    ["q", { type: "Q8_0", shape: [3, 32], bytes: new Uint8Array(102).fill(1) }],
  ]),
});
