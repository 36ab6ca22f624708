/**
 * Worker threads that run linked programs. They sleep on a word of shared memory between runs, so starting a run costs
 * microseconds and needs no message; modules and memories are posted to them once.
 */
import { DeviceError } from "../../tensor/errors.ts";
import { partFailed } from "./dispatch.ts";

// Words of the control block.
const generation = 0;
const mail = 1;
const program = 2;
const runs = 3;
const idle = 4;
const words = 16;

/** Milliseconds that a worker looks for the next run before it sleeps. */
const awake = 0.1;

/**
 * What a worker runs. A string, because there is no file to host: Node evaluates it, browsers load it from a Blob.
 * It sleeps until the generation changes. Mail (a module to instantiate, or to forget) is only delivered while it does
 * not sleep, so it counts what it has read and goes back to its event loop while some is due. It looks for the next run
 * for a while before it sleeps: waking takes longer than many a run. Runs are counted apart, because mail wakes it too, and
 * read before the mail: a run may be of a program that is in it. `libraries` has what programs share: see library.ts.
 *
 * A thread that sleeps collects no garbage, and engines don't see how much the memory of a forgotten program is. Dropping
 * large arrays, which nothing has to fill, makes them look.
 */
const workerSource = `
const port = typeof require === "function" ? require("node:worker_threads").parentPort : self;
const listen = (f) => port.on ? port.on("message", f) : (port.onmessage = (e) => f(e.data));
const programs = new Map();
const libraries = new Map();
let control, thread, read = 0, seen = 0, done = 0, forgotten = 0;
const partFailed = (words, e) => {${partFailed}};
const forget = (id) => {
  libraries.delete(id);
  const p = programs.get(id);
  if (!p || !programs.delete(id)) return;
  forgotten += Math.max(p.memory.buffer.byteLength, ${1 << 18});
  if (forgotten < ${1 << 23}) return;
  forgotten = 0;
  try { for (let i = 0; i < 8; i++) new ArrayBuffer(${1 << 28}); } catch {}
};
listen((m) => {
  if (m.control) { control = m.control; thread = m.thread; done = Atomics.load(control, ${runs}); port.postMessage("ready"); return; }
  read++;
  if (m.module) {
    const host = () => {};
    if (!libraries.has(m.library)) libraries.set(m.library, {});
    const shared = libraries.get(m.library);
    const { run, ...rest } = new WebAssembly.Instance(m.module, { env: { memory: m.memory, host }, shared }).exports;
    Object.assign(shared, rest);
    programs.set(m.id, { run, memory: m.memory, words: new Int32Array(m.memory.buffer, m.dispatch) });
  } else forget(m.id);
  while (read === Atomics.load(control, ${mail})) {
    const end = performance.now() + ${awake};
    while (Atomics.load(control, ${generation}) === seen && performance.now() < end);
    Atomics.add(control, ${idle}, 1);
    Atomics.wait(control, ${generation}, seen);
    Atomics.sub(control, ${idle}, 1);
    const now = Atomics.load(control, ${generation});
    const run = Atomics.load(control, ${runs});
    if (now === seen || read !== Atomics.load(control, ${mail})) continue;
    seen = now;
    if (run === done) continue;
    done = run;
    const p = programs.get(control[${program}]);
    try { if (p) p.run(thread, 0, 0); } catch (e) { partFailed(p.words, e); }
  }
});
`;

interface WorkerLike {
  postMessage(message: unknown): void;
  terminate(): unknown;
}

type Listen = { onMessage(message: unknown): void; onError(cause: unknown): void };

const nodeWorkers = "node:worker_threads";

/** Starts a worker that doesn't keep the process alive. */
async function startWorker({ onMessage, onError }: Listen): Promise<WorkerLike> {
  if (typeof process !== "undefined" && process.versions?.node) {
    const { Worker } = (await import(
      /* webpackIgnore: true */ /* @vite-ignore */ nodeWorkers
    )) as typeof import("node:worker_threads");
    const worker = new Worker(workerSource, { eval: true, name: "forwardpass" });
    worker
      .on("message", onMessage)
      .on("error", onError)
      .on("exit", (code) => onError(new Error(`exit code ${code}`)));
    worker.unref();
    return worker;
  }
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(url, { name: "forwardpass" });
  worker.onmessage = (e) => onMessage(e.data);
  worker.onerror = (e) => onError(e.message);
  return worker;
}

/** Long enough for a loaded machine to start a thread. */
const startTimeout = 10_000;

const newControl = (): Int32Array => new Int32Array(new SharedArrayBuffer(4 * words));

export class WorkerPool {
  private control = newControl();
  private workers: WorkerLike[] = [];
  private starting: Promise<void> | undefined;
  private nextId = 1;
  private users = 0;
  /** Why a worker died, if one did. */
  private failure: unknown;

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
    const starts = await Promise.allSettled(
      Array.from({ length: this.threads - 1 }, (_, i) => this.startOne(i + 1, control)),
    );
    const workers = starts.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    // All or none, and not for a pool that was released meanwhile.
    if (workers.length === starts.length && control === this.control) this.workers = workers;
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
      const timer = setTimeout(() => fail("it did not answer"), startTimeout);
      // In Node: an unfinished start doesn't keep the process alive.
      (timer as { unref?(): void }).unref?.();
      const started = startWorker({
        onError: fail,
        onMessage() {
          clearTimeout(timer);
          started.then(resolve, reject);
        },
      });
      started.then((w) => w.postMessage({ control, thread }), fail);
    });
  }
}
