/** Pictures as the tensors that models take. */
import { type FetchOptions, openSource, type SourceInput } from "../../formats/source.ts";
import type { Dim, ValueInfo } from "../../graph/ir.ts";
import { decodeUpright } from "../../ops/image-decoder.ts";
import { fromF64 } from "../../tensor/convert.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostType } from "../../tensor/host-type.ts";
import { emptyTensor, type HostTensor } from "../../tensor/tensor.ts";
import { type FullPreparation, middleOf, viewOf } from "./preparation.ts";
import { resample } from "./resample.ts";

/** Rows of pixels from the top: grey, RGB or RGBA (alpha is dropped), a byte each. `ImageData` is one. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

type OneOf<Name extends string> = Name extends string ? HostType<Name, never> : never;

/** What a page or a worker can draw, as it is at the moment. */
export type Drawable = OneOf<
  | "HTMLImageElement"
  | "SVGImageElement"
  | "HTMLVideoElement"
  | "HTMLCanvasElement"
  | "OffscreenCanvas"
  | "ImageBitmap"
  | "VideoFrame"
>;

/**
 * Pixels, what the host can draw, or a file, upright as its EXIF data say. BMP and PNM are read here. Others are what the
 * browser knows in pages and workers; elsewhere the optional peer `sharp` reads PNG, JPEG, WebP, GIF, TIFF and AVIF. Alpha is dropped;
 * what is nearly transparent has lost digits of its colours in pages, where pictures are drawn.
 */
export type ImageInput = Pixels | Drawable | SourceInput;

/** A part of an image, in pixels. */
export interface Region {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const isPixels = (v: ImageInput): v is Pixels =>
  typeof v === "object" && v !== null && "width" in v && "height" in v && "data" in v;

/** By what it says that it is: frames have classes of their own. */
const isDrawable = (v: ImageInput): v is Drawable =>
  /^\[object (HTML(Image|Video|Canvas)Element|SVGImageElement|OffscreenCanvas|ImageBitmap|VideoFrame)\]$/.test(
    Object.prototype.toString.call(v),
  );

/**
 * @throws FormatError for a file that is no image, InputError for pixels that are no bytes or do not fill it, and for what has
 * no picture that may be read, MissingPeerError
 */
export async function readImage(
  input: ImageInput,
  options: FetchOptions & { signal?: AbortSignal } = {},
): Promise<Pixels> {
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
  if (isDrawable(input)) return (await import("../../ops/host-pictures.ts")).drawnByHost(input);
  const source = await openSource(input, options, "ImageData or other pixels, what a canvas can draw, ");
  const image = await decodeUpright(await source.read(0, source.size, options.signal));
  if (!image)
    throw new FormatError(`${source.name}: not an image that can be read here, or a damaged one`, { offset: 0 });
  return image;
}

/** Where a model's input has what. */
export interface ImageLayout {
  readonly channels: 1 | 3;
  readonly channelsFirst: boolean;
  readonly height: Dim;
  readonly width: Dim;
  readonly dtype: "f32" | "f16" | "u8";
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
  if (
    shape.length !== 4 ||
    (channels !== 1 && channels !== 3) ||
    (dtype !== "f32" && dtype !== "f16" && dtype !== "u8")
  )
    throw new UnsupportedOpError(`input "${name}" takes no images: it is ${dtype}[${shape}]${notes(given, free)}`);
  const [height, width] = channelsFirst ? [shape[2], shape[3]] : [shape[1], shape[2]];
  return { channels, channelsFirst, height, width, dtype };
}

const notes = (given: Dim | undefined, free: number): string =>
  typeof given === "string" && free !== 1 && free !== 3 ? ` of ${free} channels, and pictures have 1 or 3` : "";

/**
 * An image as an input of a model, a batch of one. Bytes stay bytes, floats are 0 to 1 before `mean` and `std`.
 * @throws InputError where files say that images are not resized, and this one does not fit
 */
export function imageTensor(image: Pixels, layout: ImageLayout, preparation: FullPreparation = {}): HostTensor {
  const fixed = (d: Dim): number | undefined => (typeof d === "number" ? d : undefined);
  const sides = { height: fixed(layout.height), width: fixed(layout.width) };
  const middle = middleOf(image, preparation);
  const picture = middle ? cutOut(image, middle) : image;
  const { region, height, width, window } = viewOf(picture, preparation, sides);
  const rgb = resample(picture, region, height, width, preparation.filter, window);
  return tensorOf(rgb, window.height, window.width, layout, preparation);
}

/** As a picture of its own, black beyond the edges. */
function cutOut(image: Pixels, part: Region): Pixels {
  const { width, height } = image;
  const data = resample(image, { x: 0, y: 0, width, height }, height, width, "nearest", part);
  return { width: part.width, height: part.height, data };
}

/** @param rgb [height, width, 3] */
export function tensorOf(
  rgb: Uint8Array,
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
  if (dtype === "f16") {
    const halves = emptyTensor({ dtype, shape });
    fromF64(data, halves);
    return halves;
  }
  return { dtype, shape, data: dtype === "u8" ? new Uint8Array(data.buffer) : (data as Float32Array) };
}
