/** The passes, in order. Each is a pure function from graph to graph; nested graphs are optimised too. */
import type { Graph } from "../ir.ts";

export type Pass = (graph: Graph) => Graph;

export const passes: readonly Pass[] = [];

export function optimize(graph: Graph): Graph {
  return passes.reduce((g, pass) => pass(g), graph);
}
