/**
 * Products of few rows that compute what they multiply with where they read it: each workgroup a norm, or an elementwise
 * step, of its own. Computing a norm again in every workgroup reads a few kilobytes from a cache; a step of its own costs
 * a dispatch. The product with a vocabulary has so many workgroups that the dispatch costs less.
 */
import { layerNorm, rmsNorm } from "../../ops/layer-norm.ts";
import { sameShape, sizeOf } from "../../tensor/shape.ts";
import type { Place, PlannedStep } from "../backend.ts";
import { type Gemv, gemvSize, gemvStep, type Prologue, sumOfGroup } from "./gemv.ts";
import { type Absorb, type AnyStep, type Binding, type GpuStep, isGpuStep } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { literal, read } from "./wgsl.ts";

type Planned = PlannedStep<AnyStep>;

/** Columns of a product, for each row of its matrix, up to which a norm is computed in every workgroup. */
const mostColumns = 16;

/** The product, which takes in what comes before it. */
export function absorbingGemv(target: GpuTarget, gemv: Gemv): GpuStep {
  const absorb: Absorb = (before, after, slot) => {
    if (after.inputs[0]?.slot !== slot || after.inputs.filter((p) => p?.slot === slot).length !== 1) return undefined;
    // Inputs of what comes before take the place of x; the rest keep their numbers.
    const first = after.inputs.length;
    const prologue = normPrologue(before, gemv, first, target) ?? elementwisePrologue(before, gemv, first);
    if (!prologue) return undefined;
    const step = gemvStep(target, gemv, prologue);
    if (step.run[0].bindings.length > target.limits.maxStorageBuffersPerShaderStage) return undefined;
    const { prepack, bytes } = after.step;
    return {
      step: { dispatches: 1, ...step, prepack, bytes },
      inputs: [undefined, ...after.inputs.slice(1), ...before.inputs],
    };
  };
  return { ...gemvStep(target, gemv), absorb: gemv.xType === "vec4f" ? absorb : undefined };
}

/** x / rms(x) * scale, or (x - mean) / deviation * scale + bias, row by row. */
function normPrologue(
  { op, inputs, outputs, attrs }: Planned,
  { m, n, k }: Gemv,
  first: number,
  target: GpuTarget,
): Prologue | undefined {
  if (n > mostColumns * k) return undefined;
  const rms = op.name === rmsNorm.op.name;
  if (!rms && op.name !== layerNorm.op.name) return undefined;
  const [x, scale, bias] = inputs as (Place | undefined)[];
  const { axis = -1, epsilon = 1e-5 } = attrs as { axis?: number; epsilon?: number };
  const oneAxis = axis === -1 || axis === x!.shape.length - 1;
  const plain = [x, scale, bias].every((p) => !p || storageOf(target, p.dtype)?.element === "f32");
  if (!oneAxis || !plain || outputs.length !== 1 || x!.shape.at(-1) !== k || k % 4 !== 0) return undefined;
  if ([scale, bias].some((p) => p && !sameShape(p.shape, [k]))) return undefined;
  const fours = k / 4;
  const bindings: Binding[] = [read("normed", { input: first }, "vec4f")];
  if (scale) bindings.push(read("normScale", { input: first + 1 }, "vec4f"));
  if (bias) bindings.push(read("normBias", { input: first + 2 }, "vec4f"));
  const rows = Array.from({ length: m }, (_, r) => r);
  const sum = (r: number, name: string, value: string): string => `
  var ${name}Part${r} = 0.0;
  for (var c = local; c < ${fours}u; c += ${gemvSize}u) {
    let v = normed[${r * fours}u + c];
    ${name}Part${r} += ${value};
  }
  let ${name}${r} = sumOfRow(${name}Part${r}, local, width);`;
  const begin = rows.map((r) =>
    rms
      ? `${sum(r, "squares", "dot(v, v)")}
  normFactor[${r}] = inverseSqrt(squares${r} / ${k}.0 + ${literal(epsilon)});`
      : `${sum(r, "total", "dot(v, vec4f(1.0))")}
  let mean${r} = total${r} / ${k}.0;${sum(r, "squares", `dot(v - vec4f(mean${r}), v - vec4f(mean${r}))`)}
  normMean[${r}] = mean${r};
  normFactor[${r}] = inverseSqrt(squares${r} / ${k}.0 + ${literal(epsilon)});`,
  );
  const centred = rms ? "normed[at]" : "(normed[at] - vec4f(normMean[row]))";
  const scaled = scale ? ` * normScale[at % ${fours}u]` : "";
  const shifted = bias ? ` + normBias[at % ${fours}u]` : "";
  return {
    bindings,
    declarations: `${sumOfGroup(target, "sumOfRow")}
var<private> normFactor: array<f32, ${m}>;
${rms ? "" : `var<private> normMean: array<f32, ${m}>;`}
fn inputAt(at: u32) -> vec4f {
  let row = at / ${fours}u;
  return ${centred} * normFactor[row]${scaled}${shifted};
}`,
    begin: begin.join(""),
  };
}

/** An elementwise step whose operands all have the shape of its result. */
function elementwisePrologue({ step, inputs }: Planned, { k }: Gemv, first: number): Prologue | undefined {
  const e = isGpuStep(step) ? step.elementwise : undefined;
  if (e?.output.dtype !== "f32" || sizeOf(e.output.shape) % k !== 0) return undefined;
  const fits = e.operands.every(
    (o) => o.type.dtype === "f32" && sameShape(o.type.shape, e.output.shape) && inputs[o.input] !== undefined,
  );
  if (!fits) return undefined;
  const names = e.operands.map((_, i) => `v${i}`);
  const lines = names.map((name, i) => `  let ${name} = before${i}[i];`);
  const value = e.value(names, (expression) => {
    lines.push(`  let t${lines.length} = ${expression};`);
    return `t${lines.length - 1}`;
  });
  return {
    bindings: e.operands.map((o, i) => read(`before${i}`, { input: first + o.input }, "f32")),
    declarations: `fn oneInput(i: u32) -> f32 {
${lines.join("\n")}
  return ${value};
}
fn inputAt(at: u32) -> vec4f {
  let i = at * 4u;
  return vec4f(oneInput(i), oneInput(i + 1u), oneInput(i + 2u), oneInput(i + 3u));
}`,
  };
}
