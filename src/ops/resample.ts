/**
 * Where the samples of a resized axis lie in the original, and with what weights its elements add up to each.
 * Source: ONNX Resize, attributes coordinate_transformation_mode, nearest_mode, cubic_coeff_a, exclude_outside, antialias;
 * the cubic kernel is equation (4) of Keys, "Cubic convolution interpolation" (1981).
 */

export type CoordinateMode =
  | "half_pixel"
  | "half_pixel_symmetric"
  | "pytorch_half_pixel"
  | "align_corners"
  | "asymmetric"
  | "tf_half_pixel_for_nn"
  | "tf_crop_and_resize";

/** `simple`: floor when enlarging, ceil when shrinking, which is what opsets before 11 left unsaid and runtimes do. */
export type NearestMode = "round_prefer_floor" | "round_prefer_ceil" | "floor" | "ceil" | "simple";

export interface FilterAttrs {
  mode: "nearest" | "linear" | "cubic";
  coordinateTransformationMode: CoordinateMode;
  nearestMode: NearestMode;
  cubicCoeffA: number;
  excludeOutside: boolean;
  antialias: boolean;
}

/** One axis: lengths, and the scale as the fraction num / den, so that integer sizes stay exact. */
export interface ResizedAxis {
  readonly input: number;
  readonly output: number;
  readonly num: number;
  readonly den: number;
  /** Start and end of the region, in units of the axis. Used by tf_crop_and_resize. */
  readonly roi: readonly [number, number];
}

/** Output element x is the sum over t < count of weight[x * count + t] * input[index[x * count + t]]. */
export interface Taps {
  readonly count: number;
  readonly index: Int32Array;
  readonly weight: Float64Array;
  /** 1 where the sample lies outside the input and the extrapolation value takes its place. */
  readonly outside?: Uint8Array;
  /** Output element x is input element x. */
  readonly identity: boolean;
}

/**
 * Scales come as f32, so that x / 2.2 lands beside the integer it means, and `floor` would take the wrong neighbour:
 * positions that miss a multiple of one half by no more than the rounding of an f32 are put on it.
 */
function snap(c: number): number {
  const half = Math.round(2 * c) / 2;
  return Math.abs(c - half) <= 2 ** -22 * Math.max(1, Math.abs(c)) ? half : c;
}

/** Position in the input, in elements, of output element x. */
function sourcePosition(mode: CoordinateMode, { input, output, num, den, roi }: ResizedAxis, x: number): number {
  switch (mode) {
    case "half_pixel":
      return ((x + 0.5) * den) / num - 0.5;
    case "half_pixel_symmetric": {
      const adjustment = (output * den) / (input * num);
      return (input / 2) * (1 - adjustment) + ((x + 0.5) * den) / num - 0.5;
    }
    case "pytorch_half_pixel":
      return output > 1 ? ((x + 0.5) * den) / num - 0.5 : 0;
    case "align_corners": {
      // The length that the scale asks for, which need not be whole.
      const width = (input * num) / den;
      return width === 1 ? 0 : (x * (input - 1)) / (width - 1);
    }
    case "asymmetric":
      return (x * den) / num;
    case "tf_half_pixel_for_nn":
      // Axes that keep their length (batch, channels) stay as they are, though the formula moves them too.
      return num === den && input === output ? x : ((x + 0.5) * den) / num;
    case "tf_crop_and_resize": {
      const [start, end] = roi;
      if (output <= 1) return 0.5 * (start + end) * (input - 1);
      return start * (input - 1) + (x * (end - start) * (input - 1)) / (output - 1);
    }
  }
}

function nearestOf(mode: NearestMode, position: number, shrinks: boolean): number {
  switch (mode) {
    case "round_prefer_floor":
      return Math.ceil(position - 0.5);
    case "round_prefer_ceil":
      return Math.floor(position + 0.5);
    case "floor":
      return Math.floor(position);
    case "ceil":
      return Math.ceil(position);
    case "simple":
      return shrinks ? Math.ceil(position) : Math.floor(position);
  }
}

export const linearWeight = (t: number): number => Math.max(0, 1 - Math.abs(t));

/** Weight of a sample at distance t; 0 from 2 on. `a` is -0.75 in PyTorch, -0.5 in TensorFlow. */
export function cubicWeight(t: number, a: number): number {
  const x = Math.abs(t);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

const clamp = (i: number, n: number): number => Math.max(0, Math.min(n - 1, i));

/** The taps of one axis. */
export function axisTaps(axis: ResizedAxis, attrs: FilterAttrs): Taps {
  const { input, output, num, den } = axis;
  const { mode, coordinateTransformationMode: coordinates } = attrs;
  const shrinks = num < den;
  // Antialiasing stretches the filter, so that a shrinking axis averages all it passes over.
  const stretch = attrs.antialias && shrinks ? num / den : 1;
  const radius = mode === "linear" ? 1 : 2;
  const start = mode === "nearest" ? 0 : Math.floor(-radius / stretch) + 1;
  const count = mode === "nearest" ? 1 : 2 - 2 * start;
  const index = new Int32Array(output * count);
  const weight = new Float64Array(output * count);
  const outside = coordinates === "tf_crop_and_resize" ? new Uint8Array(output) : undefined;
  let identity = input === output;
  for (let x = 0; x < output; x++) {
    const position = sourcePosition(coordinates, axis, x);
    if (outside && (position < 0 || position > input - 1)) outside[x] = 1;
    if (position !== x || outside?.[x] || stretch !== 1) identity = false;
    if (mode === "nearest") {
      index[x] = clamp(nearestOf(attrs.nearestMode, snap(position), shrinks), input);
      weight[x] = 1;
      continue;
    }
    const first = Math.floor(position) + start;
    let sum = 0;
    for (let t = 0; t < count; t++) {
      const i = first + t;
      const distance = (i - position) * stretch;
      let w = mode === "linear" ? linearWeight(distance) : cubicWeight(distance, attrs.cubicCoeffA);
      if (attrs.excludeOutside && (i < 0 || i >= input)) w = 0;
      index[x * count + t] = clamp(i, input);
      weight[x * count + t] = w;
      sum += w;
    }
    if (sum !== 0) for (let t = 0; t < count; t++) weight[x * count + t] /= sum;
  }
  return { count, index, weight, outside: outside?.includes(1) ? outside : undefined, identity };
}
