/** Operators on a device against their references, which compute in float64. */
import {
  add,
  attention,
  averagePool,
  type Backend,
  compile,
  conv,
  gelu,
  gemm,
  graph,
  type HostTensor,
  layerNorm,
  matmul,
  maxPool,
  reduceMean,
  rmsNorm,
  type Session,
  sigmoid,
  softmax,
  tanh,
  UnsupportedOpError,
} from "../../src/index.ts";
import type { AnyOp } from "../../src/ops/op.ts";
import { emptyTensor } from "../../src/tensor/tensor.ts";

export interface Verification {
  op: string;
  shapes: string;
  kernel: string;
  /** Largest |got - want| / max(1, |want|). Undefined where it could not run. */
  error?: number;
  /** Why not: the device has no kernel for it, or the run failed. */
  missing?: string;
  failure?: string;
}

interface Case {
  readonly op: AnyOp;
  readonly shapes: readonly (readonly number[])[];
  readonly attrs?: Record<string, unknown>;
}

const image = [1, 16, 32, 32];
const rows = [64, 256];

const cases: readonly Case[] = [
  { op: matmul, shapes: [rows, [256, 128]] },
  { op: gemm, shapes: [rows, [128, 256], [128]], attrs: { transposeB: true } },
  { op: conv, shapes: [image, [24, 16, 3, 3], [24]], attrs: { pads: [1, 1, 1, 1] } },
  { op: conv, shapes: [image, [16, 1, 3, 3]], attrs: { pads: [1, 1, 1, 1], groups: 16 } },
  { op: maxPool, shapes: [image], attrs: { kernelShape: [2, 2], strides: [2, 2] } },
  { op: averagePool, shapes: [image], attrs: { kernelShape: [3, 3] } },
  { op: softmax, shapes: [rows], attrs: { axis: -1 } },
  { op: layerNorm, shapes: [rows, [256], [256]], attrs: { axis: -1 } },
  { op: rmsNorm, shapes: [rows, [256]], attrs: { axis: -1 } },
  {
    op: attention,
    shapes: [
      [1, 4, 64, 32],
      [1, 4, 64, 32],
      [1, 4, 64, 32],
    ],
  },
  { op: gelu, shapes: [rows] },
  { op: sigmoid, shapes: [rows] },
  { op: tanh, shapes: [rows] },
  { op: add, shapes: [rows, [256]] },
  { op: reduceMean, shapes: [rows] },
];

/** Numbers between -1 and 1, the same on every visit. */
function noise(shape: readonly number[], seed: number): HostTensor {
  let state = seed;
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
  return { dtype: "f32", shape, data };
}

/** Runs every case; `report` gets them as they come. */
export async function verifyAll(device: Backend, report: (row: Verification) => void): Promise<void> {
  for (const c of cases) report(await verify(device, c));
}

async function verify(device: Backend, { op: { op }, shapes, attrs = {} }: Case): Promise<Verification> {
  const row = { op: op.name, shapes: shapes.map((s) => s.join("x")).join(", "), kernel: "" };
  const inputs = shapes.map((s, i) => noise(s, i + 1));
  // Not `using`: the development server leaves it as it is, and not every browser knows it.
  let session: Session | undefined;
  try {
    const net = graph(({ input }) => {
      const values = shapes.map((s, i) => input(`x${i}`, "f32", s));
      return { y: values[0].executor.run(op, values, attrs)[0] };
    });
    session = await compile(net, { device });
    const { y } = await session.run(Object.fromEntries(inputs.map((t, i) => [`x${i}`, t])));
    const wants = [op.infer!(inputs, attrs)].flat().map(emptyTensor);
    op.reference!(inputs, attrs, wants);
    const [want] = wants;
    let error = 0;
    for (let i = 0; i < y.data.length; i++) {
      const w = want.data[i] as number;
      error = Math.max(error, Math.abs((y.data[i] as number) - w) / Math.max(1, Math.abs(w)));
    }
    return { ...row, kernel: session.explain().at(-1)?.kernel ?? "", error };
  } catch (e) {
    const { message } = e as Error;
    return e instanceof UnsupportedOpError ? { ...row, missing: message } : { ...row, failure: message };
  } finally {
    session?.dispose();
  }
}
