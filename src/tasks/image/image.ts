/** Pictures as the tensors that models take. */
import { type FetchOptions, openSource, type SourceInput } from "../../formats/source.ts";
import type { Dim, ValueInfo } from "../../graph/ir.ts";
import { decodeImage } from "../../ops/image-decoder.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** Rows of pixels from the top: grey, RGB or RGBA (alpha is dropped), a byte each. `ImageData` is one. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** Pixels, or a file: BMP and PNM are read here, PNG, JPEG, WebP and GIF by the optional peer `sharp`. */
export type ImageInput = Pixels | SourceInput;

/** A part of an image, in pixels. It may go beyond the edges. */
export interface Region {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** What a model wants of its pixels. */
export interface ImagePreparation {
  /** One number a channel, subtracted after the division by 255 (or what the model's files say). Default 0. */
  mean?: readonly number[];
  /** One number a channel, divides what is left. Default 1. */
  std?: readonly number[];
  /** Height and width, where the model takes any. Default: the image's own. */
  size?: readonly [height: number, width: number];
  /** The middle square, this share of the shorter side. Default: the whole image, stretched. */
  crop?: number;
}

/** With what only files say. */
export interface FullPreparation extends ImagePreparation {
  /** What bytes are divided by first. Default 255. */
  divisor?: number;
  /** Subtracted next. Default 0. */
  offset?: number;
  /** Blue before green and red. */
  flipped?: boolean;
}

const isPixels = (v: ImageInput): v is Pixels =>
  typeof v === "object" && v !== null && "width" in v && "height" in v && "data" in v;

/** @throws FormatError for a file that is no image, InputError for pixels that are no bytes or do not fill it, MissingPeerError */
export async function readImage(input: ImageInput, options: FetchOptions & { signal?: AbortSignal } = {}) {
  if (isPixels(input)) {
    const { width, height, data } = input;
    if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray))
      throw new InputError("image: data of pixels is a Uint8Array or Uint8ClampedArray of values from 0 to 255");
    if (
      ![width, height].every((n) => Number.isInteger(n) && n > 0) ||
      ![1, 3, 4].includes(data.length / (width * height))
    )
      throw new InputError(`image: ${data.length} bytes are no grey, RGB or RGBA pixels of ${width} x ${height}`);
    return input;
  }
  const source = await openSource(input, options);
  const image = await decodeImage(await source.read(0, source.size, options.signal));
  if (!image) throw new FormatError(`${source.name}: not an image that can be read, or a damaged one`, { offset: 0 });
  return image;
}

/**
 * @param channels of the model, where they are known
 * @throws InputError
 */
export function checkPreparation({ mean, std, size, crop }: ImagePreparation, channels?: number): void {
  const areNumbers = (v: unknown, fits: (n: number) => boolean): boolean =>
    v === undefined || (Array.isArray(v) && v.every((n) => Number.isFinite(n) && fits(n)));
  if (!areNumbers(mean, () => true)) throw new InputError("image: mean takes an array of numbers, one a channel");
  if (!areNumbers(std, (n) => n !== 0))
    throw new InputError("image: std takes an array of numbers, one a channel, none of them 0");
  for (const [name, list] of Object.entries({ mean, std }))
    if (channels !== undefined && list !== undefined && list.length !== channels)
      throw new InputError(`image: ${name} has ${list.length} numbers for ${channels} channels: pass one a channel`);
  if (!areNumbers(size, (n) => Number.isInteger(n) && n > 0) || (size !== undefined && size.length !== 2))
    throw new InputError("image: size takes [height, width] in pixels");
  if (crop !== undefined && !(crop > 0 && crop <= 1))
    throw new InputError(`image: crop takes a share above 0, 1 at most, got ${crop}`);
}

/** Where a model's input has what. */
export interface ImageLayout {
  readonly channels: 1 | 3;
  readonly channelsFirst: boolean;
  readonly height: Dim;
  readonly width: Dim;
  readonly dtype: "f32" | "u8";
}

/**
 * Where the model leaves its channels free they come first, as in exports from PyTorch, unless the names of dimensions say
 * that they come last.
 * @param free how many channels, where the model leaves that free
 * @throws UnsupportedOpError for an input that takes no images
 */
export function layoutOf({ name, shape = [], dtype }: ValueInfo, free = 3): ImageLayout {
  const isCount = (d: Dim | undefined): boolean => d === 1 || d === 3;
  const isNamed = (d: Dim | undefined): boolean => typeof d === "string" && /channel|^c$/i.test(d);
  const isFree = !isCount(shape[1]) && !isCount(shape[3]);
  const channelsFirst = isFree ? !isNamed(shape[3]) || isNamed(shape[1]) : isCount(shape[1]);
  const given = shape[channelsFirst ? 1 : 3];
  const channels = typeof given === "string" ? free : given;
  if (shape.length !== 4 || (channels !== 1 && channels !== 3) || (dtype !== "f32" && dtype !== "u8"))
    throw new UnsupportedOpError(`input "${name}" takes no images: it is ${dtype}[${shape}]${notes(given, free)}`);
  const [height, width] = channelsFirst ? [shape[2], shape[3]] : [shape[1], shape[2]];
  return { channels, channelsFirst, height, width, dtype };
}

const notes = (given: Dim | undefined, free: number): string =>
  typeof given === "string" && free !== 1 && free !== 3 ? ` of ${free} channels, and pictures have 1 or 3` : "";

/** An image as an input of a model, a batch of one. Bytes stay bytes, floats are 0 to 1 before `mean` and `std`. */
export function imageTensor(image: Pixels, layout: ImageLayout, preparation: FullPreparation = {}): HostTensor {
  const { size, crop } = preparation;
  const height = typeof layout.height === "number" ? layout.height : (size?.[0] ?? image.height);
  const width = typeof layout.width === "number" ? layout.width : (size?.[1] ?? image.width);
  let region: Region = { x: 0, y: 0, width: image.width, height: image.height };
  if (crop !== undefined) {
    const side = crop * Math.min(image.width, image.height);
    region = { x: (image.width - side) / 2, y: (image.height - side) / 2, width: side, height: side };
  }
  return tensorOf(resample(image, region, height, width), height, width, layout, preparation);
}

/** @param rgb [height, width, 3], 0 to 255 */
export function tensorOf(
  rgb: Float32Array,
  height: number,
  width: number,
  { channels, channelsFirst, dtype }: ImageLayout,
  { mean = [], std = [], divisor = 255, offset = 0, flipped = false }: FullPreparation,
): HostTensor {
  const plane = height * width;
  const data = dtype === "u8" ? new Uint8ClampedArray(channels * plane) : new Float32Array(channels * plane);
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < channels; c++) {
      // Luma of ITU-R BT.601.
      const grey = (): number => 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];
      const v = channels === 1 ? grey() : rgb[3 * i + (flipped ? 2 - c : c)];
      data[channelsFirst ? c * plane + i : i * channels + c] =
        dtype === "u8" ? v : (v / divisor - offset - (mean[c] ?? 0)) / (std[c] ?? 1);
    }
  const shape = channelsFirst ? [1, channels, height, width] : [1, height, width, channels];
  return { dtype, shape, data: dtype === "u8" ? new Uint8Array(data.buffer) : (data as Float32Array) };
}

/** A region at another size, RGB [height, width, 3]: a triangle filter as wide as a new pixel, as Pillow's bilinear one. */
export function resample(image: Pixels, region: Region, height: number, width: number): Float32Array {
  const stored = image.data.length / (image.width * image.height);
  const columns = tapsOf(region.x, region.width, width, image.width);
  const rows = tapsOf(region.y, region.height, height, image.height);
  const out = new Float32Array(height * width * 3);
  const lines = new Map<number, Float32Array>();
  /** A row of the image at the new width. */
  const line = (y: number): Float32Array => {
    let l = lines.get(y);
    if (l) return l;
    l = new Float32Array(width * 3);
    columns.forEach(({ from, weights }, x) => {
      for (let k = 0; k < weights.length; k++) {
        const at = (y * image.width + from + k) * stored;
        for (let c = 0; c < 3; c++) l![3 * x + c] += weights[k] * image.data[stored === 1 ? at : at + c];
      }
    });
    lines.set(y, l);
    return l;
  };
  rows.forEach(({ from, weights }, y) => {
    for (const old of lines.keys()) if (old < from) lines.delete(old);
    const target = out.subarray(y * width * 3, (y + 1) * width * 3);
    for (let k = 0; k < weights.length; k++) {
      const l = line(from + k);
      for (let i = 0; i < l.length; i++) target[i] += weights[k] * l[i];
    }
  });
  return out;
}

/** For each new pixel the old ones that it is made of, `from` on, and their shares. */
function tapsOf(start: number, length: number, count: number, limit: number) {
  const scale = length / count;
  const support = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const center = start + (i + 0.5) * scale;
    const from = Math.min(limit - 1, Math.max(0, Math.floor(center - support + 0.5)));
    const to = Math.max(from + 1, Math.min(limit, Math.floor(center + support + 0.5)));
    const raw = Array.from({ length: to - from }, (_, k) =>
      Math.max(0, 1 - Math.abs(from + k + 0.5 - center) / support),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    // Beyond the edges the nearest pixel counts.
    const weights = sum > 0 ? raw.map((w) => w / sum) : [1];
    return { from: sum > 0 ? from : Math.min(limit - 1, Math.max(0, Math.floor(center))), weights };
  });
}
