/** Object detection: what is where on a picture. For the YOLO family from version 8 on, as Ultralytics exports it. */

import type { SourceInput } from "../formats/source.ts";
import type { Dim } from "../graph/ir.ts";
import type { Session } from "../graph/session.ts";
import { suppress } from "../ops/non-max-suppression.ts";
import { toF64 } from "../tensor/convert.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { isFloat } from "../tensor/dtype.ts";
import { FormatError, InputError, UnsupportedOpError } from "../tensor/errors.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { checkClassOptions, labelsBeside, numbered } from "./classes.ts";
import {
  type ImageInput,
  type ImageLayout,
  layoutOf,
  type Pixels,
  type Region,
  readImage,
  tensorOf,
} from "./image/image.ts";
import { resample } from "./image/resample.ts";
import { openGraphOf } from "./onnx-model.ts";
import {
  checkOptions,
  checkWhole,
  type OptionNames,
  type SignalOptions,
  signalOptions,
  type TaskOptions,
  taskOptions,
} from "./options.ts";

export interface ObjectDetectionOptions extends TaskOptions {
  /** Names of the classes in order. Default: what the file says, or lies beside it. */
  labels?: readonly string[];
  /**
   * Side of the square that images are fitted into, where the model takes any, 8192 at most. Default: the height and width that
   * the file says, else 640.
   */
  size?: number;
}

export interface DetectOptions extends SignalOptions {
  /** Least score, 0 to 1. Default 0.25. */
  threshold?: number;
  /** Of two boxes of a class that share more than this (intersection over union), the surer stays. Default 0.45. */
  overlap?: number;
  /** At most so many of each class. Default 100. */
  limit?: number;
}

export interface DetectedObject {
  readonly label: string;
  /** 0 to 1. */
  readonly score: number;
  /** In pixels of the upright image, from the upper left, and within it. */
  readonly box: Region;
}

const loadOptions: OptionNames<ObjectDetectionOptions> = { ...taskOptions, labels: true, size: true };
const detectOptions: OptionNames<DetectOptions> = { ...signalOptions, threshold: true, overlap: true, limit: true };

/** See `index.ts`. */
export async function objectDetection(
  model: SourceInput,
  options: ObjectDetectionOptions = {},
): Promise<ObjectDetector> {
  checkOptions("objectDetection", options, loadOptions);
  checkClassOptions("objectDetection", options);
  const { size: side } = options;
  if (side !== undefined) checkSize(side);
  const { session, folder, metadata } = await openGraphOf(model, options);
  try {
    const task = metadata["task"] ?? "detect";
    if (!tasks.includes(task))
      throw new UnsupportedOpError(
        `a detector's task is ${tasks.join(" or ")}; the file says that this model's is "${task}" (metadata "task")`,
      );
    if (session.inputs.length !== 1)
      throw new UnsupportedOpError(`a detector takes one image, not ${session.inputs.map((p) => p.name).join(", ")}`);
    const [{ dtype = "sequence", shape }] = session.outputs;
    if (shape && shape.length !== 3) throw otherOutput(dtype, shape);
    const named = options.labels ? undefined : namesIn(metadata["names"]);
    const beside = async () => labelsBeside(folder, await folder.optionalJson("config.json"));
    const labels = options.labels ?? named ?? (await beside());
    const size: Sides = side !== undefined ? [side, side] : (sidesIn(metadata["imgsz"]) ?? [640, 640]);
    const setup = { labels, isNamed: named !== undefined, size, hasMasks: task === "segment" };
    return new ObjectDetector(session, layoutOf(session.inputs[0]), setup);
  } catch (e) {
    session.dispose();
    throw e;
  }
}

/** Of models with boxes. What outlines objects says it behind the classes of each. */
const tasks = ["detect", "segment"];

const otherOutput = (dtype: string, shape: readonly Dim[], more = ""): UnsupportedOpError =>
  new UnsupportedOpError(`a detector's output is f32[1, 4 + classes, boxes], not ${dtype}[${shape}]${more}`);

type Sides = readonly [height: number, width: number];

interface DetectorSetup {
  labels?: readonly string[];
  /** Whether the labels are the file's own. */
  isNamed?: boolean;
  /** Of the rectangle that images are fitted into, where the model takes any. */
  size: Sides;
  /** Whether there is a second output, of the parts of masks; as many numbers stand behind the classes of a box. */
  hasMasks?: boolean;
}

/** Its square of floats takes 768 MB. */
const largest = 8192;

/** @throws InputError */
function checkSize(size: number): void {
  checkWhole("objectDetection", { size }, 1);
  if (size > largest) throw new InputError(`objectDetection: size is ${largest} at most, got ${size}`);
}

/** Grey, as in training. */
const padding = 114;

export class ObjectDetector {
  constructor(
    readonly session: Session,
    private readonly layout: ImageLayout,
    private readonly setup: DetectorSetup,
  ) {}

  /**
   * The objects of an image, the surest first. A box is one object, of its likeliest class, as Ultralytics' own `predict` has it.
   * @throws FormatError for a file that is no image, MissingPeerError for one that needs `sharp`, InputError for options out of
   * range and pixels that do not fill their size, UnsupportedOpError for outputs that are not YOLO's or hold more than the
   * classes that the file names, the signal's reason when aborted
   */
  async detect(image: ImageInput, options: DetectOptions = {}): Promise<DetectedObject[]> {
    checkOptions("detect", options, detectOptions);
    const { session, layout, setup } = this;
    const { threshold = 0.25, overlap = 0.45, limit = 100, signal } = options;
    for (const [name, v] of Object.entries({ threshold, overlap }))
      if (!(typeof v === "number" && v >= 0 && v <= 1))
        throw new InputError(`detect: ${name} takes a number from 0 to 1, got ${typeof v === "string" ? `"${v}"` : v}`);
    checkWhole("detect", { limit });
    const pixels = await readImage(image, { signal });
    const height = typeof layout.height === "number" ? layout.height : setup.size[0];
    const width = typeof layout.width === "number" ? layout.width : setup.size[1];
    const { rgb, scale, left, top } = fitted(pixels, height, width);
    const input = tensorOf(rgb, height, width, layout, {});
    const outputs = await session.run({ [session.inputs[0].name]: input }, { signal });
    const regionOf = (x: number, y: number, w: number, h: number): Region | undefined =>
      clipped((x - w / 2 - left) / scale, (y - h / 2 - top) / scale, w / scale, h / scale, pixels);
    const given = session.outputs.map(({ name }) => outputs[name]);
    const [output, masks] = given;
    if (!setup.hasMasks) checkOthers(given);
    const behind = setup.hasMasks && masks ? masks.shape[1] : 0;
    const { regions, boxes, scores } = split(output, { behind, named: setup.labels?.length }, threshold, regionOf);
    const classes = scores.shape[1];
    const labels = setup.labels ?? numbered(classes);
    if (labels.length !== classes && setup.isNamed)
      throw otherOutput(
        output.dtype,
        output.shape,
        ` for the ${labels.length} classes that the file names (metadata "names"): pass { labels } if there are ${classes}`,
      );
    if (labels.length !== classes)
      throw new InputError(`there are ${labels.length} labels for ${classes} classes: pass { labels }`);
    const limits = { most: limit, iou: overlap, score: -1 };
    const chosen = suppress(boxes, scores, { centerPointBox: true }, limits).data as BigInt64Array;
    const found: DetectedObject[] = [];
    for (let i = 0; i < chosen.length; i += 3) {
      const [c, at] = [Number(chosen[i + 1]), Number(chosen[i + 2])];
      found.push({ label: labels[c], score: scores.data[c * regions.length + at], box: regions[at] });
    }
    return found.sort((a, b) => b.score - a.score);
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}

/** The image in its own proportions in the middle of a grey rectangle. */
function fitted(image: Pixels, height: number, width: number) {
  const scale = Math.min(height / image.height, width / image.width);
  const [h, w] = [Math.max(1, Math.round(image.height * scale)), Math.max(1, Math.round(image.width * scale))];
  const [top, left] = [(height - h) >> 1, (width - w) >> 1];
  const inside = resample(image, { x: 0, y: 0, width: image.width, height: image.height }, h, w);
  const rgb = new Uint8Array(height * width * 3).fill(padding);
  for (let y = 0; y < h; y++) rgb.set(inside.subarray(y * w * 3, (y + 1) * w * 3), ((top + y) * width + left) * 3);
  return { rgb, scale, left, top };
}

/**
 * Other detectors have their boxes in an output of its own, [1, n, 4] or [1, 4, n]. Raw exports of YOLO add what the first output
 * is made of: such boxes too, but then scores of as many classes.
 * @throws UnsupportedOpError
 */
function checkOthers([{ dtype, shape }, ...others]: readonly HostTensor[]): void {
  const three = others.filter((t) => t.shape.length === 3);
  const boxes = three.find((t) => t.shape[1] === 4 || t.shape[2] === 4);
  if (boxes && !three.some((t) => t.shape[1] === shape[1] - 4))
    throw otherOutput(dtype, shape, ` beside boxes ${boxes.dtype}[${boxes.shape}]`);
}

/**
 * Output [1, 4 + classes + behind, n] as boxes [1, m, 4] of centre and size, and scores [1, classes, m]. Boxes without a region in
 * the image are left out: they would take the places of others. Of a box's scores the highest stays, unless it is below `least`;
 * others become NaN, which is above nothing.
 * @param named how many classes have names. More rows than boxes are YOLO's only where they are as many
 * @throws UnsupportedOpError
 */
function split(
  output: HostTensor,
  { behind, named }: { behind: number; named?: number },
  least: number,
  regionOf: (...box: [number, number, number, number]) => Region | undefined,
) {
  const { dtype, shape } = output;
  const [batch, rows, n] = shape;
  const classes = rows - 4 - behind;
  const isOther = classes <= 0 || (rows > n && classes !== named);
  if (!isFloat(dtype) || shape.length !== 3 || batch !== 1 || isOther) throw otherOutput(dtype, shape);
  const all = toF64(output);
  const [regions, columns]: [Region[], number[]] = [[], []];
  for (let i = 0; i < n; i++) {
    const region = regionOf(all[i], all[n + i], all[2 * n + i], all[3 * n + i]);
    if (!region) continue;
    regions.push(region);
    columns.push(i);
  }
  const m = columns.length;
  const boxes = new Float64Array(4 * m);
  const scores = new Float64Array(classes * m).fill(Number.NaN);
  for (let k = 0; k < 4; k++) for (let i = 0; i < m; i++) boxes[4 * i + k] = all[k * n + columns[i]];
  for (let i = 0; i < m; i++) {
    const scoreOf = (c: number): number => all[(4 + c) * n + columns[i]];
    let best = 0;
    for (let c = 1; c < classes; c++) if (scoreOf(c) > scoreOf(best)) best = c;
    if (scoreOf(best) >= least) scores[best * m + i] = scoreOf(best);
  }
  return {
    regions,
    boxes: { dtype: "f64", shape: [1, m, 4], data: boxes },
    scores: { dtype: "f64", shape: [1, classes, m], data: scores },
  } as const;
}

/** The part within the image; undefined where there is none, and for NaN. */
function clipped(x: number, y: number, w: number, h: number, { width, height }: Pixels): Region | undefined {
  const within = (v: number, end: number): number => Math.min(end, Math.max(0, v));
  const [left, top] = [within(x, width), within(y, height)];
  const region = { x: left, y: top, width: within(x + w, width) - left, height: within(y + h, height) - top };
  return region.width > 0 && region.height > 0 ? region : undefined;
}

/** Of classes in a dictionary. A number in a file does not decide how long a list becomes. */
const mostNames = 65_536;

/**
 * A dictionary as Python prints it, `{0: 'person', 1: "jack-o'-lantern"}`.
 * @throws FormatError for classes of numbers beyond reason
 */
function namesIn(text = ""): string[] | undefined {
  const names = new Map<number, string>();
  let count = 0;
  for (const [, n, a, b] of text.matchAll(/(?<!\d)(\d+):\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/g)) {
    const c = Number(n);
    if (c >= mostNames)
      throw new FormatError(`metadata "names" has class ${n}; they are below ${mostNames}: pass { labels }`);
    names.set(c, unescaped(a ?? b));
    count = Math.max(count, c + 1);
  }
  return count > 0 ? Array.from({ length: count }, (_, i) => names.get(i) ?? `class ${i}`) : undefined;
}

/** What backslashes stand for where Python prints a string. */
const unescaped = (text: string): string =>
  text.replace(
    /\\(?:x([\da-f]{2})|u([\da-f]{4})|U(00(?:0[\da-f]|10)[\da-f]{4})|([\\'"nrt]))/g,
    (_, x, u, U, c: string) =>
      c === undefined
        ? String.fromCodePoint(Number.parseInt(x ?? u ?? U, 16))
        : ({ n: "\n", r: "\r", t: "\t" }[c] ?? c),
  );

/** Of `[480, 640]`; one number is both. Throws FormatError for one that no image has. */
function sidesIn(text = ""): Sides | undefined {
  const digits = text.match(/\d+/g);
  if (!digits) return undefined;
  const [height, width = height] = digits.map(Number);
  for (const side of [height, width])
    if (side < 1 || side > largest)
      throw new FormatError(`metadata "imgsz" says ${side}; sizes are 1 to ${largest}: pass { size }`);
  return [height, width];
}
