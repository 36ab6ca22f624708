/** Object detection: what is where on a picture. For the YOLO family from version 8 on, as Ultralytics exports it. */
import { openSource, type SourceInput } from "../formats/source.ts";
import type { Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { suppress } from "../ops/non-max-suppression.ts";
import { InputError, UnsupportedOpError } from "../tensor/errors.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { labelsBeside, numbered } from "./classes.ts";
import {
  type ImageInput,
  type ImageLayout,
  layoutOf,
  type Pixels,
  type Region,
  readImage,
  resample,
  tensorOf,
} from "./image/image.ts";
import { openGraph } from "./onnx-model.ts";
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
  /** Side of the square that images are fitted into, where the model takes any. Default: what the file says, else 640. */
  size?: number;
}

export interface DetectOptions extends SignalOptions {
  /** Least score. Default 0.25. */
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
  /** In pixels of the image, from the upper left. */
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
  const source = await openSource(model, sourceOptions(options));
  const { session, folder, metadata } = await openGraph(source, options);
  try {
    const labels = options.labels ?? namesIn(metadata["names"]) ?? (await labelsBeside(folder));
    const size = options.size ?? Number(/\d+/.exec(metadata["imgsz"] ?? "")?.[0] ?? 640);
    return new ObjectDetector(session, layoutOf(session.inputs[0]), { labels, size });
  } catch (e) {
    session.dispose();
    throw e;
  }
}

/** Grey, as in training. */
const padding = 114;

export class ObjectDetector {
  constructor(
    readonly session: Session,
    private readonly layout: ImageLayout,
    private readonly setup: { labels?: readonly string[]; size: number },
  ) {}

  /**
   * The objects of an image, the surest first.
   * @throws FormatError for a file that is no image, MissingPeerError for one that needs `sharp`, InputError for options out of
   * range and pixels that do not fill their size, UnsupportedOpError for outputs that are not YOLO's, the signal's reason when aborted
   */
  async detect(image: ImageInput, options: DetectOptions = {}): Promise<DetectedObject[]> {
    checkOptions("detect", options, detectOptions);
    const { session, layout, setup } = this;
    const { threshold = 0.25, overlap = 0.45, limit = 100, signal } = options;
    for (const [name, v] of Object.entries({ threshold, overlap }))
      if (!(v >= 0 && v <= 1)) throw new InputError(`detect: ${name} takes a number from 0 to 1, got ${v}`);
    checkWhole("detect", { limit });
    const pixels = await readImage(image, { signal });
    const height = typeof layout.height === "number" ? layout.height : setup.size;
    const width = typeof layout.width === "number" ? layout.width : setup.size;
    const { rgb, scale, left, top } = fitted(pixels, height, width);
    const input = tensorOf(rgb, height, width, layout, {});
    const outputs = await session.run({ [session.inputs[0].name]: input }, { signal });
    const { boxes, scores } = split(outputs[session.outputs[0].name]);
    const classes = scores.shape[1];
    const labels = setup.labels ?? numbered(classes);
    if (labels.length !== classes)
      throw new InputError(`there are ${labels.length} labels for ${classes} classes: pass { labels }`);
    const limits = { most: limit, iou: overlap, score: threshold };
    const chosen = suppress(boxes, scores, { centerPointBox: true }, limits).data as BigInt64Array;
    const found: DetectedObject[] = [];
    for (let i = 0; i < chosen.length; i += 3) {
      const [c, at] = [Number(chosen[i + 1]), Number(chosen[i + 2])];
      const [x, y, w, h] = (boxes.data as Float32Array).subarray(4 * at, 4 * at + 4);
      const box = clipped((x - w / 2 - left) / scale, (y - h / 2 - top) / scale, w / scale, h / scale, pixels);
      const score = (scores.data as Float32Array)[c * scores.shape[2] + at];
      found.push({ label: labels[c], score, box });
    }
    return found.sort((a, b) => b.score - a.score);
  }

  dispose(): void {
    this.session.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The image in its own proportions in the middle of a grey rectangle. */
function fitted(image: Pixels, height: number, width: number) {
  const scale = Math.min(height / image.height, width / image.width);
  const [h, w] = [Math.max(1, Math.round(image.height * scale)), Math.max(1, Math.round(image.width * scale))];
  const [top, left] = [(height - h) >> 1, (width - w) >> 1];
  const inside = resample(image, { x: 0, y: 0, width: image.width, height: image.height }, h, w);
  const rgb = new Float32Array(height * width * 3).fill(padding);
  for (let y = 0; y < h; y++) rgb.set(inside.subarray(y * w * 3, (y + 1) * w * 3), ((top + y) * width + left) * 3);
  return { rgb, scale, left, top };
}

/** Output [1, 4 + classes, n] as boxes [1, n, 4] of centre and size, and scores [1, classes, n]. */
function split({ dtype, shape, data }: HostTensor) {
  const [batch, rows, n] = shape;
  if (dtype !== "f32" || shape.length !== 3 || batch !== 1 || rows <= 4 || rows > n)
    throw new UnsupportedOpError(`a detector's output is f32[1, 4 + classes, boxes], not ${dtype}[${shape}]`);
  const all = data as Float32Array;
  const boxes = new Float32Array(4 * n);
  for (let i = 0; i < n; i++) for (let k = 0; k < 4; k++) boxes[4 * i + k] = all[k * n + i];
  return {
    boxes: { dtype: "f32", shape: [1, n, 4], data: boxes },
    scores: { dtype: "f32", shape: [1, rows - 4, n], data: all.subarray(4 * n) },
  } satisfies Record<string, HostTensor>;
}

function clipped(x: number, y: number, w: number, h: number, { width, height }: Pixels): Region {
  const [left, top] = [Math.max(0, x), Math.max(0, y)];
  return { x: left, y: top, width: Math.min(width, x + w) - left, height: Math.min(height, y + h) - top };
}

/** A dictionary as Python prints it, `{0: 'person', 1: "jack-o'-lantern"}`. */
function namesIn(text = ""): string[] | undefined {
  const names: string[] = [];
  for (const [, n, a, b] of text.matchAll(/(\d+):\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/g))
    names[Number(n)] = a ?? b;
  return names.length > 0 ? Array.from(names, (name, i) => name ?? `class ${i}`) : undefined;
}
