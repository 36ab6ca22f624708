/**
 * y[i * stride] += x[i]: what overlapping windows are summed by. Four at a time where they lie side by side or with gaps of
 * one, which stay as they are.
 */
import { type Expr, type Func, f32, f32x4, i8x16, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { constant } from "./math.ts";

const params = { x: "i32", y: "i32", n: "i32" } as const;

export function emitStridedAdd(m: ModuleBuilder, name: string, stride: number): Func<typeof params, undefined> {
  return m.func({ name, params }, (f, { x, y, n }) => {
    const one = (i: number): void =>
      f.f32.store(y, f32.add(f32.load(y, 4 * stride * i), f32.load(x, 4 * i)), 4 * stride * i);
    const add = (at: number, v: Expr<"v128">): void => f.v128.store(y, f32x4.add(v128.load(y, at), v), at);
    const advance = (count: number): void => {
      f.increment(x, 4 * count);
      f.increment(y, 4 * stride * count);
      f.increment(n, -count);
    };
    // With gaps, the last gap of four is beyond the row, and may be another thread's.
    f.while(stride === 2 ? i32.gt_s(n, 4) : i32.ge_s(n, 4), () => {
      if (stride === 1) add(0, v128.load(x));
      else if (stride === 2) {
        const four = f.let(v128.load(x));
        const zero = constant(f, 0);
        const spread = (first: number): Expr<"v128"> =>
          i8x16.shuffle(
            four,
            zero,
            [first, 4, first + 1, 4].flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)),
          );
        add(0, spread(0));
        add(16, spread(2));
      } else for (let i = 0; i < 4; i++) one(i);
      advance(4);
    });
    f.while(i32.gt_s(n, 0), () => {
      one(0);
      advance(1);
    });
  });
}
