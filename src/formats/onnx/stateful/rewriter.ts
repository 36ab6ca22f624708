/** Writes the graph with state from what was found out about the one without. */
import { GraphBuilder, type SymbolicValue } from "../../../graph/builder.ts";
import type { Graph, Node, ValueId } from "../../../graph/ir.ts";
import { argMax } from "../../../ops/arg-reduce.ts";
import { add } from "../../../ops/binary.ts";
import { cachedAttention } from "../../../ops/cached-attention.ts";
import { cast } from "../../../ops/cast.ts";
import { constantOfShape } from "../../../ops/constant-of-shape.ts";
import { gather } from "../../../ops/gather.ts";
import { kvAppend } from "../../../ops/kv-append.ts";
import { isHostInput } from "../../../ops/op.ts";
import { range } from "../../../ops/range.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape } from "../../../ops/shape.ts";
import { transpose } from "../../../ops/transpose.ts";
import { emptyTensor, type HostTensor } from "../../../tensor/tensor.ts";
import type { Found, StatefulOptions } from "./index.ts";
import type { Motions } from "./motion.ts";
import type { CachePort, DecoderPorts } from "./ports.ts";
import type { Probe } from "./probe.ts";
import type { Cache } from "./regions.ts";
import { Unrecognised } from "./unrecognised.ts";

export interface Findings {
  readonly graph: Graph;
  readonly ports: DecoderPorts;
  readonly logits: ValueId;
  /** What gives an encoder's keys and values. */
  readonly heard: ReadonlyMap<CachePort, ValueId>;
  /** Any. */
  readonly probe: Probe;
  readonly motions: Motions;
  readonly regions: readonly Found[];
  readonly appends: ReadonlySet<Node>;
  readonly options: StatefulOptions;
}

const splitHeads = { perm: [0, 2, 1, 3] };
const whole = (v: bigint): HostTensor => ({ dtype: "i64", shape: [], data: BigInt64Array.of(v) });

export class Rewriter {
  private readonly g: GraphBuilder;
  private readonly tokens: SymbolicValue;
  private readonly position: SymbolicValue;
  private readonly sequence: SymbolicValue;
  /** Values for an empty cache. */
  private readonly start = new Map<ValueId, SymbolicValue>();
  /** Those that differ for a filled one. */
  private readonly moved = new Map<ValueId, SymbolicValue>();
  private readonly producer = new Map<ValueId, Node>();
  /** Nodes that positions go into, although shapes and masks decide what they give. */
  private readonly computed = new Set<Node>();

  /** What gives the caches of an encoder's keys and values. */
  private readonly given: ReadonlyMap<ValueId, ValueId>;
  private lastFrame: SymbolicValue | undefined;

  constructor(private readonly f: Findings) {
    this.given = new Map([...f.heard].map(([c, id]) => [c.port.id, id]));
    this.g = new GraphBuilder(f.graph.name);
    this.tokens = this.g.input("tokens", "i32", [1, "tokens"]);
    this.position = this.g.input("position", "i32", [1]);
    this.sequence = this.g.input("sequence", "i32", [1]);
    for (const node of f.graph.nodes) for (const id of node.outputs) this.producer.set(id, node);
  }

  build(): Graph {
    const { f, g } = this;
    const rows = g.input("rows", "i32", ["rows"]);
    this.defineInputs();
    const inside = new Set(f.regions.flatMap((r) => [...r.nodes]));
    const results = new Map(f.regions.map((r) => [r.nodes.at(-1)!, r]));
    for (const node of f.graph.nodes)
      if (!inside.has(node) && !f.appends.has(node) && !node.op.shapeOnly && !this.isStatic(node)) this.claim(node);
    for (const node of f.graph.nodes) {
      g.scope = node.name;
      const region = results.get(node);
      if (region) {
        this.start.set(region.result, this.attend(region));
        continue;
      }
      const isData = !inside.has(node) && !f.appends.has(node) && !this.isStatic(node);
      this.emit(node, this.start, (id) => (isData ? this.now(id) : this.atStart(id)));
      if (this.computed.has(node)) this.emitMoved(node);
    }
    g.scope = "";
    const given = gather(this.now(f.logits), rows, { axis: 1 });
    const logits = f.ports.logits.dtype === "f32" ? given : cast(given, { to: "f32" });
    g.output("logits", logits, { dtype: "f32", shape: [1, "rows", f.ports.logits.shape?.[2] ?? "vocabulary"] });
    // What listens goes by all logits.
    if (!f.ports.hidden)
      g.output("likeliest", argMax(logits, { axis: -1, keepDims: false }), { dtype: "i64", shape: [1, "rows"] });
    return g.build();
  }

  private isStatic(node: Node): boolean {
    return node.outputs.every((id) => this.f.motions.isStatic(id));
  }

  /** Makes what a node reads right for a filled cache. @throws Unrecognised */
  private claim(node: Node): void {
    const { motions, ports } = this.f;
    for (const [k, id] of node.inputs.entries()) {
      if (id === undefined || this.f.graph.constants.has(id)) continue;
      if (!motions.isStatic(id)) {
        if (!motions.hasSameShape(id) || ports.caches.some((c) => !c.encoder && c.port.id === id))
          throw new Unrecognised(`"${node.name}" depends on the number of cached tokens`);
        continue;
      }
      const motion = motions.of(id);
      if (motion === "still") continue;
      if (isHostInput(node.op, k) && !this.looksUp(node))
        throw new Unrecognised(`"${node.name}" has a shape that grows with the cache`);
      if (motion === "moves") continue;
      const before = this.producer.get(id);
      if (!before || before.op.shapeOnly)
        throw new Unrecognised(`"${node.name}" depends on the number of cached tokens`);
      if (this.computed.has(before)) continue;
      this.computed.add(before);
      this.claim(before);
    }
  }

  /** Rows of a table, as a slice whose bounds are positions. */
  private looksUp({ op, inputs }: Node): boolean {
    const [table, from, to, axes, steps] = inputs;
    if (op.name !== "slice" || !this.f.graph.constants.has(table!)) return false;
    const is = (id: ValueId | undefined, n: number): boolean => {
      const value = id === undefined ? undefined : this.f.probe.valueOf(id);
      return value?.data.length === 1 && Number(value.data[0]) === n;
    };
    const both = [from, to].every((id) => id !== undefined && this.f.motions.of(id) === "moves");
    return both && is(axes, 0) && (steps === undefined || is(steps, 1));
  }

  /** For an empty cache. */
  private atStart(id: ValueId): SymbolicValue {
    let value = this.start.get(this.given.get(id) ?? id);
    if (!value) {
      const constant = this.f.graph.constants.get(id);
      if (!constant) throw new Unrecognised("a value is read before it is there");
      this.start.set(id, (value = this.g.constant(constant)));
    }
    return value;
  }

  /** For the cache as it is. */
  private now(id: ValueId): SymbolicValue {
    const { constants } = this.f.graph;
    const made = this.moved.get(id);
    if (made || constants.has(id) || this.f.motions.of(id) !== "moves") return made ?? this.atStart(id);
    const { dtype } = this.f.probe.typeOf(id);
    const value = add(this.atStart(id), this.positionIn(dtype));
    // A scalar stays one.
    const sum = this.f.probe.typeOf(id).shape.length === 0 ? this.scalar(value) : value;
    this.moved.set(id, sum);
    return sum;
  }

  /** One element without axes. */
  private scalar(value: SymbolicValue): SymbolicValue {
    return reshape(value, this.g.constant({ dtype: "i64", shape: [0], data: new BigInt64Array(0) }));
  }

  private positionIn(dtype: HostTensor["dtype"]): SymbolicValue {
    return dtype === "i32" ? this.position : cast(this.position, { to: dtype });
  }

  private emit(node: Node, into: Map<ValueId, SymbolicValue>, valueFor: (id: ValueId) => SymbolicValue): void {
    if (node.outputs.length === 1) {
      const constant = this.f.motions.constantOf(node.outputs[0]);
      if (constant) return void into.set(node.outputs[0], this.g.constant(constant));
    }
    const results = this.g.run(
      node.op,
      node.inputs.map((id) => (id === undefined ? id : valueFor(id))),
      node.attrs,
    );
    node.outputs.forEach((id, k) => {
      if (!into.has(id)) into.set(id, results[k]);
    });
  }

  private emitMoved(node: Node): void {
    if (!this.looksUp(node)) {
      this.emit(node, this.moved, (id) => this.now(id));
      return;
    }
    const [first, end] = node.inputs.slice(1, 3).map((id) => this.scalar(cast(this.atStart(id!), { to: "i64" })));
    const rows = add(range(first, end, this.g.constant(whole(1n))), this.positionIn("i64"));
    this.moved.set(node.outputs[0], gather(this.atStart(node.inputs[0]!), rows, { axis: 0 }));
  }

  private attend(r: Found): SymbolicValue {
    const { heads, scale, softcap, leftWindow, keys, values } = r;
    const at = keys.encoder ? (this.lastFrame ??= this.g.input("lastFrame", "i32", [1])) : this.position;
    const q = r.queryPacking === "packed" ? this.now(r.query) : this.packed(r.query, heads, keys.dim);
    const attrs = { heads, kvHeads: keys.heads, scale, softcap, leftWindow };
    const y = cachedAttention(q, this.filled(keys), this.filled(values), at, this.sequence, attrs);
    if (r.resultPacking === "packed") return y;
    const apart = transpose(reshape(y, [1, -1, heads, values.dim]), splitHeads);
    const { shape: dims } = this.f.probe.typeOf(r.result);
    return dims.length === 4 && dims[0] === 1 ? apart : reshape(apart, [...dims.slice(0, -2), -1, values.dim]);
  }

  /** The cache as state, with what is new in it. */
  private filled(cache: Cache): SymbolicValue {
    const { kvCache, contextLength, frames = 0 } = this.f.options;
    const { heads, dim, encoder, kind, layer } = cache;
    const rows = encoder ? frames : contextLength;
    const state = this.g.state(`${kind}.${layer}${encoder ? ".encoder" : ""}`, {
      dtype: kvCache,
      shape: [rows, heads * dim],
    });
    const from = encoder ? this.given.get(cache.port.id)! : cache.added!;
    const packed = this.f.probe.typeOf(from).shape.length === 3 ? this.now(from) : this.packed(from, heads, dim);
    const at = encoder ? this.g.constant({ dtype: "i32", shape: [1], data: Int32Array.of(0) }) : this.position;
    return kvAppend(state, packed, at, this.sequence);
  }

  /** [..., heads, tokens, dim] as [1, tokens, heads * dim], from before the heads were split off where that can be seen. */
  private packed(id: ValueId, heads: number, dim: number): SymbolicValue {
    let node = this.producer.get(id);
    if (node?.op.name === "reshape") node = this.producer.get(node.inputs[0]!);
    if (node?.op.name === "transpose" && String(node.attrs["perm"]) === String(splitHeads.perm)) {
      const { shape: dims } = this.f.probe.typeOf(node.outputs[0]);
      if (dims[0] === 1 && dims[1] === heads && dims[3] === dim)
        return reshape(this.now(node.inputs[0]!), [1, -1, heads * dim]);
    }
    return reshape(transpose(reshape(this.now(id), [1, heads, -1, dim]), splitHeads), [1, -1, heads * dim]);
  }

  private defineInputs(): void {
    const { g, f, tokens } = this;
    const { ports } = f;
    const set = (id: ValueId, v: SymbolicValue): void => void this.start.set(id, v);
    const as = (v: SymbolicValue, to: HostTensor["dtype"] | undefined): SymbolicValue => (to ? cast(v, { to }) : v);
    set(ports.tokens.id, as(tokens, ports.tokens.dtype ?? "i64"));
    if (ports.mask) {
      const one = emptyTensor({ dtype: ports.mask.dtype ?? "i64", shape: [1] });
      one.data[0] = one.dtype === "i64" ? 1n : 1;
      set(ports.mask.id, constantOfShape(shape(tokens), { value: one }));
    }
    if (ports.positions) {
      const count = this.scalar(shape(tokens, { start: 1, end: 2 }));
      const numbers = reshape(range(g.constant(whole(0n)), count, g.constant(whole(1n))), [1, -1]);
      set(ports.positions.id, as(numbers, ports.positions.dtype ?? "i64"));
    }
    if (ports.hidden)
      set(
        ports.hidden.id,
        g.input("hidden", ports.hidden.dtype ?? "f32", ports.hidden.shape && [1, "rows", ports.hidden.shape[2]]),
      );
    for (const c of ports.caches) {
      const empty = emptyTensor({ dtype: c.port.dtype ?? "f32", shape: [1, c.heads, 0, c.dim] });
      if (!c.encoder) set(c.port.id, g.constant(empty));
    }
  }
}
