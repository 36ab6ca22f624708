/**
 * State of a sequence in linear memory: one block for each state that the graph declares. Linked code finds them through
 * a table, so that one program serves every sequence, and blocks may move when they grow.
 */

import { misplaced, unfit } from "../../ops/kv-append.ts";
import type { OpDef } from "../../ops/op.ts";
import { bytesOf, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DeviceError, InputError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { DeviceState, Place } from "../backend.ts";
import { alignUp, type Block, type LinearMemory } from "./memory.ts";

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

const sum = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);

/** States with fewer rows in all have these. */
const rowsOf = ({ shape }: TensorType, rows: number): number => Math.min(rows, shape[0]);

/** What a state has of a memory that may go before it. */
interface Held {
  readonly memory: WeakRef<LinearMemory>;
  blocks: readonly Block[];
}

const release = ({ memory, blocks }: Held): void => {
  for (const { at, bytes } of blocks) memory.deref()?.release(at, bytes);
};

/** States that nobody disposed. None is among the active ones, which their session holds: no run is working on them. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<Held>(release);

export class WasmState implements DeviceState {
  rows = 0;
  private readonly held: Held;

  constructor(
    private readonly host: StateHost,
    private readonly types: readonly TensorType[],
  ) {
    this.held = { memory: new WeakRef(host.memory), blocks: [] };
    forgotten.register(this, this.held);
  }

  /** By state. Another array whenever one of them changes. */
  get blocks(): readonly Block[] {
    return this.held.blocks;
  }

  get bytes(): number {
    return sum(this.blocks.map((b) => b.bytes));
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

  /**
   * Grows by doubling, or where there is no memory for that by what is needed and an eighth. Where that is not there either
   * the rows stay what they were, in blocks of which some have room for more.
   */
  reserve(rows: number): void {
    if (rows <= this.rows) return;
    const least = Math.ceil(1.125 * rows);
    try {
      this.grow(Math.max(rows, 2 * this.rows));
    } catch (e) {
      if (!(e instanceof DeviceError) || least >= 2 * this.rows) throw e;
      this.grow(least);
    }
  }

  private grow(wanted: number): void {
    if (this.reserveRun(wanted)) return;
    const { memory } = this.host;
    const blocks = [...this.blocks];
    this.held.blocks = blocks;
    this.host.active = [];
    this.types.forEach((t, i) => {
      const old = blocks[i] ?? { at: 0, bytes: 0 };
      const bytes = rowsOf(t, wanted) * rowBytes(t);
      if (blocks[i] && bytes <= old.bytes) {
        // An attempt at more rows got this far: the others need the room.
        memory.release(old.at + alignUp(bytes), alignUp(old.bytes) - alignUp(bytes));
        blocks[i] = { at: old.at, bytes };
        return;
      }
      const at = memory.allocate(bytes);
      const all = new Uint8Array(memory.memory.buffer);
      all.copyWithin(at, old.at, old.at + old.bytes);
      all.fill(0, at + old.bytes, at + bytes);
      memory.release(old.at, old.bytes);
      blocks[i] = { at, bytes };
    });
    this.rows = wanted;
  }

  /**
   * The first blocks are one run; where nothing lies behind it, they are moved apart, which leaves no holes as blocks that are
   * allocated anew do. Returns whether it could.
   */
  private reserveRun(rows: number): boolean {
    const { memory } = this.host;
    const { blocks } = this;
    const sizes = this.types.map((t, i) => Math.max(rowsOf(t, rows) * rowBytes(t), blocks[i]?.bytes ?? 0));
    const total = sum(sizes.map(alignUp));
    let end = blocks.length > 0 ? blocks[0].at : memory.allocate(total);
    if (blocks.length > 0) {
      const behind = blocks.map((b) => b.at + alignUp(b.bytes));
      if (blocks.some((b, i) => i > 0 && b.at !== behind[i - 1])) return false;
      const last = behind[behind.length - 1];
      const more = total - (last - end);
      const at = memory.allocate(more);
      if (at !== last) {
        memory.release(at, more);
        return false;
      }
    }
    const moved = sizes.map((bytes) => {
      const at = end;
      end += alignUp(bytes);
      return { at, bytes };
    });
    const all = new Uint8Array(memory.memory.buffer);
    // From the last one on: none is written over before it has been moved.
    for (let i = moved.length - 1; i >= 0; i--) {
      const [from, to] = [blocks[i] ?? { at: 0, bytes: 0 }, moved[i]];
      all.copyWithin(to.at, from.at, from.at + from.bytes);
      all.fill(0, to.at + from.bytes, to.at + to.bytes);
    }
    this.held.blocks = moved;
    this.host.active = [];
    this.rows = rows;
    return true;
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
    copy.blocks.forEach((to, i) => {
      const { at, bytes } = this.blocks[i] ?? to;
      all.copyWithin(to.at, at, at + Math.min(bytes, to.bytes));
    });
    return copy;
  }

  /**
   * Why a kernel refused a step of several sequences, of which this is the first: a token that has no place in its cache, or no number.
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
    return name === "kvAppend" ? new InputError(unfit, { op: name }) : undefined;
  }

  read(number: number): TypedArray {
    return this.view(number).slice();
  }

  dispose(): void {
    release(this.held);
    this.rows = 0;
    this.held.blocks = [];
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
