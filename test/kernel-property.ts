/**
 * The property of every kernel: planned and run alone on generated cases of its operator, with inputs as data and as
 * constants (which brings in prepacking), with all outputs read or only the first, it equals the operator's reference.
 * Needs no test runner: browsers check it too.
 */
import fc from "fast-check";
import type { Backend, Kernel, Step } from "../src/backends/backend.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { drive } from "../src/graph/drive.ts";
import { inferNode } from "../src/graph/infer.ts";
import { GraphRunner } from "../src/graph/runner.ts";
import { isHostInput, type OpDef } from "../src/ops/op.ts";
import { ForwardpassError, UnsupportedOpError } from "../src/tensor/errors.ts";
import { emptyTensor, type HostTensor } from "../src/tensor/tensor.ts";
import type { OpCase } from "./cases/case.ts";
import { cases } from "./cases/index.ts";
import { difference } from "./compare.ts";
import { toleranceOf } from "./tolerance.ts";

/** Which inputs are constants. Never all of them: the planner would fold the node away. */
type Constancy = "none" | "rest" | "first";
const constancies = fc.constantFrom<Constancy[]>("none", "rest", "rest", "first");

/** Cases drawn before a kernel counts as out of reach. */
const drawLimit = 360;

/** Told of every output that is compared. */
export type Observer = (got: HostTensor, want: HostTensor) => void;

/**
 * @param runs cases that are to reach the kernel
 * @throws Error for a case where it differs from the reference, and when no case reaches it
 */
export async function checkKernel<S extends Step>(
  backend: Backend<S>,
  kernel: Kernel<S>,
  runs: number,
  observe?: Observer,
): Promise<void> {
  const arbitrary = (cases as Record<string, fc.Arbitrary<OpCase>>)[kernel.op.name];
  if (!arbitrary) throw new Error(`test/cases has no case for ${kernel.op.name}`);
  const draws = Math.max(drawLimit, 6 * runs);
  let reached = 0;
  let drawn = 0;
  await fc.assert(
    fc.asyncProperty(arbitrary, constancies, fc.boolean(), async (c, constant, onlyFirst) => {
      if (reached >= runs || drawn++ > draws) return;
      if (c.inputs.some((t) => t && !holds(backend.name, t))) return;
      const got = await runAlone(backend, kernel, c, { constant, onlyFirst });
      const want = got && runReference(kernel.op, c);
      if (!got || want?.some((t) => !holds(backend.name, t))) return;
      reached++;
      if (!want) throw new Error(`the reference of ${kernel.op.name} refuses what its kernel accepts`);
      got.forEach((g, i) => {
        observe?.(g, want[i]);
        const d = difference(g, want[i], toleranceOf(kernel.op.name, want[i].dtype, c));
        if (d) throw new Error(`${kernel.name}, output ${i}: ${d}`);
      });
    }),
    { numRuns: draws, seed: 20260801, endOnFailure: false },
  );
  if (reached === 0) throw new Error(`no generated case of ${kernel.op.name} reaches ${kernel.name}`);
}

/**
 * Whether a device keeps such elements. GPUs narrow 64-bit integers, and what grows beyond 32 bits there wraps; WebGL
 * promises nothing about NaN and infinities.
 */
function holds(device: string, { data }: HostTensor): boolean {
  if (device === "gpujs") return !(data instanceof Float32Array) || data.every(Number.isFinite);
  if (device !== "webgpu") return true;
  if (data instanceof BigInt64Array) return data.every((v) => BigInt.asIntN(32, v) === v);
  return !(data instanceof BigUint64Array) || data.every((v) => BigInt.asUintN(32, v) === v);
}

/** What the operator's reference gives. Undefined where its shape rule refuses the inputs. */
export function runReference(op: OpDef, { inputs, attrs }: OpCase): HostTensor[] | undefined {
  const operands = inputs.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t });
  let types: ReturnType<typeof inferNode>;
  try {
    types = inferNode({ op, name: "", inputs: [], outputs: [], attrs }, operands);
  } catch (e) {
    if (e instanceof ForwardpassError) return undefined;
    throw e;
  }
  const outputs = types.map(emptyTensor);
  op.reference!(inputs, attrs, outputs);
  return outputs;
}

/** The kernel on a graph of one node. Undefined where it declines the case. */
async function runAlone<S extends Step>(
  backend: Backend<S>,
  kernel: Kernel<S>,
  c: OpCase,
  { constant, onlyFirst }: { constant: Constancy; onlyFirst: boolean },
): Promise<HostTensor[] | undefined> {
  const only: Backend<S> = {
    name: backend.name,
    kernels: [kernel],
    kernelsFor: (op) => (op.name === kernel.op.name ? [kernel] : []),
    inplace: backend.inplace,
    storesHalves: backend.storesHalves,
    open: () => backend.open(),
  };
  const builder = new GraphBuilder();
  const data: HostTensor[] = [];
  const several = c.inputs.filter((t) => t).length > 1;
  const inputs = c.inputs.map((t, i) => {
    if (!t) return undefined;
    if ((constant === "first" ? i === 0 && several : constant === "rest" && i > 0) || isHostInput(kernel.op, i))
      return builder.constant(backend.storesHalves ? t : { dtype: t.dtype, shape: t.shape, data: t.data });
    data.push(t);
    return builder.input(`x${i}`, t.dtype, t.shape);
  });
  const device = only.open();
  try {
    // Outputs that nobody reads are not computed by some kernels, and by others only then.
    const outputs = builder.run(kernel.op, inputs, c.attrs);
    outputs.slice(0, onlyFirst ? 1 : undefined).forEach((v, i) => {
      builder.output(`y${i}`, v);
    });
    const runner = new GraphRunner(builder.build(), only, device);
    return (await drive(runner.execute(data))) as HostTensor[];
  } catch (e) {
    if (e instanceof UnsupportedOpError || (e instanceof ForwardpassError && !runReference(kernel.op, c)))
      return undefined;
    throw e;
  } finally {
    device.dispose();
  }
}
