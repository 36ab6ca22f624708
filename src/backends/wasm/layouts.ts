/**
 * Which steps of a program are the same code at other addresses: a decoder repeats a dozen of them in every layer. Such a
 * function is written, compiled and kept once, and gets the addresses that differ as parameters.
 */
import type { PlannedStep } from "../backend.ts";
import { symbolicAddress } from "./assembler.ts";
import type { LaidOut, Layout, LinkedStep } from "./link.ts";
import { type AnyStep, isWasmStep } from "./step.ts";

/** What decides the code of a step apart from its addresses. Undefined where that may be more than is known here. */
function codeKey({ step, kernel, attrs, inputs, outputs }: PlannedStep<AnyStep>): string | undefined {
  if (!isWasmStep(step) || !step.alike) return undefined;
  const places = [...inputs, null, ...outputs].map(
    (p) =>
      p &&
      `${p.dtype}[${p.shape}]${p.constant ? `constant ${p.prepack?.key}` : ""}${p.state === undefined ? "" : "state"}`,
  );
  return JSON.stringify([kernel, attrs, places], (_, v) =>
    typeof v === "number" ? `${Object.is(v, -0) ? "-" : ""}${v}` : v,
  );
}

/** Steps with one layout for those whose code is the same. */
export function layoutsOf(steps: readonly LinkedStep[]): LaidOut[] {
  const groups = new Map<string, LinkedStep[]>();
  const keyOf = (s: LinkedStep): string | undefined => {
    const key = codeKey(s.planned);
    if (key === undefined) return undefined;
    // Kernels look at which addresses are equal, and which are 0.
    const all = addressesOf(s);
    return `${key} ${s.work} ${all.map((at) => (at === 0 ? -1 : all.indexOf(at)))}`;
  };
  for (const s of steps) {
    const key = keyOf(s);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group) group.push(s);
    else groups.set(key, [s]);
  }
  const shared = new Map<LinkedStep, { layout: Layout; differing: readonly number[] }>();
  for (const group of groups.values()) {
    if (group.length === 1) continue;
    const [first, ...others] = group;
    const all = addressesOf(first);
    const rest = others.map(addressesOf);
    const differing = all.flatMap((at, i) =>
      all.indexOf(at) === i && rest.some((addresses) => addresses[i] !== at) ? [i] : [],
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
    for (const s of group) shared.set(s, { layout, differing });
  }
  return steps.map((s) => {
    const { layout, differing } = shared.get(s) ?? { layout: s, differing: [] };
    const all = addressesOf(s);
    return { layout, addresses: differing.map((i) => all[i]) };
  });
}

const addressesOf = ({ inputs, outputs, workspace }: LinkedStep): number[] => [...inputs, ...outputs, workspace];
