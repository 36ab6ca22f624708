/**
 * Products with weights that are stored in a few bits, in f32. Rows of weights are unpacked a few at a time into a
 * scratch that stays in cache; the unpacked matrix never exists. One row of x goes through the dot products of gemv,
 * more through tile.ts.
 */
import type { EpilogueAttrs } from "../../ops/epilogue.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import type { HostStep } from "../backend.ts";
import { activate } from "./activate.ts";
import { dots } from "./matmul.ts";
import { arithmetic, carve, DenseSink, f32, packPanels, product, reserveProduct } from "./tile.ts";

/** Rows unpacked at a time: packing x again for each chunk costs 1 / 48 of the products. */
const chunk = 48;

export interface UnpackedProduct extends EpilogueAttrs {
  /** x is [m, k], the weights [n, k]. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Which inputs are the bias and the residual. Input 0 is x. */
  readonly bias: number;
  readonly residual?: number;
  /** Writes rows [first, first + count) of the weights, k floats each, to the start of `out`. */
  unpack(inputs: readonly TypedArray[], first: number, count: number, out: Float32Array): void;
}

/** act(x W^T + bias + residual) */
export function unpackedProduct({ m, n, k, bias, residual, activation, unpack }: UnpackedProduct): HostStep {
  const single = m === 1;
  const moving = { vectors: arithmetic(m, k), steps: arithmetic(k, 1) };
  const space = carve(single ? k + chunk : 0, chunk * k, single ? 0 : chunk * k);
  if (!single) reserveProduct(m, k);
  return {
    workspaceBytes: space.bytes,
    run(inputs, [out], workspace) {
      const { doubles, floats } = space.of(workspace);
      const [rows, panels] = floats;
      const x = f32(inputs[0]);
      const y = f32(out);
      const shift = inputs[bias] && f32(inputs[bias]);
      const rest = residual !== undefined && inputs[residual] ? f32(inputs[residual]) : undefined;
      const vector = doubles.subarray(chunk);
      if (single) vector.set(x);
      const sink = new DenseSink(y, n, 1, chunk);
      sink.bias = shift;
      sink.residual = rest;
      for (let c = 0; c < n; c += chunk) {
        const count = Math.min(chunk, n - c);
        unpack(inputs, c, count, rows);
        if (single) {
          dots(rows, 0, k, count, vector, k, doubles);
          for (let i = 0; i < count; i++) y[c + i] = doubles[i] + (shift ? shift[c + i] : 0) + (rest ? rest[c + i] : 0);
        } else {
          packPanels(rows, 0, count, k, k, 1, panels, 0);
          sink.at = c;
          sink.biasAt = c;
          product(x, 0, moving, panels, 0, count, sink);
        }
      }
      activate(activation, y, 0, m * n);
    },
  };
}
