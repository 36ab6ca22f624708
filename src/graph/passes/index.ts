/**
 * What happens to a graph before it is planned. Two kinds of rules: those that need no shapes run once, at compile;
 * fusions, whose legality is a question of shapes, run while a stage is planned.
 */

import type { Backend } from "../../backends/backend.ts";
import type { OpDef } from "../../ops/op.ts";
import { type HostTensor, memoryOf } from "../../tensor/tensor.ts";
import { sourceOf, Weight } from "../../tensor/weight.ts";
import { type Graph, isGraph, type Node, operatorsOf, type ValueId } from "../ir.ts";
import { fuseGelu, fuseGeluTanh, fuseSwish } from "./activations.ts";
import { fuseActivation, fuseBias, fuseResidual } from "./epilogue.ts";
import { foldConstants } from "./fold.ts";
import { removeCast, removeIdentity } from "./identity.ts";
import { type Rule, rewrite } from "./rewrite.ts";

/** In order; each sees what the one before left. */
const compileRules = ({ constants }: Graph): readonly Rule[] => {
  let bytes = 0;
  for (const t of constants.values()) bytes += memoryOf(t);
  return [removeIdentity, foldConstants(bytes)];
};

/** Compile rules beside those that every graph gets: loaded for graphs with the operators that they begin with. */
export async function rulesFor(graph: Graph): Promise<readonly Rule[]> {
  const names = [...operatorsOf(graph)].map((op) => op.name);
  const norms = names.includes("batchNorm") ? [(await import("./batchnorm.ts")).foldBatchNorm] : [];
  const has = names.includes("matmulInteger") || names.includes("convInteger");
  return has ? [...norms, ...(await import("./integers.ts")).integerRules] : norms;
}

let blocks: typeof import("./blocks.ts") | undefined;

/** Fusions, with shapes known. Kernels of what they make are loaded before: see `loadKernels`. */
export const planRules = (): readonly Rule[] => [
  removeCast,
  ...(blocks?.blockRules ?? []),
  fuseGelu,
  fuseGeluTanh,
  fuseSwish,
  fuseBias,
  fuseResidual,
  fuseActivation,
];

/** The operators that a device may have to run for the graph: its own, those nested in it, and what fusions make. */
async function operatorsToRun(graph: Graph): Promise<OpDef[]> {
  const ops = operatorsOf(graph);
  if (![...ops].some((op) => op.name === "softmax" || op.name === "reduceMean")) return [...ops];
  const { blockOps } = (blocks ??= await import("./blocks.ts"));
  return [...ops, ...[...ops].flatMap(({ name }) => (Object.hasOwn(blockOps, name) ? blockOps[name] : []))];
}

/**
 * Has a device load what the graph takes, and what plans of it are made with.
 * @param more passed to it beside the dtypes
 */
export async function loadKernels(device: Backend, graph: Graph, more: readonly string[] = []): Promise<void> {
  const ops = await operatorsToRun(graph);
  const onlyF32 = graph.inputs.every((p) => p.dtype === "f32") && !ops.some((op) => makesIntegers.test(op.name));
  // Loaded for those who compute with others.
  const dtypes = onlyF32 ? [] : (await import("../operand-types.ts")).dtypesOf(graph);
  await device.load?.(ops, [...dtypes, ...more]);
}

const makesIntegers = /^(cast|topk|non|arg)/;

/**
 * Applies the compile rules, also inside branches and loop bodies.
 * @param owned nobody else has the constants' arrays: they may be written over
 * @param rules see `rulesFor`
 */
export function optimize(graph: Graph, owned = false, rules: readonly Rule[] = []): Graph {
  const constants = new Map(graph.constants);
  const holders = new Map<object, number>();
  for (const t of constants.values()) holders.set(sourceOf(t), (holders.get(sourceOf(t)) ?? 0) + 1);
  const ownsArray = (t: HostTensor): boolean => !(t instanceof Weight) && holders.get(sourceOf(t)) === 1;
  let valueCount = graph.valueCount;
  const outputs = new Set(graph.outputs.map((p) => p.id));
  const addConstant = (t: HostTensor): ValueId => {
    constants.set(valueCount, t);
    return valueCount++;
  };
  const nested = graph.nodes.map((n) => optimizeNested(n, rules));
  const nodes = rewrite(nested, [...compileRules(graph), ...rules], {
    type: (id) => constants.get(id),
    constant: (id) => constants.get(id),
    owns: (id) => owned && ownsArray(constants.get(id)!),
    addConstant,
    setConstant: (id, t) => constants.set(id, t),
    addValue: () => valueCount++,
    isOutput: (id) => outputs.has(id),
  });
  const read = new Set(outputs);
  for (const node of nodes) for (const id of node.inputs) if (id !== undefined) read.add(id);
  for (const id of constants.keys()) if (!read.has(id)) constants.delete(id);
  return { ...graph, nodes, constants, valueCount };
}

function optimizeNested(node: Node, rules: readonly Rule[]): Node {
  const entries = Object.entries(node.attrs);
  if (!entries.some(([, v]) => isGraph(v))) return node;
  return {
    ...node,
    attrs: Object.fromEntries(entries.map(([k, v]) => [k, isGraph(v) ? optimize(v, false, rules) : v])),
  };
}
