/** One session's linear memory: constants and arenas get ranges of it; it only grows, and goes with the session. */
import { DeviceError } from "../../tensor/errors.ts";

const pageBytes = 65536;
/** What 32-bit addresses reach. */
const maxPages = 65536;
/** Bytes that memory grows by at once, before they are needed. */
const mostAhead = 1 << 23;

/** Bytes of what addresses, all of them 64-byte aligned, are given out for. */
export const alignUp = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/**
 * An entry of the table in which programs find the states of sequences: address and number of rows, both i32. In front of
 * the first one is the number of sequences. See state.ts.
 */
export const stateEntryBytes = 8;

/** What disposed sessions have. One for all: engines reserve address space for each memory. */
let nothing: WebAssembly.Memory | undefined;

/** A range of linear memory. */
export interface Block {
  readonly at: number;
  readonly bytes: number;
}

export class LinearMemory {
  memory: WebAssembly.Memory;
  readonly limits: { min: number; max?: number; shared?: boolean };
  /** Address 0 stays unused: it stands for "no input". */
  private top = 64;
  /** Between what is in use, by address. None touches another one or the top. */
  private free: { at: number; bytes: number }[] = [];

  constructor(shared: boolean) {
    // A module's import must not ask for more than the memory declares: limits are those at creation.
    this.limits = shared ? { min: 1, max: maxPages, shared: true } : { min: 1 };
    try {
      this.memory = new WebAssembly.Memory({ initial: 1, maximum: this.limits.max, shared });
    } catch (cause) {
      const least = shared ? " (shared memory takes 4 GiB of addresses: threads: 1 takes none ahead)" : "";
      throw new DeviceError(
        `wasm: no room for the memory of another session: dispose those that are not needed${least}`,
        {
          cause,
        },
      );
    }
  }

  /** The address of `bytes` bytes, 64-byte aligned. Throws DeviceError when 4 GiB don't suffice. */
  allocate(bytes: number): number {
    const size = alignUp(bytes);
    const hole = this.free.findIndex((h) => h.bytes >= size);
    if (hole >= 0) {
      const h = this.free[hole];
      if (h.bytes === size) this.free.splice(hole, 1);
      else this.free[hole] = { at: h.at + size, bytes: h.bytes - size };
      return h.at;
    }
    const at = this.top;
    const end = at + size;
    // Vector loads may reach past the last value.
    this.reach(end + 64);
    this.top = end;
    return at;
  }

  /**
   * Grows by so many bytes that are about to be allocated. Every step makes a buffer that counts with all of its bytes until
   * it is collected: by weights of a megabyte each, loading would be interrupted by a collection for nearly every one. What
   * is not used yet takes no memory.
   */
  expect(bytes: number): void {
    try {
      this.reach(this.top + bytes + 64);
    } catch {
      // Holes may have room for some of it. Who allocates what there is no memory for gets the error.
    }
  }

  /** Grows to `end` bytes or more: where nobody said what comes, by more than that. */
  private reach(end: number): void {
    const size = this.memory.buffer.byteLength;
    if (end <= size) return;
    const ahead = Math.min(size / 4, mostAhead, maxPages * pageBytes - size);
    try {
      this.memory.grow(Math.ceil(Math.max(end - size, ahead) / pageBytes));
    } catch (cause) {
      throw new DeviceError(
        `wasm: this model needs ${end} bytes of memory at once, more than the 4 GiB that WebAssembly can address or ` +
          "more than there is; try smaller inputs, quantised weights, or another device",
        { cause },
      );
    }
  }

  /** What is free again joins its neighbours. */
  release(at: number, bytes: number): void {
    if (bytes === 0) return;
    const { free } = this;
    let i = 0;
    while (i < free.length && free[i].at < at) i++;
    let hole = i > 0 ? free[i - 1] : undefined;
    if (hole && hole.at + hole.bytes === at) hole.bytes += alignUp(bytes);
    else free.splice(i++, 0, (hole = { at, bytes: alignUp(bytes) }));
    const end = hole.at + hole.bytes;
    if (i < free.length && free[i].at === end) hole.bytes += free.splice(i, 1)[0].bytes;
    if (end !== this.top) return;
    this.top = hole.at;
    free.pop();
  }

  /** Lets go of the memory: it is collected when no program holds it. */
  dispose(): void {
    this.memory = nothing ??= new WebAssembly.Memory({ initial: 0 });
  }

  /** One past the last byte that is in use. */
  get end(): number {
    return this.top;
  }

  /** What it has reached. */
  get bytes(): number {
    return Math.min(this.top, this.memory.buffer.byteLength);
  }
}
