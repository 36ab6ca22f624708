/**
 * Staging: the part of x that a block of outputs reads, copied into a workspace with its padding, so that the kernels
 * that follow know no borders. Copied once, an element is read once for each tap.
 *
 * A staged row has one run for each phase of the stride along the row (columns = phase mod stride), `columns` floats
 * long. Neighbouring outputs then find the same tap in neighbouring floats, for every stride: loads of four instead of
 * gathering. Rows lie within slices (a channel, or one depth of a channel).
 */
import { type Expr, type Func, type FunctionBuilder, i8x16, i32, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { atMost } from "./blocks.ts";
import { transpose4 } from "./gemm-pack.ts";

/** One spatial axis of a window. */
export interface Axis {
  readonly input: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** In front. */
  readonly pad: number;
  /** Behind: says how much of what windows cover there is padding, and what lies beyond it. */
  readonly padEnd: number;
  readonly output: number;
}

/** From the first to the last tap, and one more. */
export const extentOf = (a: Axis): number => (a.kernel - 1) * a.dilation + 1;

/** Whether all windows lie in the input. */
export const isInside = (a: Axis): boolean => a.pad === 0 && (a.output - 1) * a.stride + extentOf(a) <= a.input;

/** Where taps and outputs find their elements in a source: staged, or x itself. */
export interface Source {
  /** Bytes from a tap to the first one, within a slice; row by row. */
  readonly taps: readonly (readonly number[])[];
  /** Bytes from one output row to the next. */
  readonly outputRowBytes: number;
  readonly sliceBytes: number;
  /** Missing where x is read in place. */
  readonly stage?: StageLayout;
}

export interface StageLayout {
  readonly rows: Axis;
  readonly columns: Axis;
  /** Phases that taps use. */
  readonly phases: readonly number[];
  /** Floats in one phase of a row. */
  readonly run: number;
  readonly rowBytes: number;
  /** Input rows from one staged row to the next. */
  readonly rowStep: number;
  /** Staged rows from one output row to the next. */
  readonly outputStep: number;
  /** Staged rows of the highest block. */
  readonly maxRows: number;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Staged rows that `outputs` output rows read. */
const stagedRows = (s: StageLayout, outputs: number): number =>
  (outputs - 1) * s.outputStep + (s.rowStep > 1 ? 1 : extentOf(s.rows));

/** The staged layout for blocks of up to `outputRows` rows of outputs. */
export function stagedSource(rows: Axis, columns: Axis, outputRows: number): Source {
  const { stride } = columns;
  const taps = Array.from({ length: columns.kernel }, (_, i) => i * columns.dilation);
  const phases = [...new Set(taps.map((t) => t % stride))].sort((a, b) => a - b);
  // Kernels read four columns at a time: up to three more than there are.
  const run = roundUp(columns.output + 3 + Math.floor((extentOf(columns) - 1) / stride), 4);
  const rowBytes = phases.length * run * 4;
  // Rows between the windows of a kernel one row high are left out.
  const sparse = rows.kernel === 1 && rows.pad === 0 && (rows.output - 1) * rows.stride < rows.input;
  const stage = {
    rows,
    columns,
    phases,
    run,
    rowBytes,
    rowStep: sparse ? rows.stride : 1,
    outputStep: sparse ? 1 : rows.stride,
    maxRows: 0,
  };
  stage.maxRows = stagedRows(stage, outputRows);
  return {
    taps: Array.from({ length: rows.kernel }, (_, i) =>
      taps.map((t) => i * rows.dilation * rowBytes + (phases.indexOf(t % stride) * run + Math.floor(t / stride)) * 4),
    ),
    outputRowBytes: stage.outputStep * rowBytes,
    sliceBytes: stage.maxRows * rowBytes,
    stage,
  };
}

/** Reading x in place: possible without padding, where neighbouring outputs have neighbouring elements. */
export function directSource(rows: Axis, columns: Axis, sliceBytes: number): Source | undefined {
  if (columns.stride !== 1 || !isInside(rows) || !isInside(columns)) return undefined;
  const rowBytes = 4 * columns.input;
  return {
    taps: Array.from({ length: rows.kernel }, (_, i) =>
      Array.from({ length: columns.kernel }, (_, j) => i * rows.dilation * rowBytes + 4 * j * columns.dilation),
    ),
    outputRowBytes: rows.stride * rowBytes,
    sliceBytes,
  };
}

/** Floats of the row that is spread over the phases. */
const temporaryFloats = (s: StageLayout): number => (s.columns.stride === 1 ? 0 : roundUp(s.columns.stride * s.run, 4));

/** Bytes for staging `slices` slices. */
export function stageBytes({ stage, sliceBytes }: Source, slices: number): number {
  return stage ? roundUp(4 * temporaryFloats(stage) + slices * sliceBytes + 64, 64) : 0;
}

/**
 * `from`: the first input row of the first slice; `top` and `bottom` staged rows that are padding, `rows` between them.
 * `fill`, the value of the padding, must be what the workspace was cleared with.
 */
const stageParams = {
  from: "i32",
  fromSlice: "i32",
  to: "i32",
  toSlice: "i32",
  slices: "i32",
  top: "i32",
  rows: "i32",
  bottom: "i32",
  temporary: "i32",
  fill: "v128",
} as const;
type StageFunction = Func<typeof stageParams, undefined>;

/** Input columns that are staged, and where the first of them goes. */
function copied(s: StageLayout): { count: number; at: number } {
  const room = s.columns.stride * s.run - s.columns.pad;
  return { count: Math.max(0, Math.min(s.columns.input, room)), at: 4 * s.columns.pad };
}

function stageFunction(e: StepEmitter, s: StageLayout): StageFunction {
  const { stride, input, pad } = s.columns;
  const name = `stage/${input}/pad${pad}/stride${stride}/${s.phases}x${s.run}/${s.rowStep}`;
  return e.own(name, (m) =>
    m.func({ name, params: stageParams }, (f, p) => {
      const [from, to, i, left] = f.locals("i32", 4);
      const blank = (rows: Expr<"i32">) => {
        f.set(i, i32.add(to, i32.mul(rows, s.rowBytes)));
        f.while(i32.lt_u(to, i), () => {
          f.v128.store(to, p.fill);
          f.increment(to, 16);
        });
      };
      const { count, at } = copied(s);
      f.while(p.slices, () => {
        f.set(from, p.from);
        f.set(to, p.to);
        blank(p.top);
        f.set(left, p.rows);
        f.while(left, () => {
          if (stride === 1) copyFloats(f, from, i32.add(to, at), count);
          else {
            copyFloats(f, from, i32.add(p.temporary, at), count);
            spread(f, s, p.temporary, to);
          }
          f.increment(from, 4 * input * s.rowStep);
          f.increment(to, s.rowBytes);
          f.increment(left, -1);
        });
        blank(p.bottom);
        f.increment(p.from, p.fromSlice);
        f.increment(p.to, p.toSlice);
        f.increment(p.slices, -1);
      });
    }),
  );
}

/** Copies a constant number of floats. */
function copyFloats(f: FunctionBuilder, source: Expr<"i32">, target: Expr<"i32">, count: number): void {
  const from = f.let(source);
  const to = f.let(target);
  const vectors = Math.floor(count / 4);
  const whole = f.let(i32.add(from, 16 * vectors));
  if (vectors > 0)
    f.while(i32.lt_u(from, whole), () => {
      f.v128.store(to, v128.load(from));
      f.increment(from, 16);
      f.increment(to, 16);
    });
  for (let i = 0; i < count % 4; i++) f.i32.store(to, i32.load(from, 4 * i), 4 * i);
}

/** Spreads a row over its phases. */
function spread(f: FunctionBuilder, s: StageLayout, row: Expr<"i32">, target: Expr<"i32">): void {
  const { stride } = s.columns;
  const from = f.let(row);
  const to = f.let(target);
  const end = f.let(i32.add(to, 4 * s.run));
  f.while(i32.lt_u(to, end), () => {
    const phases = stride === 2 || stride === 4 ? deinterleave(f, from, stride) : undefined;
    s.phases.forEach((phase, i) => {
      f.v128.store(to, phases ? phases[phase] : gather(from, phase, stride), 4 * i * s.run);
    });
    f.increment(from, 16 * stride);
    f.increment(to, 16);
  });
}

function deinterleave(f: FunctionBuilder, from: Expr<"i32">, stride: 2 | 4): Expr<"v128">[] {
  if (stride === 4)
    return transpose4(
      f,
      [0, 16, 32, 48].map((offset) => v128.load(from, offset)),
    );
  const [a, b] = [f.let(v128.load(from)), f.let(v128.load(from, 16))];
  const words = (...order: number[]) => order.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte));
  return [i8x16.shuffle(a, b, words(0, 2, 4, 6)), i8x16.shuffle(a, b, words(1, 3, 5, 7))];
}

function gather(from: Expr<"i32">, first: number, step: number): Expr<"v128"> {
  const offset = (lane: number) => 4 * (first + lane * step);
  let v: Expr<"v128"> = v128.load32_zero(from, offset(0));
  for (let lane = 1; lane < 4; lane++) v = v128.load32_lane(from, v, lane, offset(lane));
  return v;
}

/** Clears the workspace of `stageBytes`: rows are staged between padding that stays. */
export function clearStage(e: StepEmitter, at: Expr<"i32">, bytes: number, fill: Expr<"v128">): void {
  const clear = e.shared("clear", (m) =>
    m.func({ name: "clear", params: { to: "i32", end: "i32", fill: "v128" } }, (f, { to, end, fill }) => {
      f.while(i32.lt_u(to, end), () => {
        f.v128.store(to, fill);
        f.increment(to, 16);
      });
    }),
  );
  e.f.call(clear, { to: at, end: i32.add(at, bytes), fill });
}

/** A depth of x in each of `count` channels. `inside`: whether it is in x at all; undefined: it is. */
export interface Slices {
  /** Row 0 of the first of them. */
  readonly from: Expr<"i32">;
  readonly fromSlice: number;
  readonly toSlice: number;
  readonly count: number;
  readonly inside?: Expr<"i32">;
}

/** The depths that output depth `z` reads in `channels` channels, the first of which starts at `from`. */
export function depthSlices(
  f: FunctionBuilder,
  { depth, rows, columns }: { depth: Axis; rows: Axis; columns: Axis },
  channels: number,
  from: Expr<"i32">,
  z: Expr<"i32">,
  sliceBytes: number,
): Slices[] {
  const plane = 4 * rows.input * columns.input;
  return Array.from({ length: depth.kernel }, (_, i) => {
    const at = f.let(i32.sub(i32.add(i32.mul(z, depth.stride), i * depth.dilation), depth.pad));
    return {
      from: i32.add(from, i32.mul(at, plane)),
      fromSlice: depth.input * plane,
      toSlice: depth.kernel * sliceBytes,
      count: channels,
      inside: isInside(depth) ? undefined : i32.lt_u(at, depth.input),
    };
  });
}

/**
 * Stages what output rows [first, first + outputs) read. `at`: the cleared workspace.
 * Returns the address of the first tap of the first output of row `first`.
 */
export function stageBlock(
  e: StepEmitter,
  s: StageLayout,
  at: Expr<"i32">,
  block: { first: Expr<"i32">; outputs: Expr<"i32"> },
  slices: readonly Slices[],
  sliceBytes: number,
  fill: Expr<"v128">,
): Expr<"i32"> {
  const { f } = e;
  const { rows: axis } = s;
  const fn = stageFunction(e, s);
  const base = f.let(i32.add(at, 4 * temporaryFloats(s)));
  const rows = f.let(i32.add(i32.mul(i32.sub(block.outputs, 1), s.outputStep), s.rowStep > 1 ? 1 : extentOf(axis)));
  const y = f.let(i32.sub(i32.mul(block.first, axis.stride), axis.pad));
  const top = f.let(i32.const(0));
  f.if(i32.lt_s(y, 0), () => f.set(top, i32.sub(0, y)));
  atMost(f, top, rows);
  const bottom = f.let(i32.const(0));
  if (s.rowStep === 1) {
    f.set(bottom, i32.sub(i32.add(y, rows), axis.input));
    f.if(i32.lt_s(bottom, 0), () => f.set(bottom, i32.const(0)));
    atMost(f, bottom, rows);
  }
  const inner = f.let(i32.sub(i32.sub(rows, top), bottom));
  const offset = f.let(i32.mul(i32.add(y, top), 4 * s.columns.input));
  slices.forEach((slice, i) => {
    const call = (kept: Expr<"i32">, above: Expr<"i32">) =>
      f.call(fn, {
        from: i32.add(slice.from, offset),
        fromSlice: slice.fromSlice,
        to: i32.add(base, i * sliceBytes),
        toSlice: slice.toSlice,
        slices: slice.count,
        top: above,
        rows: kept,
        bottom,
        temporary: at,
        fill,
      });
    if (!slice.inside) call(inner, top);
    else
      f.if(
        slice.inside,
        () => call(inner, top),
        () => call(i32.const(0), i32.sub(rows, bottom)),
      );
  });
  return base;
}
