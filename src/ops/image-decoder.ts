import { InputError, UnsupportedOpError } from "../tensor/errors.ts";
import { loadPeer } from "../tensor/peer.ts";
import { type HostTensor, isHostTensor } from "../tensor/tensor.ts";
import { expectDType, expectRank } from "./check.ts";
import { decodeBmp, decodePnm, type RgbImage } from "./image-files.ts";
import { defineOp } from "./op.ts";

export interface ImageDecoderAttrs {
  /** Default `RGB`. */
  pixelFormat?: "RGB" | "BGR" | "Grayscale";
}

/** What is used of the optional peer `sharp`. */
interface Sharp {
  /** Without an angle: as EXIF says. */
  rotate(): Sharp;
  removeAlpha(): Sharp;
  toColourspace(space: string): Sharp;
  raw(): Sharp;
  toBuffer(options: { resolveWithObject: true }): Promise<{
    data: Uint8Array;
    info: { width: number; height: number; channels: number };
  }>;
}

/**
 * An encoded image, u8 [bytes], as u8 [height, width, 3 or 1]. BMP and PNM are read here; JPEG, PNG, WebP, TIFF and GIF
 * by the optional peer `sharp`. An empty tensor for bytes that can't be decoded.
 * @throws MissingPeerError without `sharp`, UnsupportedOpError for JPEG 2000
 */
export const imageDecoder = /* @__PURE__ */ defineOp({
  name: "imageDecoder",
  inputs: ["encoded"],
  *evaluate([encoded], { pixelFormat = "RGB" }: ImageDecoderAttrs): Generator<unknown, HostTensor[]> {
    if (!isHostTensor(encoded)) throw new InputError("imageDecoder: takes a tensor", { op: "imageDecoder" });
    expectDType("imageDecoder", encoded, "u8");
    expectRank("imageDecoder", encoded, 1);
    const bytes = encoded.data as Uint8Array;
    const image = decodeBmp(bytes) ?? decodePnm(bytes) ?? ((yield decodeWithSharp(bytes)) as RgbImage | undefined);
    return [arrange(image ?? { width: 0, height: 0, data: new Uint8Array(0) }, pixelFormat)];
  },
});

/** Pages and workers, which decode pictures, but always upright: the operator can't use them. */
const decodes = (): boolean => "createImageBitmap" in globalThis && "OffscreenCanvas" in globalThis;

/**
 * Upright, where the operator gives rows as they are stored: cameras store them as the sensor lies and note how they were
 * held in EXIF's orientation. What is not read here the host decodes, as RGBA, or where it can't, `sharp`. Undefined for bytes
 * that can't be decoded. Throws as the operator does.
 */
export async function decodeUpright(bytes: Uint8Array): Promise<RgbImage | ImageData | undefined> {
  const read = decodeBmp(bytes) ?? decodePnm(bytes);
  if (read) return read;
  return decodes() ? (await import("./host-pictures.ts")).decodeByHost(bytes) : decodeWithSharp(bytes, true);
}

const startsWith = (bytes: Uint8Array, ...head: number[]): boolean => head.every((b, i) => bytes[i] === b);
/** The box that opens a JP2 file, or the markers that open a bare codestream. */
const isJpeg2000 = (bytes: Uint8Array): boolean =>
  startsWith(bytes, 0, 0, 0, 12, 0x6a, 0x50, 0x20, 0x20) || startsWith(bytes, 0xff, 0x4f, 0xff, 0x51);

async function decodeWithSharp(bytes: Uint8Array, upright = false): Promise<RgbImage | undefined> {
  if (isJpeg2000(bytes))
    throw new UnsupportedOpError("imageDecoder: JPEG 2000 is not supported", {
      op: "imageDecoder",
      missing: ["imageDecoder: JPEG 2000"],
    });
  const { default: sharp } = await loadPeer<{ default: (bytes: Uint8Array) => Sharp }>("sharp", "this image format");
  try {
    const stored = sharp(bytes);
    const pixels = (upright ? stored.rotate() : stored).removeAlpha().toColourspace("srgb").raw();
    const decoded = await pixels.toBuffer({ resolveWithObject: true });
    const { width, height, channels } = decoded.info;
    if (channels === 3) return { width, height, data: decoded.data };
    const data = new Uint8Array(width * height * 3);
    for (let i = 0; i < width * height; i++) data.fill(decoded.data[i * channels], 3 * i, 3 * i + 3);
    return { width, height, data };
  } catch {
    // The operator's answer to a damaged or unknown file is an empty image.
    return undefined;
  }
}

function arrange({ width, height, data }: RgbImage, format: NonNullable<ImageDecoderAttrs["pixelFormat"]>): HostTensor {
  const n = width * height;
  if (format === "RGB") return { dtype: "u8", shape: [height, width, 3], data: new Uint8Array(data) };
  const out = new Uint8Array(format === "BGR" ? 3 * n : n);
  for (let i = 0; i < n; i++) {
    const [r, g, b] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    // Luma of ITU-R BT.601 in 16-bit fixed point, rounded.
    if (format === "Grayscale") out[i] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
    else out.set([b, g, r], 3 * i);
  }
  return { dtype: "u8", shape: [height, width, format === "BGR" ? 3 : 1], data: out };
}
