/** The threads of a pool: what they run, and how they are started. A chunk of its own. */
import { builtin } from "../../tensor/builtin.ts";
import { partFailed } from "./dispatch.ts";
import { generation, idle, mail, program, runs } from "./pool.ts";

export { emitDispatch } from "./dispatch.ts";

/** Milliseconds that a worker looks for the next run before it sleeps: what thread 0 takes to copy a result of some MB. */
const awake = 0.3;

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

export interface WorkerLike {
  postMessage(message: unknown): void;
  terminate(): unknown;
}

type Listen = { onMessage(message: unknown): void; onError(cause: unknown): void };

/** Starts a worker that doesn't keep the process alive. */
export async function startWorker({ onMessage, onError }: Listen): Promise<WorkerLike> {
  if (globalThis.process?.versions?.node) {
    const { Worker } = await builtin("node:worker_threads");
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
  // One that says something has read what it runs.
  const heard = () => URL.revokeObjectURL(url);
  worker.onmessage = (e) => {
    heard();
    onMessage(e.data);
  };
  worker.onerror = (e) => {
    heard();
    onError(e.message);
  };
  return worker;
}
