/**
 * Products of few rows: y[m, n] = sum over k of x[m, k] w[n, k], for weights that lie along k. 16 invocations have each row
 * of weights, and read it once, whatever it is stored as. What x is may be computed where it is read: a norm, or an
 * elementwise operator, that comes before needs no step of its own then (prologue.ts).
 */
import { addition, groupReduction } from "./reduction.ts";
import type { Binding, GpuStep } from "./step.ts";
import type { GpuTarget } from "./target.ts";
import { perGroup, read } from "./wgsl.ts";

export interface Gemv {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Element of x, a vector of four. */
  readonly xType: "vec4f" | "vec4h";
  /** Weights that one load has, a multiple of four. */
  readonly width: number;
  /** Of the weights and of what `store` needs. */
  readonly bindings: readonly Binding[];
  readonly declarations?: string;
  /** The product of load `e` of the weights with x from vector `at` on, which is `inputAt(at)`, `inputAt(at + 1u)`, ... */
  readonly part: string;
  /** A statement that stores a sum. */
  store(sum: string, m: string, n: string): string;
}

/** Where vectors of x come from. */
export interface Prologue {
  readonly bindings: readonly Binding[];
  /** `fn inputAt(at: u32) -> vec4f`, and what it needs. */
  readonly declarations: string;
  /** Statements that the invocations of a workgroup run first, together; they may use `local` and `width`. */
  readonly begin?: string;
}

const team = 16;
const teams = 4;
export const gemvSize = team * teams;
/** Rows of x up to which it pays. */
export const fewRows = 8;

const plain = (type: Gemv["xType"]): Prologue => ({
  bindings: [read("x", { input: 0 }, type)],
  declarations: `fn inputAt(at: u32) -> vec4f { return ${type === "vec4h" ? "vec4f(x[at])" : "x[at]"}; }`,
});

export function gemvStep(target: GpuTarget, g: Gemv, prologue: Prologue = plain(g.xType)): GpuStep {
  const { m, n, k, width, part } = g;
  const perRow = k / width;
  const rows = Array.from({ length: m }, (_, r) => r);
  const all = (line: (r: number) => string): string => rows.map(line).join("\n");
  const shuffles = target.subgroups !== undefined && target.subgroups.min >= team;
  const halves = [8, 4, 2, 1];
  const sumUp = shuffles
    ? all((r) => halves.map((s) => `  sum${r} += subgroupShuffleXor(sum${r}, ${s}u);`).join("\n"))
    : `${all((r) => `  parts[local * ${m}u + ${r}u] = sum${r};`)}
${halves
  .map(
    (s) => `  workgroupBarrier();
  if (lane < ${s}u) { ${rows.map((r) => `parts[local * ${m}u + ${r}u] += parts[(local + ${s}u) * ${m}u + ${r}u];`).join(" ")} }`,
  )
  .join("\n")}`;
  const body = `${prologue.begin ?? ""}
  let lane = local % ${team}u;
  let n = row * ${teams}u + local / ${team}u;
${all((r) => `  var sum${r} = 0.0;`)}
  if (n < ${n}u) {
    for (var p = lane; p < ${perRow}u; p += ${team}u) {
      let e = n * ${perRow}u + p;
${all((r) => `      { let at = ${(r * k) / 4}u + p * ${width / 4}u; sum${r} += ${part}; }`)}
    }
  }
${sumUp}
  if (lane == 0u && n < ${n}u) {
${all((r) => `    { ${g.store(shuffles ? `sum${r}` : `parts[local * ${m}u + ${r}u]`, `${r}u`, "n")} }`)}
  }`;
  const memory = shuffles ? "" : `var<workgroup> parts: array<f32, ${gemvSize * m}>;`;
  const dispatch = perGroup(Math.ceil(n / teams), gemvSize, {
    bindings: [...prologue.bindings, ...g.bindings],
    declarations: `${prologue.declarations}\n${g.declarations ?? ""}\n${memory}`,
    body,
  });
  return { run: [dispatch], joins: true };
}

/** Sums over all invocations of a workgroup: `name(value, local, width)`. */
export const sumOfGroup = (target: GpuTarget, name: string): string =>
  groupReduction(target, name, "f32", gemvSize, addition);
