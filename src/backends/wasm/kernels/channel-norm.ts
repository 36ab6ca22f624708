/** Normalisations of f32 over groups of channels, and over neighbouring ones. */
import { type Func, f32x4, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { constant } from "./math.ts";
import { mapRow, statistics } from "./vector-norm.ts";

const groupParams = {
  x: "i32",
  y: "i32",
  n: "i32",
  run: "i32",
  scale: "i32",
  bias: "i32",
  count: "v128",
} as const;
export type NormGroupFunction = Func<typeof groupParams, undefined>;

/** A group of `n` elements normalised together; each `run` of them has its own scale and bias. */
export function emitNormGroup(m: ModuleBuilder, name: string, epsilon: number): NormGroupFunction {
  return m.func({ name, params: groupParams }, (f, { x, y, n, run, scale, bias, count }) => {
    const { mean, inverse } = statistics(f, x, n, count, epsilon);
    const [factor, shift] = f.locals("v128", 2);
    const bytes = f.let(i32.shl(run, 2));
    const end = f.let(i32.add(x, i32.shl(n, 2)));
    f.while(i32.lt_u(x, end), () => {
      f.set(factor, f32x4.mul(inverse, v128.load32_splat(scale)));
      f.set(shift, v128.load32_splat(bias));
      mapRow(f, x, y, run, (v) => f32x4.add(f32x4.mul(f32x4.sub(v, mean), factor), shift));
      f.increment(x, bytes);
      f.increment(y, bytes);
      f.increment(scale, 4);
      f.increment(bias, 4);
    });
  });
}

const lrnParams = {
  x: "i32",
  y: "i32",
  n: "i32",
  sample: "i32",
  channel: "i32",
  channels: "i32",
  stride: "i32",
} as const;
export type ResponseNormFunction = Func<typeof lrnParams, undefined>;

export interface ResponseNormOptions {
  readonly name: string;
  /** alpha / size */
  readonly weight: number;
  readonly bias: number;
  /** 0.75, as in every published network, or 0.5 or 1. */
  readonly beta: 0.5 | 0.75 | 1;
  /** Channels that count on either side. */
  readonly before: number;
  readonly after: number;
}

/** The `n` elements of one channel, at `x`, by the squares of those around it in a sample of `channels` channels. */
export function emitResponseNorm(m: ModuleBuilder, o: ResponseNormOptions): ResponseNormFunction {
  return m.func({ name: o.name, params: lrnParams }, (f, { x, y, n, sample, channel, channels, stride }) => {
    const [at, start, end, first] = f.locals("i32", 4);
    const squares = f.local("v128");
    f.set(first, i32.sub(channel, o.before));
    f.if(i32.lt_s(first, 0), () => f.set(first, 0));
    f.set(end, i32.add(channel, o.after + 1));
    f.if(i32.gt_s(end, channels), () => f.set(end, channels));
    f.set(start, i32.add(sample, i32.mul(first, stride)));
    f.set(end, i32.mul(i32.sub(end, first), stride));
    mapRow(f, x, y, n, (value, offset) => {
      f.set(squares, constant(f, 0));
      const from = f.let(i32.add(start, offset));
      f.forRange(at, 0, end, stride, () => {
        const v = f.let(v128.load(i32.add(from, at)));
        f.set(squares, f32x4.add(squares, f32x4.mul(v, v)));
      });
      const base = f.let(f32x4.add(f32x4.mul(squares, constant(f, o.weight)), constant(f, o.bias)));
      if (o.beta === 1) return f32x4.div(value, base);
      const root = f.let(f32x4.sqrt(base));
      return f32x4.div(value, o.beta === 0.5 ? root : f32x4.mul(root, f32x4.sqrt(root)));
    });
  });
}
