/** Golden files of our trained models: PyTorch's outputs for some inputs. For Node and browsers. */
import type { HostTensor, Session } from "../../src/index.ts";

export interface GoldenCase {
  u8?: string;
  dims?: number[];
  [name: string]: unknown;
}

/** Inputs as the golden file has them: bytes of an image, or nested numbers by input name. */
function inputsOf(model: Session, c: GoldenCase): Record<string, HostTensor> {
  return Object.fromEntries(
    model.inputs.map(({ name, dtype, shape }): [string, HostTensor] => {
      if (c.u8 !== undefined) {
        const bytes = atob(c.u8);
        const dims = c.dims ?? [1, ...(shape!.slice(1) as number[])];
        return [name, { dtype: "f32", shape: dims, data: Float32Array.from(bytes, (b) => b.charCodeAt(0) / 255) }];
      }
      const nested = c[name] as number[] | number[][];
      const rows = Array.isArray(nested[0]) ? (nested as number[][]) : undefined;
      const flat = nested.flat();
      const dims = rows
        ? [rows.length, rows[0].length]
        : shape!.length === 2
          ? (c.dims ?? [1, flat.length])
          : [flat.length];
      const data = dtype === "i64" ? BigInt64Array.from(flat, BigInt) : Float32Array.from(flat);
      return [name, { dtype: dtype!, shape: dims, data }];
    }),
  );
}

/** Runs the cases of a golden file. Returns how far an output is from PyTorch's at most. */
export async function worstDifference(model: Session, cases: readonly GoldenCase[]): Promise<number> {
  const output = model.outputs[0].name;
  let worst = 0;
  for (const c of cases) {
    const want = (c[output] as number[] | number[][]).flat();
    const got = (await model.run(inputsOf(model, c)))[output].data as Float32Array;
    if (got.length !== want.length) throw new Error(`${output}: ${got.length} elements instead of ${want.length}`);
    // NaN stays NaN, and no limit lets it pass.
    want.forEach((w, i) => {
      worst = Math.max(worst, Math.abs(got[i] - w));
    });
  }
  return worst;
}
