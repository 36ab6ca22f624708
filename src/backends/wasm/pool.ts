/**
 * Worker threads that run linked programs. They sleep on a word of shared memory between runs, so starting a run costs
 * microseconds and needs no message; modules and memories are posted to them once.
 */
import { DeviceError } from "../../tensor/errors.ts";
import type { WorkerLike } from "./worker.ts";

// Words of the control block.
export const generation = 0;
export const mail = 1;
export const program = 2;
export const runs = 3;
export const idle = 4;
const words = 16;

/** Long enough for a loaded machine to start a thread. */
const startTimeout = 10_000;

const newControl = (): Int32Array => new Int32Array(new SharedArrayBuffer(4 * words));

export class WorkerPool {
  private control = newControl();
  private workers: WorkerLike[] = [];
  private starting: Promise<void> | undefined;
  /** Whether the latest start has come to its end. */
  private settled = false;
  private nextId = 1;
  private users = 0;
  /** Why a worker died, if one did. */
  private failure: unknown;
  /** What programs share steps with, once workers have started. */
  emitDispatch: typeof import("./dispatch.ts").emitDispatch | undefined;

  /** @param threads in all: one of them is the caller's own */
  constructor(readonly threads: number) {}

  /** Counts users: the workers end with the last one. */
  acquire(): void {
    this.users++;
  }

  release(): void {
    if (--this.users > 0) return;
    const { workers } = this;
    this.workers = [];
    this.starting = undefined;
    this.failure = undefined;
    // The next workers get a block of their own: these end a little later, and their exits are no failures.
    this.control = newControl();
    for (const w of workers) w.terminate();
  }

  /** Whether the workers can run. When one has died, programs go on with a single thread. */
  get started(): boolean {
    return this.workers.length > 0 && this.failure === undefined;
  }

  /** Whether the workers may be there soon. */
  get pending(): boolean {
    return this.starting !== undefined && !this.settled;
  }

  /** Starts the workers; where that fails (a policy forbids it) the pool stays unstarted and one thread does all. */
  startInBackground(): void {
    this.starting ??= this.startAll();
  }

  /** Resolves when the workers are there, or can't be. */
  async ready(): Promise<void> {
    this.startInBackground();
    await this.starting;
  }

  /** A number for a library, which workers have from the first program on that is added with it. */
  newLibrary(): number {
    return this.nextId++;
  }

  /** Makes a program known to every worker. Returns its number. */
  add(program: { module: WebAssembly.Module; memory: WebAssembly.Memory; dispatch: number; library?: number }): number {
    const id = this.nextId++;
    this.post({ id, ...program });
    return id;
  }

  /** A program or a library. */
  remove(id: number): void {
    if (this.started) this.post({ id });
  }

  /** Calls the workers to a run of a program; the caller then runs it as thread 0. */
  begin(id: number): void {
    const { control } = this;
    control[program] = id;
    Atomics.add(control, runs, 1);
    this.wake();
  }

  /** Workers that don't do as they should are left alone: programs go on with a single thread. */
  fail(reason: string): void {
    this.failure ??= new DeviceError(`wasm: ${reason}`);
  }

  private wake(): void {
    const { control } = this;
    Atomics.add(control, generation, 1);
    if (Atomics.load(control, idle) > 0) Atomics.notify(control, generation);
  }

  private post(message: object): void {
    Atomics.add(this.control, mail, 1);
    for (const w of this.workers) w.postMessage(message);
    this.wake();
  }

  private async startAll(): Promise<void> {
    const { control } = this;
    this.settled = false;
    const starts = await Promise.allSettled(
      Array.from({ length: this.threads - 1 }, (_, i) => this.startOne(i + 1, control)),
    );
    const workers = starts.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    const current = control === this.control;
    if (current) this.settled = true;
    // All or none, and not for a pool that was released meanwhile.
    if (workers.length === starts.length && current) this.workers = workers;
    else for (const w of workers) w.terminate();
  }

  /** Resolves when the worker has answered. */
  private startOne(thread: number, control: Int32Array): Promise<WorkerLike> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown): void => {
        clearTimeout(timer);
        if (control === this.control) this.failure ??= cause;
        reject(new DeviceError(`wasm: a worker thread failed: ${(cause as Error)?.message ?? cause}`, { cause }));
      };
      const timer = setTimeout(() => {
        fail("it did not answer");
        // It may still come up, when nobody waits for it.
        started.then(
          (w) => w.terminate(),
          () => {},
        );
      }, startTimeout);
      // In Node: an unfinished start doesn't keep the process alive.
      (timer as { unref?(): void }).unref?.();
      const onMessage = () => {
        clearTimeout(timer);
        started.then(resolve, reject);
      };
      // Most pages never start one.
      const started = import("./worker.ts").then(({ emitDispatch, startWorker }) => {
        this.emitDispatch = emitDispatch;
        return startWorker({ onError: fail, onMessage });
      });
      started.then((w) => w.postMessage({ control, thread }), fail);
    });
  }
}
