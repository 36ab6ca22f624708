/** The words by which threads share steps (see dispatch.ts), and what the host sees of them. */

// Words by byte offset from the block's address: a cache line that workers poll, one that thread 0 polls, its own.
/** What is open, in 64 bits: how many parts are claimed from either end, parts, number of the step, sequence number. */
export const ticket = 0;
export const program = 8;
/** Workers that sleep until the ticket changes. */
export const sleepers = 12;
/** Parts that workers have done, ever. */
export const done = 64;
/** Whether thread 0 sleeps until parts are done. */
export const waiting = 68;
export const failed = 128;
/** Whether a step is open. */
export const open = 132;
/** The step that thread 0 is at, whether or not it is shared: who catches what it throws looks here. */
export const currentStep = 136;
/** `done` before the step was opened. */
export const doneBefore = 140;
export const dispatchBytes = 192;

/** Bits of a count of parts: those claimed by thread 0, above them those claimed by workers, then all of the step. */
export const countBits = 6;
export const countMask = (1 << countBits) - 1;
/** The most parts of a step: below what the counts of a closed ticket add up to. */
export const maxParts = countMask;
/** Bits of the number of a step, which follow. */
export const stepBits = 22;
/** The claims of a ticket that sends workers away. While they are to wait for a step, there are none, and no parts. */
export const closed = (1 << (2 * countBits)) - 1;
const claimsAndParts = (1 << (3 * countBits)) - 1;

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
    Atomics.and(words, ticket / 4, ~claimsAndParts);
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
    const claimed = words[open / 4] ? (seen >> countBits) & countMask : 0;
    const all = (words[doneBefore / 4] + claimed) | 0;
    while (Atomics.load(words, done / 4) !== all) if (performance.now() > deadline) return false;
    words[doneBefore / 4] = all;
    words[open / 4] = 0;
    Atomics.store(words, failed / 4, 0);
    return true;
  }
}
