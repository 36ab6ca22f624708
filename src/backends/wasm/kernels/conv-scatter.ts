/**
 * The opposite of staging and packing (conv-stage.ts): sums of a transposed convolution, tap by tap, are added into a
 * plane that holds every place a tap can reach. Its rows have a run for each phase of the stride, so that neighbouring
 * elements of x add to neighbouring floats; at last the phases are interleaved.
 */
import { type Func, f32, f32x4, i8x16, i32, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";

const addParams = { from: "i32", to: "i32", planes: "i32", rows: "i32", toRow: "i32", toPlane: "i32" } as const;

/** Adds planes of rows of `width` floats, contiguous at `from`, to others. */
export function addRows(e: StepEmitter, width: number): Func<typeof addParams, undefined> {
  const name = `addRows/${width}`;
  return e.own(name, (m) =>
    m.func({ name, params: addParams }, (f, p) => {
      const [from, to, end, row, left] = f.locals("i32", 5);
      f.set(from, p.from);
      f.while(p.planes, () => {
        f.set(row, p.to);
        f.set(left, p.rows);
        f.while(left, () => {
          f.set(to, row);
          f.set(end, i32.add(from, 16 * Math.floor(width / 4)));
          f.while(i32.lt_u(from, end), () => {
            f.v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
            f.increment(from, 16);
            f.increment(to, 16);
          });
          for (let i = 0; i < width % 4; i++)
            f.f32.store(to, f32.add(f32.load(to, 4 * i), f32.load(from, 4 * i)), 4 * i);
          f.increment(from, 4 * (width % 4));
          f.increment(row, p.toRow);
          f.increment(left, -1);
        });
        f.increment(p.to, p.toPlane);
        f.increment(p.planes, -1);
      });
    }),
  );
}

const joinParams = { from: "i32", to: "i32", rows: "i32" } as const;

/** Interleaves the `stride` runs of each row into one of stride * run floats. */
export function joinPhases(e: StepEmitter, stride: number, run: number): Func<typeof joinParams, undefined> {
  const name = `joinPhases/${stride}x${run}`;
  return e.own(name, (m) =>
    m.func({ name, params: joinParams }, (f, p) => {
      const [i, to] = f.locals("i32", 2);
      const words = (...order: number[]) => order.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte));
      f.while(p.rows, () => {
        f.set(to, p.to);
        if (stride === 2) {
          f.forRange(i, 0, 4 * run, 16, () => {
            const at = f.let(i32.add(p.from, i));
            const [even, odd] = [f.let(v128.load(at)), f.let(v128.load(at, 4 * run))];
            f.v128.store(to, i8x16.shuffle(even, odd, words(0, 4, 1, 5)));
            f.v128.store(to, i8x16.shuffle(even, odd, words(2, 6, 3, 7)), 16);
            f.increment(to, 32);
          });
        } else {
          f.forRange(i, 0, 4 * run, 4, () => {
            const at = f.let(i32.add(p.from, i));
            for (let phase = 0; phase < stride; phase++) f.f32.store(to, f32.load(at, 4 * run * phase), 4 * phase);
            f.increment(to, 4 * stride);
          });
        }
        f.increment(p.from, 4 * stride * run);
        f.increment(p.to, 4 * stride * run);
        f.increment(p.rows, -1);
      });
    }),
  );
}
