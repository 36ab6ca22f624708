/** Multiples of four bytes as f32: a view of them where the alignment allows, otherwise a copy. */
export function floatsOf(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 ? bytes.slice() : bytes;
  return new Float32Array(buffer, byteOffset, length / 4);
}

/** The same part by part. */
export async function* floatParts(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Float32Array> {
  for await (const part of parts) yield floatsOf(part);
}
