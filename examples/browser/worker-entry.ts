/**
 * The worker's remote end. It imports nothing but the types at once: what an entry has in common with other chunks
 * is bundled into it, they import it back, and WebKit evaluates it once more for that, with a state of its own.
 */
import type { Engine } from "./worker.ts";

export interface EngineCall {
  id: number;
  name: keyof Engine;
  args: unknown[];
}
export type Reply =
  | { id: number; kind: "report" | "result"; value: unknown }
  | { id: number; kind: "error"; message: string };

const loading = import("./worker.ts");

const post = (reply: Reply): void => globalThis.postMessage(reply);

globalThis.onmessage = async ({ data: { id, name, args } }: MessageEvent<EngineCall>) => {
  const report = (value: unknown): void => post({ id, kind: "report", value });
  try {
    const { engine } = await loading;
    const run = engine[name] as (report: (value: unknown) => void, ...args: unknown[]) => Promise<unknown>;
    post({ id, kind: "result", value: await run(report, ...args) });
  } catch (e) {
    post({ id, kind: "error", message: (e as Error).message });
  }
};
