/** The words by which threads share steps (see dispatch.ts), and what the host sees of them. */

// Words by byte offset from the block's address: a cache line that workers poll, one that thread 0 polls, the rest.
export const ticket = 0;
/** What is open: its index, and in the low bits its parts. */
export const step = 4;
export const program = 8;
/** Workers that sleep until the ticket changes. */
export const sleepers = 12;
export const done = 64;
/** Whether thread 0 sleeps until parts are done. */
export const waiting = 68;
export const failed = 128;
/** Whether thread 0 is inside a part. */
export const own = 132;
/** The step that thread 0 is at, whether or not it is shared: who catches what it throws looks here. */
export const currentStep = 136;
export const dispatchBytes = 192;

/** Bits of a count of parts. A ticket holds those claimed by thread 0, above them those claimed by workers. */
export const countBits = 6;
export const countMask = (1 << countBits) - 1;
/** The most parts of a step: below what the counts of a ticket without a step add up to. */
export const maxParts = countMask;
export const counts = (1 << (2 * countBits)) - 1;
/** The counts of a ticket while no step is open: workers wait for one, or leave. */
export const closed = counts;
export const between = counts - 1;

const claimedOf = (ticket: number): number => (ticket & countMask) + ((ticket & counts) >> countBits);

/** Why everybody leaves. */
export enum Failure {
  /** A thread crashed, or did not come. */
  Crashed = 1,
  /** A kernel refused its input: an index outside of a tensor. */
  Refused = 2,
}

/** What the host sees of the words. */
export class DispatchState {
  private readonly words: Int32Array;
  constructor(memory: WebAssembly.Memory, address: number) {
    this.words = new Int32Array(memory.buffer, address, dispatchBytes / 4);
  }

  /** Before workers are called to a run. */
  begin(id: number): void {
    const { words } = this;
    words[program / 4] = id;
    Atomics.store(words, ticket / 4, (Atomics.load(words, ticket / 4) & ~counts) | between);
  }

  /** Undefined while nothing has failed. */
  get failure(): Failure | undefined {
    return Atomics.load(this.words, failed / 4) || undefined;
  }

  /** The step that thread 0 was at last. */
  get current(): number {
    return this.words[currentStep / 4];
  }

  /** After a failure: no thread claims any more. True when all have left the parts that they had claimed. */
  recover(deadline: number): boolean {
    const { words } = this;
    const seen = Atomics.or(words, ticket / 4, closed);
    Atomics.notify(words, ticket / 4);
    const inside = (seen & counts) >= between ? 0 : claimedOf(seen) - words[own / 4];
    while (Atomics.load(words, done / 4) < inside) if (performance.now() > deadline) return false;
    words[own / 4] = 0;
    Atomics.store(words, failed / 4, 0);
    return true;
  }
}
