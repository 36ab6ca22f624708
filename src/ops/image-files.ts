/**
 * Image files that need no codec: BMP (uncompressed) and the portable anymap family. Source: Microsoft BITMAPINFOHEADER
 * documentation; netpbm's pbm(5), pgm(5), ppm(5).
 */

/** Pixels in rows from the top, three bytes each: red, green, blue. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Undefined where the bytes are no BMP that this reader knows; truncated files too. */
export function decodeBmp(bytes: Uint8Array): RgbImage | undefined {
  if (bytes.length < 54 || bytes[0] !== 0x42 || bytes[1] !== 0x4d) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = view.getUint32(14, true);
  const width = view.getInt32(18, true);
  const rows = view.getInt32(22, true);
  const bits = view.getUint16(28, true);
  const compression = view.getUint32(30, true);
  const height = Math.abs(rows);
  const pixels = view.getUint32(10, true);
  const stride = (((width * bits + 31) >> 5) << 2) >>> 0;
  if (header < 40 || width <= 0 || height === 0 || ![1, 4, 8, 24, 32].includes(bits)) return undefined;
  // BI_BITFIELDS with 32 bits has the same layout in practice: blue, green, red, alpha.
  if (compression !== 0 && !(compression === 3 && bits === 32)) return undefined;
  if (pixels + stride * height > bytes.length) return undefined;
  const palette = 14 + header;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    // A positive height means that rows start at the bottom.
    const row = pixels + stride * (rows > 0 ? height - 1 - y : y);
    for (let x = 0; x < width; x++, to += 3) {
      let at: number;
      if (bits >= 24) at = row + x * (bits >> 3);
      else {
        const bit = x * bits;
        const index = (bytes[row + (bit >> 3)] >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
        at = palette + 4 * index;
      }
      data[to] = bytes[at + 2];
      data[to + 1] = bytes[at + 1];
      data[to + 2] = bytes[at];
    }
  }
  return { width, height, data };
}

/** P1 to P6. Undefined where the bytes are none of them; truncated files too. */
export function decodePnm(bytes: Uint8Array): RgbImage | undefined {
  const kind = bytes[1] - 0x30;
  if (bytes[0] !== 0x50 || !(kind >= 1 && kind <= 6)) return undefined;
  let at = 2;
  const isSpace = (c: number): boolean => c === 32 || (c >= 9 && c <= 13);
  const skipSpace = (): void => {
    while (at < bytes.length && (isSpace(bytes[at]) || bytes[at] === 0x23)) {
      if (bytes[at] === 0x23) while (at < bytes.length && bytes[at] !== 10) at++;
      else at++;
    }
  };
  // In plain bitmaps every digit is a number of its own.
  const number = (digits = Number.POSITIVE_INFINITY): number => {
    skipSpace();
    const from = at;
    while (at < bytes.length && at - from < digits && bytes[at] >= 0x30 && bytes[at] <= 0x39) at++;
    return at === from ? Number.NaN : Number(String.fromCharCode(...bytes.subarray(from, at)));
  };
  const bitmap = kind === 1 || kind === 4;
  const width = number();
  const height = number();
  const most = bitmap ? 1 : number();
  if (!(width > 0 && height > 0 && most > 0 && most < 65536)) return undefined;
  const channels = kind === 3 || kind === 6 ? 3 : 1;
  const raw = kind >= 4;
  const wide = most > 255;
  if (raw) at++;
  const rowBytes = kind === 4 ? (width + 7) >> 3 : width * channels * (wide ? 2 : 1);
  if (raw && at + rowBytes * height > bytes.length) return undefined;
  const sample = (y: number, i: number): number => {
    if (!raw) return number(bitmap ? 1 : undefined);
    const row = at + y * rowBytes;
    if (kind === 4) return (bytes[row + (i >> 3)] >> (7 - (i & 7))) & 1;
    return wide ? bytes[row + 2 * i] * 256 + bytes[row + 2 * i + 1] : bytes[row + i];
  };
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += 3)
      for (let c = 0; c < 3; c++) {
        if (channels === 1 && c > 0) data[to + c] = data[to];
        else {
          const v = sample(y, x * channels + (channels === 3 ? c : 0));
          if (Number.isNaN(v)) return undefined;
          // In bitmaps 1 is black.
          data[to + c] = Math.round((255 * (bitmap ? 1 - v : Math.min(v, most))) / most);
        }
      }
  return { width, height, data };
}
