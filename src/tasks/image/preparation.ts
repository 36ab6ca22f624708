/** What a model wants of its pixels: what users say, and what `preprocessor_config.json` does. */
import type { Json } from "../../formats/folder.ts";
import { FormatError, InputError } from "../../tensor/errors.ts";
import type { Pixels, Region } from "./image.ts";
import { type Filter, filters } from "./resample.ts";

/** What a model wants of its pixels. */
export interface ImagePreparation {
  /** One number a channel, subtracted after the division by 255 (or what the model's files say). Default 0. */
  mean?: readonly number[];
  /** One number a channel, divides what is left. Default 1. */
  std?: readonly number[];
  /** Height and width, where the model takes any. Default: what the model's files say, else the image's own. */
  size?: Sides;
  /** The middle square, this share of the shorter side. Default: what the model's files say, else the whole image, stretched. */
  crop?: number;
}

type Sides = readonly [height: number, width: number];

/** With what only files say. */
export interface FullPreparation extends ImagePreparation {
  /** What bytes are divided by first. Default 255. */
  divisor?: number;
  /** Subtracted next. Default 0. */
  offset?: number;
  /** Blue before green and red. */
  flipped?: boolean;
  fit?: Fit;
  /** Default bilinear. */
  filter?: Filter;
}

/** How pictures come to the size of a model. */
interface Fit {
  /** First the middle of these shares of the shorter side, black beyond the edges. Default: all. */
  readonly middle?: Sides;
  /** To these sides, or to this shorter one in proportion; "none": they stay as they are. Default: to the model's sides. */
  readonly resize?: Sides | number | "none";
  /** What these sides are rounded up to multiples of. Default 1. */
  readonly multiple?: number;
  /** Then the middle of these sides, black beyond the edges. Default: all. */
  readonly crop?: Sides;
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

/** What a model sees of a picture: this region at another size, and of that the window. */
export interface View {
  readonly region: Region;
  readonly height: number;
  readonly width: number;
  readonly window: Region;
}

/** What a file cuts out before all else, as whole pixels that may lie beyond the edges. */
export function middleOf({ width, height }: Pixels, { crop, fit }: FullPreparation): Region | undefined {
  if (crop !== undefined || !fit?.middle) return undefined;
  const [h, w] = fit.middle.map((share) => Math.max(1, Math.floor(share * Math.min(width, height))));
  return { x: (width - w) >> 1, y: (height - h) >> 1, width: w, height: h };
}

/**
 * @param fixed sides of the model
 * @throws InputError where pictures stay as they are and this one does not fit
 */
export function viewOf(
  { width, height }: Pixels,
  { size, crop, fit = {} }: FullPreparation,
  fixed: { height?: number; width?: number },
): View {
  const [h, w] = resized(fit, height, width);
  let [middleHeight, middleWidth] = fit.crop ?? [h, w];
  const toHeight = fixed.height ?? size?.[0] ?? middleHeight;
  const toWidth = fixed.width ?? size?.[1] ?? middleWidth;
  if (crop !== undefined) {
    const side = Math.max(1, Math.floor(crop * Math.min(width, height)));
    const region = { x: (width - side) >> 1, y: (height - side) >> 1, width: side, height: side };
    return { region, height: toHeight, width: toWidth, window: { x: 0, y: 0, width: toWidth, height: toHeight } };
  }
  const asItIs = toHeight === middleHeight && toWidth === middleWidth;
  if (fit.resize === "none" && !asItIs && size === undefined)
    throw new InputError(
      `image: the model takes ${toWidth} x ${toHeight} pixels, preprocessor_config.json says do_resize: false, and that leaves ${middleWidth} x ${middleHeight}: pass { size }, or an image that fits`,
    );
  if (typeof fit.resize === "number" && !fit.crop) {
    // Sides in proportion and none to cut off: where the model takes others, the largest middle of their form.
    const share = Math.min(h / toHeight, w / toWidth);
    [middleHeight, middleWidth] = [toHeight * share, toWidth * share];
  }
  const [rows, columns] = [toHeight / middleHeight, toWidth / middleWidth];
  const [top, left] = [Math.floor((h - middleHeight) / 2) * rows, Math.floor((w - middleWidth) / 2) * columns];
  return {
    region: { x: 0, y: 0, width, height },
    height: h * rows,
    width: w * columns,
    window: { x: left, y: top, width: toWidth, height: toHeight },
  };
}

function resized({ resize, multiple = 1 }: Fit, height: number, width: number): Sides {
  if (resize === undefined || resize === "none") return [height, width];
  const up = (side: number): number => Math.ceil(side / multiple) * multiple;
  if (typeof resize !== "number") return [up(resize[0]), up(resize[1])];
  const long = up(Math.floor((resize * Math.max(height, width)) / Math.min(height, width)));
  return width <= height ? [long, up(resize)] : [up(resize), long];
}

const file = "preprocessor_config.json";

/** A square of floats with such sides takes 768 MB. */
const longest = 8192;

const isSide = (n: unknown): n is number => Number.isInteger(n) && (n as number) > 0 && (n as number) <= longest;

/** Image processors that take one number as the shorter side; others take it as both. */
const keepProportions = new Set(
  "bit chineseclip clip convnext levit mobilenetv1 mobilenetv2 mobilevit poolformer textnet vithybrid".split(" "),
);

/**
 * What Hugging Face's image processors say. One number stands for all channels.
 * @throws FormatError for numbers that make no sense
 */
export function preparationIn(json: Json | undefined, channels: number): FullPreparation {
  if (!json) return {};
  const rescale = json["do_rescale"] !== false;
  const factor = rescale ? positive(json, "rescale_factor", 1 / 255) : 1;
  const normalise = json["do_normalize"] !== false;
  const numbers = (key: string): number[] | undefined => {
    const v = json[key];
    if (v === undefined || v === null) return undefined;
    return typeof v === "number" ? new Array<number>(channels).fill(v) : (v as number[]);
  };
  const std = numbers("image_std");
  // EfficientNet's divides by the deviation once more, also where nothing is normalised.
  const again = familyOf(json) === "efficientnet" && json["include_top"] !== false;
  const twice = normalise && again && Array.isArray(std);
  const kernel = json["resample"] ?? filters.indexOf("bilinear");
  const filter = typeof kernel === "number" ? filters[kernel] : undefined;
  if (!filter) throw new FormatError(`${file}: resample is a number from 0 to 5, not ${JSON.stringify(kernel)}`);
  return {
    mean: normalise ? numbers("image_mean") : undefined,
    std: twice ? std.map((v) => v * v) : normalise || again ? std : undefined,
    divisor: 1 / factor,
    offset: rescale && json["rescale_offset"] === true ? 1 : 0,
    flipped: json["do_flip_channel_order"] === true,
    filter,
    fit: fitIn(json),
  };
}

/** Of the image processor: "convnext", also ResNet's, of `ConvNextImageProcessorFast` or `ConvNextFeatureExtractor`. */
function familyOf(json: Json): string {
  const type = json["image_processor_type"] ?? json["feature_extractor_type"] ?? "";
  return String(type)
    .replace(/(ImageProcessor|FeatureExtractor).*$/, "")
    .toLowerCase();
}

const bothOf = (v: Sides | number | undefined): Sides | undefined => (typeof v === "number" ? [v, v] : v);

/** @throws FormatError */
function fitIn(json: Json): Fit {
  const family = familyOf(json);
  const crops = json["do_center_crop"] ?? (family !== "efficientnet" && (json["crop_size"] ?? undefined) !== undefined);
  const cut = crops && family !== "convnext" ? bothOf(sidesIn(json, "crop_size", true)) : undefined;
  if (family === "perceiver" && crops) return perceiverFit(json, cut);
  if (json["do_resize"] === false) return { resize: "none", crop: cut };
  const size = sidesIn(json, "size", family ? !keepProportions.has(family) : !crops);
  const all = bothOf(size);
  if (size === undefined || all === undefined) return { resize: cut };
  const enlarged = (side: number): number => Math.max(1, Math.floor(side / positive(json, "crop_pct", 224 / 256)));
  if (family === "convnext" && typeof size === "number")
    return size < 384 ? { resize: enlarged(size), crop: all } : { resize: all };
  const crop = crops ? (cut ?? all) : undefined;
  if (family === "levit" && typeof size === "number") return { resize: Math.floor((256 / 224) * size), crop };
  if (family === "textnet") return { resize: size, multiple: divisorIn(json), crop };
  // PoolFormer's enlarges before it cuts out.
  if (typeof json["crop_pct"] !== "number") return { resize: size, crop };
  const [height, width] = all.map(enlarged);
  const resize = height === width ? height : ([height, width] as const);
  return { resize, crop: json["do_center_crop"] === false ? undefined : (crop ?? all) };
}

/** Pictures grow by as much at most: a number in a file does not decide how large they become. */
const mostPadding = 2;

/**
 * Perceiver's cuts off before it resizes: `size` by `crop` is what stays, as a share of the shorter side.
 * @throws FormatError
 */
function perceiverFit(json: Json, crop: Sides = [256, 256]): Fit {
  const size = bothOf(sidesIn(json, "size", true)) ?? [224, 224];
  const middle = [size[0] / crop[0], size[1] / crop[1]] as const;
  if (Math.max(...middle) > mostPadding)
    throw new FormatError(
      `${file}: size ${size.join(" x ")} is more than ${mostPadding} times crop_size ${crop.join(" x ")}, which is not supported`,
    );
  return { middle, resize: json["do_resize"] === false ? "none" : size };
}

/** @throws FormatError */
function divisorIn(json: Json): number {
  const v = json["size_divisor"] ?? 32;
  if (isSide(v)) return v;
  throw new FormatError(`${file}: size_divisor is a whole number from 1 to ${longest}, not ${JSON.stringify(v)}`);
}

/** @throws FormatError */
function positive(json: Json, key: string, missing: number): number {
  const v = json[key] ?? missing;
  if (typeof v === "number" && Number.isFinite(v) && v > 0) return v;
  throw new FormatError(`${file}: ${key} is a number above 0, not ${JSON.stringify(v)}`);
}

/**
 * A shorter side, or height and width.
 * @param isSquare what one number alone stands for
 * @throws FormatError
 */
function sidesIn(json: Json, key: string, isSquare: boolean): Sides | number | undefined {
  const v = json[key];
  if (v === undefined || v === null) return undefined;
  const named = typeof v === "object" && !Array.isArray(v) ? (v as Json) : {};
  const shortest = named["shortest_edge"] ?? (isSquare ? undefined : v);
  const sides = Array.isArray(v) ? v : typeof v === "number" ? [v, v] : [named["height"], named["width"]];
  if (isSide(shortest)) return shortest;
  if (sides.length === 2 && sides.every(isSide)) return [sides[0], sides[1]];
  throw new FormatError(
    `${file}: ${key} is one or two whole numbers from 1 to ${longest}, or has shortest_edge or height and width; not ${JSON.stringify(v)}`,
  );
}
