/**
 * Eight rows of packed blocks as floats: a panel of kernels/gemm.ts, for each k the values of the eight rows. The packed
 * codes have rows side by side already, so nothing is transposed.
 */
import { f32x4, i32, i32x4, type ModuleBuilder } from "../assembler.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { constant } from "./math.ts";
import { type Format, GROUP, type Reader } from "./quantized-format.ts";
import { type PanelFunction, panelParams } from "./stored-panels.ts";

export interface PanelOptions {
  readonly name: string;
  readonly format: Format;
  readonly relaxed: boolean;
  /** Address of the format's table. */
  readonly table: number;
}

export function emitPanel(m: ModuleBuilder, { name, format, relaxed, table }: PanelOptions): PanelFunction {
  return m.func({ name, params: panelParams }, (f, { w: at, end, out }) => {
    const tiny = constant(f, 2 ** 112);
    const zero = constant(f, -(format.zero ?? 0));
    f.while(i32.lt_u(at, end), () => {
      for (const half of [0, 1]) {
        const reader: Reader = { f, at, half, table };
        const d = format.d && f.let(format.d(reader));
        const dmin = format.dmin && f.let(format.dmin(reader));
        for (const segment of format.segments) {
          const lines = segment.blocks.map((block) => {
            const raw = block.scale(reader);
            const scale = f.let(d ? f32x4.mul(raw, d) : format.tiny ? f32x4.mul(raw, tiny) : raw);
            if (!block.min) return { scale, min: format.zero ? f.let(f32x4.mul(scale, zero)) : undefined };
            const min = block.min(reader);
            return { scale, min: f.let(dmin ? f32x4.neg(f32x4.mul(min, dmin)) : f32x4.mul(min, tiny)) };
          });
          for (let step = 0; step < segment.steps; step++) {
            for (const code of segment.codes(reader, step)) {
              const { scale, min } = lines[code.block];
              const v = f.let(code.bytes());
              for (let i = 0; i < 4; i++) {
                const up = i32x4.shl(v, 24 - 8 * i);
                const value = f32x4.convert_i32x4_s(i32x4.shr_u(up, 24));
                const y = min ? multiplyAdd(relaxed, value, scale, min) : f32x4.mul(value, scale);
                f.v128.store(out, y, 4 * GROUP * (code.k + i) + 16 * half);
              }
            }
          }
        }
      }
      f.increment(at, format.bytes);
      f.increment(out, 4 * GROUP * format.unit);
    });
  });
}
