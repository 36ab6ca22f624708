/** Convolutions as kernels see them: groups of two-dimensional windows over slices. */
import type { Activation } from "../../ops/activation.ts";
import { type ConvAttrs, type ConvGeometry, convGeometry } from "../../ops/conv.ts";
import type { Window } from "../../ops/window.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { activationKey } from "./kernels/activations.ts";
import type { Axis } from "./kernels/conv-stage.ts";

export interface ConvShape {
  readonly batch: number;
  readonly groups: number;
  /** Channels of x and y in one group. */
  readonly channelsIn: number;
  readonly channelsOut: number;
  /** The axis of volumes: one output depth is a plane whose slices are the depths of x under the kernel. */
  readonly depth: Axis;
  readonly rows: Axis;
  readonly columns: Axis;
}

const single: Axis = { input: 1, kernel: 1, stride: 1, dilation: 1, pad: 0, padEnd: 0, output: 1 };

const isPointwise = (a: Axis): boolean => a.kernel === 1 && a.stride === 1 && a.input === a.output;
/** An axis of one element, that nothing needs to be done about. */
export const isSingle = (a: Axis): boolean => a.input === 1 && a.kernel === 1 && a.output === 1 && a.pad === 0;

const axesOf = (w: Window): Axis[] =>
  w.input.map((input, i) => ({
    input,
    kernel: w.kernel[i],
    stride: w.strides[i],
    dilation: w.dilations[i],
    pad: w.padBegin[i],
    padEnd: w.padEnd[i],
    output: w.output[i],
  }));

/** The axes as a volume's. Those of length one go first: work goes along the last axis. Undefined for more than three. */
export function volumeOf(w: Window): Pick<ConvShape, "depth" | "rows" | "columns"> | undefined {
  const long = axesOf(w).filter((a) => !isSingle(a));
  if (long.length > 3) return undefined;
  const [depth, rows, columns] = [...new Array<Axis>(3 - long.length).fill(single), ...long];
  return { depth, rows, columns };
}

/** Undefined for more than three spatial axes. */
export function convShape(g: ConvGeometry): ConvShape | undefined {
  const counts = {
    batch: g.batch,
    groups: g.groups,
    channelsIn: g.channelsIn / g.groups,
    channelsOut: g.channelsOut / g.groups,
  };
  // A kernel of one element sees no neighbours: the plane is one long row.
  if (axesOf(g.window).every(isPointwise)) {
    const size = sizeOf(g.window.input);
    return { ...counts, depth: single, rows: single, columns: { ...single, input: size, output: size } };
  }
  const volume = volumeOf(g.window);
  return volume && { ...counts, ...volume };
}

/** Multiplications of a row of weights: one for each channel and tap. */
export const depthOfProduct = (s: ConvShape): number =>
  s.channelsIn * s.depth.kernel * s.rows.kernel * s.columns.kernel;

/** Outputs of one plane: of one channel, in one depth. */
export const planeSize = (s: ConvShape): number => s.rows.output * s.columns.output;

/** Multiply-adds of the whole convolution. */
export const workOf = (s: ConvShape): number =>
  s.batch * s.groups * s.channelsOut * s.depth.output * planeSize(s) * depthOfProduct(s);

export const isF32 = (...types: (TensorType | undefined)[]): boolean => types.every((t) => !t || t.dtype === "f32");

/** What follows the sums, as functions are specialised for it. */
export interface ConvForm {
  readonly bias: boolean;
  readonly residual: boolean;
  readonly activation?: Activation;
}

export const formKey = ({ bias, residual, activation }: ConvForm): string =>
  `${bias ? "+bias" : ""}${residual ? "+residual" : ""}/${activationKey(activation)}`;

/** Names what code depends on. */
export const axisKey = (a: Axis): string => `${a.input}k${a.kernel}s${a.stride}d${a.dilation}p${a.pad}o${a.output}`;

/** The shape, if it is one for these kernels at all. */
export function planned(
  [x, w, bias, residual]: readonly KernelInput[],
  [y]: readonly TensorType[],
  attrs: ConvAttrs,
): { shape: ConvShape; form: ConvForm } | undefined {
  if (!isF32(x, w) || sizeOf(y.shape) === 0 || sizeOf(w.shape) === 0) return undefined;
  const shape = convShape(convGeometry("conv", x, w, attrs));
  const form = { bias: bias !== undefined, residual: residual !== undefined, activation: attrs.activation };
  return shape && { shape, form };
}
