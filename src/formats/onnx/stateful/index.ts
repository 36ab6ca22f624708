/**
 * Decoders whose keys and values go in and out (past_key_values.*, present.*) as decoders with state, like those that are
 * built here: `tokens`, `position`, `sequence` and `rows` go in, as `decoder` of `src/models/transformer` describes them, and
 * shapes do not depend on how many tokens are cached. The graph is the one for an empty cache, in which positions have the
 * number of cached tokens added and attention reads the cache. What positions and attention are is found by running parts of the graph
 * on numbers (`motion.ts`, `measure.ts`), not by comparing it with what some exporter writes.
 */
import type { Graph, ValueId } from "../../../graph/ir.ts";
import type { DType } from "../../../tensor/dtype.ts";
import { ForwardpassError } from "../../../tensor/errors.ts";
import { hostTensor } from "../../../tensor/host-tensor.ts";
import type { HostTensor, TensorType } from "../../../tensor/tensor.ts";
import { finished } from "./finish.ts";
import { decidedBy, inlineBranch, pruned } from "./inline.ts";
import { type Attention, measureAttention } from "./measure.ts";
import { Motions } from "./motion.ts";
import { type CachePort, type DecoderPorts, decoderPorts } from "./ports.ts";
import { Probe, type Setting } from "./probe.ts";
import { addedIn, findRegions, type Region } from "./regions.ts";
import { Rewriter } from "./rewriter.ts";
import { simplified } from "./simplify.ts";
import { Unrecognised } from "./unrecognised.ts";

export { isPast, presentOf } from "./ports.ts";

export interface StatefulOptions {
  /** Longest text in tokens: rows of the caches. */
  contextLength: number;
  /** What keys and values are kept in. */
  kvCache: "f32" | "f16";
  /** Most rows of what an encoder gives. */
  frames?: number;
}

export interface StatefulDecoder {
  /**
   * With an encoder it has two more inputs: `hidden` f32 [1, rows, width], what the encoder gave, at the first token of a text and no
   * rows after it, and `lastFrame` i32 [1], the number of its last row.
   */
  readonly graph: Graph;
  /** Whether a run may have several tokens. */
  readonly severalTokens: boolean;
}

export interface Found extends Region, Attention {}

/** The decoder with state, or why it can't be one. */
export function statefulDecoder(graph: Graph, options: StatefulOptions): StatefulDecoder | { readonly reason: string } {
  try {
    return rewrite(graph, options);
  } catch (e) {
    if (e instanceof Unrecognised || e instanceof ForwardpassError) return { reason: e.message };
    throw e;
  }
}

function rewrite(original: Graph, options: StatefulOptions): StatefulDecoder {
  const ports = decoderPorts(original);
  const { graph: unfolded, logits, heard, added } = withCaches(original, ports);
  const several = (n: number): Setting => ({ past: n, tokens: 3 });
  const single = (n: number): Setting => ({ past: n, tokens: 1 });
  const graph = simplified(unfolded, probeOf(unfolded, ports, [several(2), single(5)]), [logits, ...heard.values()]);
  // Windows show where the past is long.
  const one = [single(0), single(5), single(options.contextLength - 1)];
  const attempt = (groups: readonly (readonly Setting[])[]): Graph => {
    const probes = groups.map((g) => g.map((s) => new Probe(graph, s, inputsOf(ports, s, probeFrames))));
    const [{ setting }] = probes[0];
    const others = ports.hidden ? [new Probe(graph, setting, inputsOf(ports, setting, probeFrames - 2))] : [];
    const motions = new Motions(probes as unknown as [Probe, ...Probe[]][], others);
    const { regions, appends } = findRegions(
      graph,
      ports.caches,
      (id) => motions.isStatic(id) || graph.constants.has(id),
    );
    for (const { keys, values } of regions)
      for (const c of [keys, values])
        if (c.added !== added.get(c.port.id)) throw new Unrecognised(`"${c.present.name}" is not what attention reads`);
    const long = probes.at(-1)!.at(-1)!;
    const short = probes.flat().filter((p) => p !== long);
    const made = new Map<number, Probe>();
    const after = (past: number): Probe => {
      const at = { past, tokens: setting.tokens };
      if (!made.has(past)) made.set(past, new Probe(graph, at, inputsOf(ports, at, probeFrames)));
      return made.get(past)!;
    };
    const found = regions.map((r): Found => ({ ...r, ...measureAttention(r, { short, long, after }, graph.name) }));
    const rewriter = new Rewriter({
      graph,
      ports,
      logits,
      heard,
      probe: short[0],
      motions,
      regions: found,
      appends,
      options,
    });
    return finished(rewriter.build());
  };
  try {
    return { graph: attempt([[several(0), several(2)], one]), severalTokens: true };
  } catch (e) {
    // Graphs for single tokens refuse others; branches for single tokens may let them see too much.
    if (!(e instanceof ForwardpassError || (e instanceof Unrecognised && ports.branch))) throw e;
    return { graph: attempt([one]), severalTokens: false };
  }
}

/** For the first setting that the graph takes. */
function probeOf(graph: Graph, ports: DecoderPorts, [setting, ...others]: readonly Setting[]): Probe {
  try {
    return new Probe(graph, setting, inputsOf(ports, setting, probeFrames));
  } catch (e) {
    if (others.length === 0 || !(e instanceof ForwardpassError)) throw e;
    return probeOf(graph, ports, others);
  }
}

/**
 * The graph with its branch for cached tokens, and what gives an encoder's keys and values, from the other branch; and what
 * `present` has behind each cache that grows.
 */
function withCaches(graph: Graph, { branch, logits, caches }: DecoderPorts) {
  const idsFor = (wanted: readonly ValueId[], outputs: readonly ValueId[], all: readonly ValueId[]): ValueId[] =>
    wanted.map((id) => (all.includes(id) ? outputs[all.indexOf(id)] : id));
  const given = caches.filter((c) => c.encoder);
  let wanted = [logits.id];
  let heard = given.map((c) => c.present.id);
  const growing = caches.filter((c) => !c.encoder);
  let kept = growing.map((c) => c.present.id);
  const node = branch && decidedBy(graph, branch.id);
  if (branch && !node) throw new Unrecognised(`"${branch.name}" chooses no branch`);
  if (node) {
    const without = inlineBranch(graph, node, false);
    heard = idsFor(heard, without.outputs, node.outputs);
    const cached = inlineBranch(without.graph, node, true);
    wanted = idsFor(wanted, cached.outputs, node.outputs);
    kept = idsFor(kept, cached.outputs, node.outputs);
    graph = { ...cached.graph, nodes: cached.graph.nodes.filter((n) => n !== node) };
  }
  const heardBy = new Map<CachePort, ValueId>(given.map((c, i) => [c, heard[i]]));
  const added = new Map(growing.map((c, i) => [c.port.id, addedIn(graph, c, kept[i])]));
  return { graph: pruned(graph, [...wanted, ...heard]), logits: wanted[0], heard: heardBy, added };
}

/** Rows that an encoder gives in most probes. */
const probeFrames = 7;

function inputsOf(
  ports: DecoderPorts,
  { past, tokens }: Setting,
  frames: number,
): ReadonlyMap<ValueId, TensorType | HostTensor> {
  const inputs = new Map<ValueId, TensorType | HostTensor>();
  const integers = (dtype: DType = "i64", values: readonly number[]): HostTensor => hostTensor([values], { dtype });
  const { mask, positions, hidden } = ports;
  inputs.set(ports.tokens.id, { dtype: ports.tokens.dtype ?? "i64", shape: [1, tokens] });
  if (mask) inputs.set(mask.id, integers(mask.dtype, new Array<number>(past + tokens).fill(1)));
  if (positions)
    inputs.set(
      positions.id,
      integers(
        positions.dtype,
        Array.from({ length: tokens }, (_, i) => past + i),
      ),
    );
  if (hidden) inputs.set(hidden.id, { dtype: hidden.dtype ?? "f32", shape: [1, frames, Number(hidden.shape?.[2])] });
  for (const { port, heads, dim, encoder } of ports.caches)
    inputs.set(port.id, { dtype: port.dtype ?? "f32", shape: [1, heads, encoder ? frames : past, dim] });
  return inputs;
}
