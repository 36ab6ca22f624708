/** Parts of multiples of four bytes as f32. */
export async function* floatParts(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Float32Array> {
  for await (const part of parts) {
    const { buffer, byteOffset, length } = part.byteOffset % 4 ? part.slice() : part;
    yield new Float32Array(buffer, byteOffset, length / 4);
  }
}
