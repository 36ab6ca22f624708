/**
 * State of a sequence in linear memory: one block for each state that the graph declares. Linked code finds them through
 * a table, so that one program serves every sequence, and blocks may move when they grow.
 */
import { bytesOf, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { DeviceState } from "../backend.ts";
import type { LinearMemory } from "./memory.ts";

/** An entry of the table: address and number of rows, both i32. In front of the first one is the number of sequences. */
export const stateEntryBytes = 8;

/** What a session lends to the states of its sequences. */
interface StateHost {
  readonly memory: LinearMemory;
  /** What programs work on now. */
  active: readonly WasmState[];
  /** Address of the table, with room for so many sequences. */
  stateTable(sequences: number): number;
}

const rowBytes = ({ dtype, shape }: TensorType): number => sizeOf(shape.slice(1)) * bytesOf(dtype);

export class WasmState implements DeviceState {
  /** Addresses. Another array whenever one of them changes. */
  blocks: readonly number[] = [];
  rows = 0;

  constructor(
    private readonly host: StateHost,
    private readonly types: readonly TensorType[],
  ) {}

  get bytes(): number {
    return this.types.reduce((sum, t) => sum + this.rowsOf(t) * rowBytes(t), 0);
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

  /** Grows by doubling. */
  reserve(rows: number): void {
    if (rows <= this.rows) return;
    const wanted = Math.max(rows, 2 * this.rows);
    const { memory } = this.host;
    const old = this.types.map((t, i) => ({ at: this.blocks[i] ?? 0, bytes: this.rowsOf(t) * rowBytes(t) }));
    this.rows = wanted;
    this.blocks = this.types.map((t, i) => {
      const bytes = this.rowsOf(t) * rowBytes(t);
      const at = memory.allocate(bytes);
      const all = new Uint8Array(memory.memory.buffer);
      all.copyWithin(at, old[i].at, old[i].at + old[i].bytes);
      all.fill(0, at + old[i].bytes, at + bytes);
      if (old[i].bytes) memory.release(old[i].at, old[i].bytes);
      return at;
    });
    this.host.active = [];
  }

  fork(rows: number): WasmState {
    const copy = new WasmState(this.host, this.types);
    copy.reserve(rows);
    const all = new Uint8Array(this.host.memory.memory.buffer);
    this.types.forEach((t, i) => {
      const bytes = Math.min(this.rowsOf(t), copy.rowsOf(t)) * rowBytes(t);
      all.copyWithin(copy.blocks[i], this.blocks[i], this.blocks[i] + bytes);
    });
    return copy;
  }

  read(number: number): TypedArray {
    return this.view(number).slice();
  }

  dispose(): void {
    this.types.forEach((t, i) => {
      if (this.rows) this.host.memory.release(this.blocks[i], this.rowsOf(t) * rowBytes(t));
    });
    this.rows = 0;
    this.blocks = [];
    this.host.active = [];
  }

  /** A host step's view of state `i`. */
  view(i: number): TypedArray {
    const { dtype, shape } = this.types[i];
    const size = this.rowsOf(this.types[i]) * sizeOf(shape.slice(1));
    return viewOf(dtype, this.host.memory.memory.buffer, this.blocks[i], size);
  }

  private rowsOf({ shape }: TensorType): number {
    return Math.min(this.rows, shape[0]);
  }

  private entries(): number[] {
    return this.types.flatMap((t, i) => [this.blocks[i] ?? 0, this.rowsOf(t)]);
  }
}
