/** A 24-bit BMP file of RGB bytes. */
export function bmp(width: number, height: number, rgb: Uint8Array): Uint8Array {
  const stride = (width * 3 + 3) & ~3;
  const file = new Uint8Array(54 + stride * height);
  const view = new DataView(file.buffer);
  file.set([0x42, 0x4d]);
  view.setUint32(2, file.length, true);
  view.setUint32(10, 54, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [r, g, b] = rgb.subarray(3 * (y * width + x));
      file.set([b, g, r], 54 + (height - 1 - y) * stride + 3 * x);
    }
  return file;
}
