/**
 * Operands that are larger than one binding may be, such as embeddings on a phone, are bound in parts: `w[i]` becomes
 * `w_at(i)`, which looks into the part that has the element. What shaders write can't be parted: that is refused when it is
 * bound.
 */
import type { PlannedStep, StagePlan } from "../backend.ts";
import { bufferBytes } from "./border.ts";
import { type AnyStep, type Binding, type Dispatch, isGpuStep } from "./step.ts";
import type { GpuTarget } from "./target.ts";

/** Offsets of bindings are multiples of this. */
const alignment = 256;

export function splitBindings(plan: StagePlan<AnyStep>, target: GpuTarget): StagePlan<AnyStep> {
  const { maxStorageBufferBindingSize: limit, maxStorageBuffersPerShaderStage: most } = target.limits;
  const partBytes = Math.floor(limit / alignment) * alignment;
  const split = (dispatch: Dispatch, s: PlannedStep<AnyStep>): Dispatch => {
    let { code } = dispatch;
    const bindings = dispatch.bindings.flatMap((b): Binding[] => {
      const bytes = b.access === "read" && !b.range ? sourceBytes(b, s, target) : 0;
      if (bytes <= limit) return [b];
      const parts = partsOf(b, bytes, partBytes);
      code = withParts(code, b, parts, partBytes);
      return parts;
    });
    return bindings.length === dispatch.bindings.length || bindings.length > most
      ? dispatch
      : { ...dispatch, bindings, code };
  };
  const steps = plan.steps.map((s) =>
    isGpuStep(s.step) ? { ...s, step: { ...s.step, run: s.step.run.map((d) => split(d, s)) } } : s,
  );
  return { ...plan, steps };
}

/** Bytes of what a variable is bound to. State counts as what fits: it grows while plans stay. */
export function sourceBytes({ source }: Binding, s: PlannedStep<AnyStep>, target: GpuTarget): number {
  if (!isGpuStep(s.step)) return 0;
  if ("scratch" in source) return s.step.scratch![source.scratch];
  if ("table" in source) return bufferBytes(target, s.step.tables![source.table]);
  const place = "input" in source ? s.inputs[source.input] : s.outputs[source.output];
  return place!.state === undefined ? bufferBytes(target, place!.prepack?.type ?? place!) : 0;
}

function partsOf(b: Binding, bytes: number, partBytes: number): Binding[] {
  return Array.from({ length: Math.ceil(bytes / partBytes) }, (_, k) => ({
    ...b,
    name: `${b.name}_part${k}`,
    range: { offset: k * partBytes, bytes: Math.min(partBytes, bytes - k * partBytes) },
  }));
}

const elementBytes: Readonly<Record<string, number>> = { f16: 2, vec4h: 8, vec4f: 16, vec4i: 16, vec4u: 16 };

function withParts(code: string, { name, type }: Binding, parts: readonly Binding[], partBytes: number): string {
  const count = partBytes / (elementBytes[type] ?? 4);
  const cases = parts.map((p, k) => {
    const test = k === parts.length - 1 ? "" : `if (i < ${(k + 1) * count}u) `;
    return `  ${test}{ return ${p.name}[i - ${k * count}u]; }`;
  });
  return `${withCalls(code, name)}
fn ${name}_at(i: u32) -> ${type} {
${cases.join("\n")}
}`;
}

/** `name[e]` as `name_at(u32(e))`, also within brackets. */
function withCalls(code: string, name: string): string {
  const start = new RegExp(`(?<![.\\w])${name}\\[`, "g");
  let out = "";
  let from = 0;
  for (let found: RegExpExecArray | null; (found = start.exec(code)); ) {
    const open = found.index + found[0].length;
    let depth = 1;
    let end = open;
    for (; depth > 0; end++) depth += code[end] === "[" ? 1 : code[end] === "]" ? -1 : 0;
    out += `${code.slice(from, found.index)}${name}_at(u32(${withCalls(code.slice(open, end - 1), name)}))`;
    from = start.lastIndex = end;
  }
  return out + code.slice(from);
}
