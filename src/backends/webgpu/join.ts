/**
 * Steps that don't depend on each other share a dispatch: the workgroups of one follow those of another, and each runs the
 * code of its own. A dispatch costs some microseconds, more than a small product takes.
 */
import { sourceOf } from "../../tensor/weight.ts";
import type { Place, PlannedStep, StagePlan } from "../backend.ts";
import { type AnyStep, type Binding, type Dispatch, type GpuStep, isGpuStep } from "./step.ts";
import type { GpuTarget } from "./target.ts";

/** Steps that have become one, or one alone. */
interface Group {
  readonly steps: PlannedStep<AnyStep>[];
  /** Undefined where nothing may join. */
  parts: Part[] | undefined;
}

interface Part {
  readonly dispatch: Dispatch;
  /** Buffer of each binding, as text that is equal for equal parts of equal buffers. */
  readonly buffers: readonly string[];
  readonly size: string;
}

export function joinIndependent(plan: StagePlan<AnyStep>, target: GpuTarget): StagePlan<AnyStep> {
  const groups: Group[] = [];
  /** The last group that wrote or, for state, touched a value. */
  const touched = new Map<string, number>();
  for (const s of plan.steps.map(withoutCopies)) {
    const dependencies = [...s.inputs, ...s.outputs].flatMap((p) => (p ? [touched.get(keyOf(p)) ?? -1] : []));
    const after = Math.max(-1, ...dependencies) + 1;
    const part = partOf(s);
    let at = part ? groups.findIndex((g, i) => i >= after && fits(g, part, target)) : -1;
    if (at >= 0) {
      groups[at].steps.push(s);
      groups[at].parts!.push(part!);
    } else at = groups.push({ steps: [s], parts: part && [part] }) - 1;
    for (const p of s.outputs) if (p) touched.set(keyOf(p), at);
    for (const p of s.inputs) if (p?.state !== undefined) touched.set(keyOf(p), at);
  }
  return { ...plan, steps: groups.map((g) => (g.steps.length > 1 ? joined(g) : g.steps[0])) };
}

/** What a step does to state, it does in place. */
function withoutCopies(s: PlannedStep<AnyStep>): PlannedStep<AnyStep> {
  if (!isGpuStep(s.step) || s.outputs[0]?.state === undefined) return s;
  const run = s.step.run.filter((d) => !d.unlessState);
  return { ...s, step: { ...s.step, run, dispatches: run.length } };
}

const keyOf = (p: Place): string => (p.state !== undefined ? `state ${p.state}` : `slot ${p.slot}`);

/** The form of entry points that can be called: a row of workgroups. */
const entry = /@compute @workgroup_size\((\d+)\)\s*fn main\((?:[^()]|\([^()]*\))*\)/;

function partOf({ step, inputs, outputs }: PlannedStep<AnyStep>): Part | undefined {
  if (!isGpuStep(step) || step.run.length !== 1 || !(step.joins || step.elementwise)) return undefined;
  const [dispatch] = step.run;
  const [, y, z] = dispatch.workgroups;
  const found = entry.exec(dispatch.code);
  if (!found || y !== 1 || z !== 1) return undefined;
  const buffers = dispatch.bindings.map(({ source, range, type, access }) => {
    const p = "input" in source ? inputs[source.input] : "output" in source ? outputs[source.output] : undefined;
    const constant = p?.constant ? `${numberOf(sourceOf(p.constant))} ${p.prepack?.key ?? ""}` : "";
    return `${p ? keyOf(p) : ""} ${constant} ${type} ${access} ${range?.offset} ${range?.bytes}`;
  });
  return { dispatch, buffers, size: found[1] };
}

/** Numbers of objects, to tell them apart in text. */
const numbers = new WeakMap<object, number>();
let count = 0;
function numberOf(object: object): number {
  let n = numbers.get(object);
  if (n === undefined) numbers.set(object, (n = count++));
  return n;
}

function fits({ parts }: Group, part: Part, target: GpuTarget): boolean {
  if (!parts || parts[0].size !== part.size) return false;
  const all = [...parts, part];
  const buffers = new Set(all.flatMap((p) => p.buffers));
  const workgroups = all.reduce((sum, p) => sum + p.dispatch.workgroups[0], 0);
  return buffers.size <= target.limits.maxStorageBuffersPerShaderStage && workgroups <= 65535;
}

function joined({ steps, parts }: Group): PlannedStep<AnyStep> {
  const bindings: Binding[] = [];
  const names = new Map<string, string>();
  const inputs = steps.flatMap((s) => s.inputs);
  const outputs = steps.flatMap((s) => s.outputs);
  let code = "";
  let calls = "";
  let workgroups = 0;
  let [input, output] = [0, 0];
  let usesWidth = false;
  parts!.forEach(({ dispatch, buffers }, i) => {
    const renamed = new Map<string, string>();
    dispatch.bindings.forEach((b, k) => {
      let name = names.get(buffers[k]);
      if (!name) {
        names.set(buffers[k], (name = `buffer${bindings.length}`));
        bindings.push({ ...b, name, source: shifted(b.source, input, output) });
      }
      renamed.set(b.name, name);
    });
    const own = suffixed(dispatch.code, renamed, i);
    const takesWidth = own.includes("subgroup_size");
    usesWidth ||= takesWidth;
    code += own.replace(
      new RegExp(entry.source.replace("main", `main_${i}`)),
      `fn main_${i}(group: vec3u, local: u32${takesWidth ? ", width: u32" : ""})`,
    );
    const last = i === parts!.length - 1;
    const here = `vec3u(group.x - ${workgroups}u, 0u, 0u)`;
    workgroups += dispatch.workgroups[0];
    const call = `main_${i}(${here}, local${takesWidth ? ", width" : ""});`;
    calls += last ? ` { ${call} }` : ` if (group.x < ${workgroups}u) { ${call} } else`;
    input += steps[i].inputs.length;
    output += steps[i].outputs.length;
  });
  const main = `
@compute @workgroup_size(${parts![0].size})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32${usesWidth ? ", @builtin(subgroup_size) width: u32" : ""}) {
 ${calls}
}`;
  const step: GpuStep = {
    run: [{ bindings, code: code + main, workgroups: [workgroups, 1, 1] }],
    dispatches: 1,
    bytes: steps.every((s) => s.step.bytes !== undefined)
      ? steps.reduce((sum, s) => sum + s.step.bytes!, 0)
      : undefined,
  };
  return {
    ...steps[0],
    node: steps.map((s) => s.node).join(" + "),
    kernel: steps.map((s) => s.kernel).join(" + "),
    step,
    inputs,
    outputs,
  };
}

function shifted(source: Binding["source"], input: number, output: number): Binding["source"] {
  if ("input" in source) return { input: source.input + input };
  return "output" in source ? { output: source.output + output } : source;
}

/** The code with what it declares at module scope, and its bindings, under names of its own. */
function suffixed(code: string, bindings: ReadonlyMap<string, string>, part: number): string {
  const names = new Map(bindings);
  for (const [, a, b] of code.matchAll(/\b(?:fn|alias|struct|override|const)\s+(\w+)|\bvar<\w+>\s+(\w+)/g)) {
    const name = a ?? b;
    if (!names.has(name)) names.set(name, `${name}_${part}`);
  }
  // Not after a dot: members and swizzles have the same letters.
  return code.replace(/(?<![.\w])[A-Za-z_]\w*/g, (name) => names.get(name) ?? name);
}
