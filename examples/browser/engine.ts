/** The worker's remote control: calls as promises, with what they report on the way. */
import type { Engine } from "./worker.ts";
import type { EngineCall, Reply } from "./worker-entry.ts";

type Report<K extends keyof Engine> = Engine[K] extends (report: infer R, ...args: never[]) => unknown ? R : never;
type Args<K extends keyof Engine> = Engine[K] extends (report: never, ...args: infer A) => unknown ? A : never;
type Result<K extends keyof Engine> = Awaited<ReturnType<Engine[K]>>;

interface Pending {
  report: (value: never) => void;
  resolve: (value: never) => void;
  reject: (reason: Error) => void;
}

const worker = new Worker(new URL("./worker-entry.ts", import.meta.url), { type: "module" });
const pending = new Map<number, Pending>();
let nextId = 0;

worker.onmessage = ({ data }: MessageEvent<Reply>) => {
  const call = pending.get(data.id);
  if (!call) return;
  if (data.kind === "report") return call.report(data.value as never);
  pending.delete(data.id);
  if (data.kind === "error") call.reject(new Error(data.message));
  else call.resolve(data.value as never);
};
worker.onerror = (e) => {
  for (const call of pending.values()) call.reject(new Error(`the worker failed: ${e.message}`));
  pending.clear();
};

/** Calls a function of the worker's engine. */
export function call<K extends keyof Engine>(name: K, args: Args<K>, report?: Report<K>): Promise<Result<K>> {
  const id = nextId++;
  return new Promise<Result<K>>((resolve, reject) => {
    pending.set(id, { report: (report ?? (() => {})) as Pending["report"], resolve, reject });
    worker.postMessage({ id, name, args } satisfies EngineCall);
  });
}
