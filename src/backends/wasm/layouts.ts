/**
 * Which steps of a program are the same code at other addresses: a decoder repeats a dozen of them in every layer. Such a
 * function is written, compiled and kept once, and gets the addresses that differ as parameters.
 */
import type { Place, PlannedStep } from "../backend.ts";
import { symbolicAddress } from "./assembler.ts";
import type { LaidOut, Layout, LinkedStep } from "./link.ts";
import { type AnyStep, isWasmStep } from "./step.ts";

/** What decides the code of a step apart from its addresses. Undefined where that may be more than is known here. */
function codeKey({ step, kernel, attrs, inputs, outputs }: PlannedStep<AnyStep>): string | undefined {
  if (!isWasmStep(step) || !step.alike) return undefined;
  const begins = step.begin ? "begins " : "";
  return `${kernel} ${begins}${JSON.stringify(attrs, numbersAsText)} ${[...inputs, null, ...outputs].map(placeKey)}`;
}

const numbersAsText = (_: string, v: unknown): unknown =>
  typeof v === "number" ? `${Object.is(v, -0) ? "-" : ""}${v}` : v;

const placeKey = (p: Place | null | undefined): unknown =>
  p && `${p.dtype}[${p.shape}]${p.constant ? `constant ${p.prepack?.key}` : ""}${p.state === undefined ? "" : "state"}`;

/** Steps with one layout for those whose code is the same. */
export function layoutsOf(steps: readonly LinkedStep[]): LaidOut[] {
  const addresses = steps.map(addressesOf);
  /** Numbers of steps. */
  const groups = new Map<string, number[]>();
  for (let i = 0; i < steps.length; i++) {
    const code = codeKey(steps[i].planned);
    if (code === undefined) continue;
    // Kernels look at which addresses are equal, and which are 0.
    const all = addresses[i];
    let key = `${code} ${steps[i].work}`;
    for (let k = 0; k < all.length; k++) key += ` ${all[k] === 0 ? -1 : all.indexOf(all[k])}`;
    const group = groups.get(key);
    if (group) group.push(i);
    else groups.set(key, [i]);
  }
  const laidOut = steps.map((layout): LaidOut => ({ layout, addresses: [] }));
  for (const group of groups.values()) {
    if (group.length === 1) continue;
    const first = steps[group[0]];
    const all = addresses[group[0]];
    const differing = all.flatMap((at, k) =>
      all.indexOf(at) === k && group.some((i) => addresses[i][k] !== at) ? [k] : [],
    );
    const symbol = (at: number): number => {
      const parameter = differing.indexOf(all.indexOf(at));
      return parameter < 0 ? at : symbolicAddress(parameter);
    };
    const layout: Layout = {
      name: first.name,
      work: first.work,
      states: first.states,
      inputs: first.inputs.map(symbol),
      outputs: first.outputs.map(symbol),
      workspace: symbol(first.workspace),
    };
    for (const i of group) laidOut[i] = { layout, addresses: differing.map((k) => addresses[i][k]) };
  }
  return laidOut;
}

const addressesOf = ({ inputs, outputs, workspace }: LinkedStep): number[] => [...inputs, ...outputs, workspace];
