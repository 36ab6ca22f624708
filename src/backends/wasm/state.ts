/**
 * State of a sequence in linear memory: one block for each state that the graph declares. Linked code finds them through
 * a table, so that one program serves every sequence, and blocks may move when they grow.
 */

import { misplaced } from "../../ops/kv-append.ts";
import type { OpDef } from "../../ops/op.ts";
import { bytesOf, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { InputError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { DeviceState, Place } from "../backend.ts";
import type { Block, LinearMemory } from "./memory.ts";

/** What a session lends to the states of its sequences. */
export interface StateHost {
  readonly memory: LinearMemory;
  /** What programs work on now. */
  active: readonly WasmState[];
  /** Address of the table, with room for so many sequences. */
  stateTable(sequences: number): number;
}

type Places = readonly (Place | undefined)[];

const rowBytes = ({ dtype, shape }: TensorType): number => sizeOf(shape.slice(1)) * bytesOf(dtype);

/** States with fewer rows in all have these. */
const rowsOf = ({ shape }: TensorType, rows: number): number => Math.min(rows, shape[0]);

export class WasmState implements DeviceState {
  /** By state. Another array whenever one of them changes. */
  blocks: readonly Block[] = [];
  rows = 0;

  constructor(
    private readonly host: StateHost,
    private readonly types: readonly TensorType[],
  ) {}

  get bytes(): number {
    return this.blocks.reduce((sum, b) => sum + b.bytes, 0);
  }

  activate(others: readonly WasmState[] = []): void {
    const { host } = this;
    if (others.length === 0 && host.active.length === 1 && host.active[0] === this) return;
    const all = [this, ...others];
    const at = host.stateTable(all.length);
    const table = new Int32Array(host.memory.memory.buffer, at, (all.length * this.types.length + 1) * 2);
    table[0] = all.length;
    all
      .flatMap((s) => s.entries())
      .forEach((v, i) => {
        table[i + 2] = v;
      });
    host.active = all;
  }

  /** Grows by doubling. Where memory runs out the rows stay what they were, in blocks of which some have room for more. */
  reserve(rows: number): void {
    if (rows <= this.rows) return;
    const wanted = Math.max(rows, 2 * this.rows);
    const { memory } = this.host;
    const blocks = [...this.blocks];
    this.blocks = blocks;
    this.host.active = [];
    this.types.forEach((t, i) => {
      const old = blocks[i] ?? { at: 0, bytes: 0 };
      const bytes = rowsOf(t, wanted) * rowBytes(t);
      if (blocks[i] && bytes <= old.bytes) return;
      const at = memory.allocate(bytes);
      const all = new Uint8Array(memory.memory.buffer);
      all.copyWithin(at, old.at, old.at + old.bytes);
      all.fill(0, at + old.bytes, at + bytes);
      memory.release(old.at, old.bytes);
      blocks[i] = { at, bytes };
    });
    this.rows = wanted;
  }

  fork(rows: number): WasmState {
    const copy = new WasmState(this.host, this.types);
    try {
      copy.reserve(rows);
    } catch (e) {
      copy.dispose();
      throw e;
    }
    const all = new Uint8Array(this.host.memory.memory.buffer);
    this.blocks.forEach(({ at, bytes }, i) => {
      all.copyWithin(copy.blocks[i].at, at, at + Math.min(bytes, copy.blocks[i].bytes));
    });
    return copy;
  }

  /**
   * Why a kernel refused a step of several sequences, of which this is the first: a token that has no place in its cache.
   * @param view elements of an input that is no state
   */
  refusal({ name, inputs: names }: OpDef, inputs: Places, view: (p: Place) => TypedArray): InputError | undefined {
    const { active } = this.host;
    const [position, sequence] = ["position", "sequence?"].map((of) => {
      const p = inputs[names.indexOf(of)];
      return p ? Array.from(view(p), Number) : [0];
    });
    const states = inputs.flatMap((p) => p?.state ?? []);
    for (let t = 0; t < Math.max(position.length, sequence.length); t++) {
      const [row, s] = [position, sequence].map((v) => v[v.length === 1 ? 0 : t]);
      if (s === -1) continue;
      if (!active[s]) {
        const message = `${name}: token ${t} is of sequence ${s}, but run() got ${active.length}: pass one more { state } or number from 0`;
        return new InputError(message, { op: name });
      }
      const rows = Math.min(...states.map((i) => rowsOf(this.types[i], active[s].rows)));
      if (row < 0 || row >= rows) return new InputError(misplaced(name, row, rows, s), { op: name });
    }
    return undefined;
  }

  read(number: number): TypedArray {
    return this.view(number).slice();
  }

  dispose(): void {
    for (const { at, bytes } of this.blocks) this.host.memory.release(at, bytes);
    this.rows = 0;
    this.blocks = [];
    this.host.active = [];
  }

  /** A host step's view of state `i`. */
  view(i: number): TypedArray {
    const { dtype, shape } = this.types[i];
    const size = rowsOf(this.types[i], this.rows) * sizeOf(shape.slice(1));
    return viewOf(dtype, this.host.memory.memory.buffer, this.blocks[i].at, size);
  }

  private entries(): number[] {
    return this.types.flatMap((t, i) => [this.blocks[i]?.at ?? 0, rowsOf(t, this.rows)]);
  }
}

export const openState = (host: StateHost, types: readonly TensorType[]): WasmState => new WasmState(host, types);
