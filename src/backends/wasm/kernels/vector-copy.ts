/**
 * Copies. Ways along the last axis, simplest first:
 *
 *   elements   the source has a step: one load and one store for each
 *   fill       the source stands still (broadcasting)
 *   bytes      both are dense: by vectors, from 256 bytes on by memory.copy, whose call costs more than a short loop
 *   transpose  another axis is dense in the source: 4 x 4 tiles in registers (gemm-pack.ts)
 */
import { type Func, type FunctionBuilder, i32, type Local, type ModuleBuilder, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";

const bytesParams = { from: "i32", to: "i32", n: "i32" } as const;
export type CopyBytesFunction = Func<typeof bytesParams, undefined>;

const longCopy = 256;

/** `n` bytes; nothing where `n` is not positive. */
export function copyBytes(e: StepEmitter): CopyBytesFunction {
  const name = "copy/bytes";
  return e.shared(name, (m) =>
    m.func({ name, params: bytesParams }, (f, { from, to, n }) => {
      f.if(i32.ge_s(n, longCopy), () => {
        f.memory.copy(to, from, n);
        f.return();
      });
      const pieces = (size: number, copy: () => void): void =>
        f.while(i32.ge_s(n, size), () => {
          copy();
          f.increment(from, size);
          f.increment(to, size);
          f.increment(n, -size);
        });
      pieces(16, () => f.v128.store(to, v128.load(from)));
      pieces(4, () => f.i32.store(to, i32.load(from)));
      pieces(1, () => f.i32.store8(to, i32.load8_u(from)));
    }),
  );
}

export type ElementBytes = 1 | 2 | 4 | 8;

export function copyElement(f: FunctionBuilder, width: ElementBytes, to: Local<"i32">, from: Local<"i32">): void {
  if (width === 1) f.i32.store8(to, i32.load8_u(from));
  else if (width === 2) f.i32.store16(to, i32.load16_u(from));
  else if (width === 4) f.i32.store(to, i32.load(from));
  else f.v128.store64_lane(to, v128.load64_zero(from), 0);
}

const elementsParams = { from: "i32", to: "i32", n: "i32", fromStep: "i32", toStep: "i32" } as const;
export type CopyElementsFunction = Func<typeof elementsParams, undefined>;

/** `n` elements, with steps in bytes. */
export function emitCopyElements(m: ModuleBuilder, name: string, width: ElementBytes): CopyElementsFunction {
  return m.func({ name, params: elementsParams }, (f, { from, to, n, fromStep, toStep }) => {
    f.while(i32.gt_s(n, 0), () => {
      copyElement(f, width, to, from);
      f.increment(from, fromStep);
      f.increment(to, toStep);
      f.increment(n, -1);
    });
  });
}

const splatElement = (width: ElementBytes, at: Local<"i32">) =>
  width === 1
    ? v128.load8_splat(at)
    : width === 2
      ? v128.load16_splat(at)
      : width === 4
        ? v128.load32_splat(at)
        : v128.load64_splat(at);

/** The element at `from`, `n` bytes of it. */
export function emitFill(m: ModuleBuilder, name: string, width: ElementBytes): CopyBytesFunction {
  return m.func({ name, params: bytesParams }, (f, { from, to, n }) => {
    const vector = f.let(splatElement(width, from));
    f.while(i32.ge_s(n, 16), () => {
      f.v128.store(to, vector);
      f.increment(to, 16);
      f.increment(n, -16);
    });
    f.while(i32.gt_s(n, 0), () => {
      copyElement(f, width, to, from);
      f.increment(to, width);
      f.increment(n, -width);
    });
  });
}
